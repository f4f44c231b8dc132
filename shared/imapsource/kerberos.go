package imapsource

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"mailferry/shared/migrate"
)

// kerberosTicket is a ticket for the source server's service.
type kerberosTicket struct {
	realm      string
	principal  types.PrincipalName
	ticket     messages.Ticket
	sessionKey types.EncryptionKey
}

// getTicket asks the realm's KDC for a ticket, with a keytab if there is one and else with the
// password. The KDC counts a wrong password once. It takes at most some ten seconds for each KDC that
// does not answer, whatever the context of the call: gokrb5 has none.
func getTicket(k migrate.Kerberos, host, principal, password string, keytabFile []byte) (*kerberosTicket, error) {
	const op = "get a Kerberos ticket"
	// A login may be written as principal@REALM or as a mail address of another domain.
	name, realm, ok := strings.Cut(principal, "@")
	if !ok || !strings.EqualFold(realm, k.Realm) {
		name = principal
	}
	settings, err := config.NewFromString(krb5Conf(k))
	if err != nil {
		return nil, &migrate.Error{Op: op, Kind: migrate.Configuration, Err: fmt.Errorf("read the endpoint's kerberos: %w", err)}
	}
	var c *client.Client
	if keytabFile == nil {
		c = client.NewWithPassword(name, k.Realm, password, settings, client.DisablePAFXFAST(true))
	} else {
		kt := keytab.New()
		if err := kt.Unmarshal(keytabFile); err != nil {
			return nil, &migrate.Error{Op: op, Kind: migrate.Configuration, Err: errors.New("the keytab cannot be read")}
		}
		c = client.NewWithKeytab(name, k.Realm, kt, settings, client.DisablePAFXFAST(true))
	}
	defer c.Destroy()
	if err := c.Login(); err != nil {
		return nil, kerberosError(op, err)
	}
	service := k.Service
	if service == "" {
		service = "imap/" + host
	}
	t := &kerberosTicket{realm: c.Credentials.Domain(), principal: c.Credentials.CName()}
	if t.ticket, t.sessionKey, err = c.GetServiceTicket(service); err != nil {
		return nil, kerberosError(op+" for "+service, err)
	}
	return t, nil
}

// krb5Conf writes krb5.conf(5). TCP alone is used: a lost datagram would look like a second try.
func krb5Conf(k migrate.Kerberos) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[libdefaults]\n default_realm = %s\n dns_lookup_realm = false\n dns_lookup_kdc = %t\n udp_preference_limit = 1\n", k.Realm, len(k.KDC) == 0)
	fmt.Fprintf(&b, "[realms]\n %s = {\n", k.Realm)
	for _, kdc := range k.KDC {
		fmt.Fprintf(&b, "  kdc = %s\n", kdc)
	}
	b.WriteString(" }\n")
	return b.String()
}

// decodeKeytab reads the app setting of a keytab.
func decodeKeytab(name, text string) ([]byte, error) {
	content, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return nil, configuration("the app setting " + name + " does not hold a keytab in base64")
	}
	return content, nil
}

// kdcErrors are what a KDC says, by the names that gokrb5 gives the codes (RFC 4120 section 7.5.9).
var kdcErrors = []struct {
	name   *regexp.Regexp
	kind   migrate.Kind
	reason migrate.Reason
}{
	{regexp.MustCompile(`KDC_ERR_(PREAUTH_FAILED|C_PRINCIPAL_UNKNOWN)|KRB_AP_ERR_BAD_INTEGRITY|Decrypting_Error`), migrate.SignIn, migrate.WrongPassword},
	{regexp.MustCompile(`KDC_ERR_CLIENT_REVOKED`), migrate.SignIn, migrate.AccountLocked},
	{regexp.MustCompile(`KDC_ERR_KEY_EXPIRED`), migrate.SignIn, migrate.PasswordExpired},
	{regexp.MustCompile(`KRB_AP_ERR_SKEW|clock skew`), migrate.Configuration, migrate.ClockSkew},
	{regexp.MustCompile(`KDC_ERR_SVC_UNAVAILABLE`), migrate.Unreachable, ""},
	{regexp.MustCompile(`KDC_ERR_|no KDC|keytab|KDCs`), migrate.Configuration, ""},
}

func kerberosError(op string, err error) error {
	e := &migrate.Error{Op: op, Kind: migrate.Unreachable, Err: errors.New(cleanText(err.Error()))}
	if strings.Contains(err.Error(), "Networking_Error") && !strings.Contains(err.Error(), "no KDC") {
		return e
	}
	for _, known := range kdcErrors {
		if known.name.MatchString(err.Error()) {
			e.Kind, e.Reason = known.kind, known.reason
			return e
		}
	}
	return e
}
