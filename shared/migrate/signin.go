package migrate

import (
	"encoding/hex"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// The values of Endpoint.Auth.
var authNames = []string{"auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "ntlm", "gssapi", "xoauth2", "oauthbearer"}

// OAuth says how access tokens for the source server are had. No secret stands in it: settings are
// named whose values are read when they are needed.
type OAuth struct {
	Provider              string `json:"provider"`                        // google, microsoft or custom
	Grant                 string `json:"grant,omitempty"`                 // refresh-token (default), client-credentials or service-account
	Tenant                string `json:"tenant,omitempty"`                // of microsoft: its id or a domain of it
	TokenURL              string `json:"tokenURL,omitempty"`              // of custom
	Scope                 string `json:"scope,omitempty"`                 // default: the provider's for IMAP
	ClientID              string `json:"clientID,omitempty"`              // of the application; not for service-account
	ClientSecretSetting   string `json:"clientSecretSetting,omitempty"`   // app setting that holds the client secret
	ServiceAccountSetting string `json:"serviceAccountSetting,omitempty"` // app setting that holds the service account's JSON key
}

// The values of OAuth.Grant.
const (
	GrantRefreshToken      = "refresh-token"      // the CSV's Password is the mailbox's refresh token
	GrantClientCredentials = "client-credentials" // the application may open every mailbox it was given
	GrantServiceAccount    = "service-account"    // a Google service account with domain-wide delegation
)

// Admin is the account that opens every mailbox of a server, so that no user's password is needed.
type Admin struct {
	Style           string `json:"style"`                     // see the Admin constants
	User            string `json:"user"`                      // the administrator's login
	Separator       string `json:"separator,omitempty"`       // of dovecot-master, default *
	Domain          string `json:"domain,omitempty"`          // of exchange: the administrator's Windows domain
	PasswordSetting string `json:"passwordSetting,omitempty"` // app setting that holds the password
}

// The values of Admin.Style.
const (
	AdminDovecotMaster = "dovecot-master" // user*master
	AdminAuthzid       = "authzid"        // SASL authorization identity: Cyrus, Zimbra and others
	AdminExchange      = "exchange"       // DOMAIN/admin/user
	AdminMirapoint     = "mirapoint"      // #user@domain#admin#
)

// Kerberos says where tickets for gssapi come from.
type Kerberos struct {
	Realm         string   `json:"realm"`
	KDC           []string `json:"kdc,omitempty"`           // host or host:port; default: the realm's SRV records
	Service       string   `json:"service,omitempty"`       // default imap/<host>
	KeytabSetting string   `json:"keytabSetting,omitempty"` // app setting that holds a keytab in base64; else passwords are used
}

// NeedsPassword reports whether each mailbox signs in with a password, or a refresh token, of its own.
func (e Endpoint) NeedsPassword() bool {
	switch {
	case e.Admin != nil:
		return false
	case e.Kerberos != nil && e.Kerberos.KeytabSetting != "":
		return false
	case e.OAuth != nil:
		return e.OAuth.Grant == GrantRefreshToken
	}
	return true
}

// secretSetting is what an endpoint may name. Who can write endpoint.json chooses the host that a
// secret is sent to, so that the app's own secrets must be out of reach.
var secretSetting = regexp.MustCompile(`^SOURCE_[A-Z0-9_]+$`)

// fillSignIn fills the defaults in.
func (e *Endpoint) fillSignIn() {
	if e.Auth == "" {
		e.Auth = "auto"
	}
	if e.MinTLS == "" {
		e.MinTLS = "1.2"
	}
	e.Fingerprint = strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(e.Fingerprint))
	if e.Admin != nil && e.Admin.Style == AdminDovecotMaster && e.Admin.Separator == "" {
		e.Admin.Separator = "*"
	}
	if o := e.OAuth; o != nil && o.Grant == "" {
		o.Grant = GrantRefreshToken
		if o.ServiceAccountSetting != "" {
			o.Grant = GrantServiceAccount
		}
	}
}

// checkSignIn calls bad for each rule, with whether it holds.
func (e Endpoint) checkSignIn(bad func(ok bool, format string, args ...any)) {
	bad(slices.Contains(authNames, e.Auth), "auth %q is none of %s", e.Auth, strings.Join(authNames, ", "))
	bad(slices.Contains([]string{"1.0", "1.1", "1.2", "1.3"}, e.MinTLS), "minTLS %q is none of 1.0, 1.1, 1.2, 1.3", e.MinTLS)
	if e.Fingerprint != "" {
		sum, err := hex.DecodeString(e.Fingerprint)
		bad(err == nil && len(sum) == 32, "fingerprint is not the SHA-256 of a certificate in hexadecimal digits")
		bad(e.Security != SecurityNone, "fingerprint needs security tls or starttls")
	}
	tokens, tickets := e.Auth == "xoauth2" || e.Auth == "oauthbearer", e.Auth == "gssapi"
	bad(!tokens || e.OAuth != nil, "auth %s needs oauth", e.Auth)
	bad(!tickets || e.Kerberos != nil, "auth gssapi needs kerberos")
	bad(e.OAuth == nil || tokens || e.Auth == "auto", "oauth goes with auth auto, xoauth2 or oauthbearer")
	bad(e.Kerberos == nil || tickets || e.Auth == "auto", "kerberos goes with auth auto or gssapi")
	bad(e.OAuth == nil || e.Kerberos == nil, "oauth and kerberos exclude each other")
	bad(e.OAuth == nil || e.Admin == nil, "oauth and admin exclude each other: use grant client-credentials or service-account")
	bad(e.OAuth == nil || e.Security != SecurityNone, "oauth needs security tls or starttls: whoever reads a token can use it")
	if e.OAuth != nil {
		e.OAuth.check(bad)
	}
	if e.Admin != nil {
		e.checkAdmin(bad)
	}
	if e.Kerberos != nil {
		bad(e.Kerberos.Realm != "", "kerberos.realm is missing")
		for _, text := range append([]string{e.Kerberos.Realm, e.Kerberos.Service}, e.Kerberos.KDC...) {
			bad(!strings.ContainsAny(text, " \t\r\n{}=#;"), "kerberos has a space, brace or equals sign in %q", text)
		}
		setting(bad, "kerberos.keytabSetting", e.Kerberos.KeytabSetting, false)
	}
}

func (e Endpoint) checkAdmin(bad func(bool, string, ...any)) {
	a := e.Admin
	styles := []string{AdminDovecotMaster, AdminAuthzid, AdminExchange, AdminMirapoint}
	bad(slices.Contains(styles, a.Style), "admin.style %q is none of %s", a.Style, strings.Join(styles, ", "))
	bad(a.User != "", "admin.user is missing")
	bad(a.Separator == "" || a.Style == AdminDovecotMaster, "admin.separator goes with style dovecot-master")
	bad((a.Domain != "") == (a.Style == AdminExchange), "admin.domain goes with style exchange, which needs it")
	keytab := e.Kerberos != nil && e.Kerberos.KeytabSetting != ""
	setting(bad, "admin.passwordSetting", a.PasswordSetting, !keytab)
	if a.Style == AdminAuthzid {
		bad(slices.Contains([]string{"auto", "plain", "scram-sha-1", "scram-sha-256", "gssapi"}, e.Auth),
			"admin.style authzid goes with auth auto, plain, scram-sha-1, scram-sha-256 or gssapi")
	} else {
		bad(e.Kerberos == nil, "with kerberos, admin.style is authzid")
	}
}

func (o OAuth) check(bad func(bool, string, ...any)) {
	bad(slices.Contains([]string{"google", "microsoft", "custom"}, o.Provider), "oauth.provider %q is none of google, microsoft, custom", o.Provider)
	bad(slices.Contains([]string{GrantRefreshToken, GrantClientCredentials, GrantServiceAccount}, o.Grant),
		"oauth.grant %q is none of refresh-token, client-credentials, service-account", o.Grant)
	account := o.Grant == GrantServiceAccount
	bad((o.ClientID != "") != account, "oauth.clientID is needed, but for grant service-account, which has it in its key")
	setting(bad, "oauth.clientSecretSetting", o.ClientSecretSetting, o.Grant == GrantClientCredentials)
	setting(bad, "oauth.serviceAccountSetting", o.ServiceAccountSetting, account)
	bad((o.TokenURL != "") == (o.Provider == "custom"), "oauth.tokenURL goes with provider custom, which needs it")
	if o.TokenURL != "" {
		u, err := url.Parse(o.TokenURL)
		bad(err == nil && u.Scheme == "https" && u.Host != "", "oauth.tokenURL is not an https address")
	}
	bad((o.Tenant != "") == (o.Provider == "microsoft"), "oauth.tenant goes with provider microsoft, which needs it")
	bad(!strings.ContainsAny(o.Tenant, "/?#%"), "oauth.tenant %q is neither an id nor a domain", o.Tenant)
	bad(o.Grant != GrantServiceAccount || o.Provider != "microsoft", "microsoft has no grant service-account; use client-credentials")
	bad(o.Grant != GrantClientCredentials || o.Provider != "google", "google has no grant client-credentials; use service-account")
}

// setting checks the name of an app setting.
func setting(bad func(bool, string, ...any), field, name string, needed bool) {
	if name == "" {
		bad(!needed, "%s is missing", field)
		return
	}
	bad(secretSetting.MatchString(name), "%s must name an app setting that begins with SOURCE_, in capitals", field)
}

// SecretSetting reports whether an endpoint may name this app setting.
func SecretSetting(name string) bool { return secretSetting.MatchString(name) }

// MissingSetting is the error for an app setting that an endpoint names and nobody has set.
func MissingSetting(name string) error {
	return &Error{Op: "read app setting", Kind: Configuration, Reason: SettingMissing, Err: fmt.Errorf("the app setting %s is missing", name)}
}
