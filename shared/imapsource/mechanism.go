package imapsource

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"mailferry/shared/migrate"
)

// credential is what a mailbox is opened with.
type credential struct {
	login    string // who signs in
	authzid  string // whose mailbox it is, where that is said apart
	password string
	token    string          // an OAuth access token
	ticket   *kerberosTicket // for the server's service
	host     string
	port     int
}

// mechanism is a way to sign in.
type mechanism struct {
	name      string // in endpoint.json
	offer     imap.Cap
	challenge bool // what crosses the connection does not tell the password
	authzid   bool // it can open another's mailbox
	client    func(credential) (sasl.Client, error)
}

var mechanisms = []mechanism{
	{"gssapi", "AUTH=GSSAPI", true, true, gssapiClient},
	{"oauthbearer", "AUTH=OAUTHBEARER", false, false, oauthBearerClient},
	{"xoauth2", "AUTH=XOAUTH2", false, false, xoauth2Client},
	{"scram-sha-256", "AUTH=SCRAM-SHA-256", true, true, scramSHA256Client},
	{"scram-sha-1", "AUTH=SCRAM-SHA-1", true, true, scramSHA1Client},
	{"plain", "AUTH=PLAIN", false, true, plainClient},
	{"login", "AUTH=LOGIN", false, false, loginClient},
	{"cram-md5", "AUTH=CRAM-MD5", true, false, cramMD5Client},
	{"ntlm", "AUTH=NTLM", true, false, ntlmClient},
}

// Strongest first. Within TLS the password is safe from the network, so that PLAIN goes before
// CRAM-MD5 and NTLM: servers offer these two although they keep no password that they could check
// them with, and each try that fails counts towards a lock. In clear text nothing that shows the
// password is tried where anything else is offered; of the rest, a server that is given an NTLM or
// CRAM-MD5 answer can guess the password at its leisure (RFC 6331 section 2 on the like), so SCRAM
// goes first.
var (
	orderInTLS     = []string{"scram-sha-256", "scram-sha-1", "plain", "login", "cram-md5", "ntlm"}
	orderInClear   = []string{"scram-sha-256", "scram-sha-1", "ntlm", "cram-md5"}
	orderUnguarded = []string{"plain", "login"} // in clear text, of a server that offers nothing else
)

func named(name string) mechanism {
	return mechanisms[slices.IndexFunc(mechanisms, func(m mechanism) bool { return m.name == name })]
}

// offered reports whether a server takes a mechanism.
func (m mechanism) offered(caps imap.CapSet) bool {
	return caps.Has(m.offer) || m.name == "login" && !caps.Has(imap.CapLoginDisabled)
}

// chooseMechanism returns the one that the endpoint names, or the strongest that the server offers
// and the credentials allow.
func chooseMechanism(endpoint migrate.Endpoint, c credential, caps imap.CapSet) (mechanism, error) {
	if endpoint.Auth != "auto" && endpoint.Auth != "" {
		m := named(endpoint.Auth)
		if !m.offered(caps) {
			return m, noMechanism(fmt.Sprintf("the server does not offer auth %s on this connection", m.name), caps)
		}
		return m, nil
	}
	for _, name := range candidates(endpoint, c, caps) {
		if m := named(name); m.offered(caps) && (c.authzid == "" || m.authzid) {
			return m, nil
		}
	}
	return mechanism{}, noMechanism("the server offers no way to sign in that this endpoint allows on this connection", caps)
}

func candidates(endpoint migrate.Endpoint, c credential, caps imap.CapSet) []string {
	switch {
	case c.ticket != nil:
		return []string{"gssapi"}
	case c.token != "":
		return []string{"oauthbearer", "xoauth2"}
	case endpoint.Security != migrate.SecurityNone:
		return orderInTLS
	case slices.ContainsFunc(orderInClear, func(name string) bool { return named(name).offered(caps) }):
		return orderInClear
	}
	return orderUnguarded
}

func noMechanism(text string, caps imap.CapSet) error {
	offers := caps.AuthMechanisms()
	slices.Sort(offers)
	if caps.Has(imap.CapLoginDisabled) {
		offers = append(offers, "no LOGIN")
	}
	list := strings.Join(offers, ", ")
	if list == "" {
		list = "none by name"
	}
	return &migrate.Error{Kind: migrate.Configuration, Reason: migrate.NoMechanism, Err: fmt.Errorf("%s (it offers: %s)", text, list)}
}

func plainClient(c credential) (sasl.Client, error) {
	return sasl.NewPlainClient(c.authzid, c.login, c.password), nil
}
