package imapsource

import (
	"errors"
	"maps"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"mailferry/shared/migrate"
)

// signIn authenticates behind the greeting, once: a server may count each try towards a lock. Where it says that
// it does not have the mechanism that it offers, it has looked at no password, and the next one is tried.
func (d *dialogue) signIn(endpoint migrate.Endpoint, c credential) error {
	caps, err := d.capabilities()
	if err != nil {
		return err
	}
	if strings.ContainsRune(c.login+c.authzid+c.password, 0) {
		return &migrate.Error{Kind: migrate.SignIn, Err: errors.New("the login or the password holds a NUL")}
	}
	m, err := chooseMechanism(endpoint, c, caps)
	for err == nil {
		if err = d.signInBy(m, endpoint, c, caps); !mayGoOn(err, m, endpoint) {
			return err
		}
		caps = maps.Clone(caps)
		delete(caps, m.offer)
		next, none := chooseMechanism(endpoint, c, caps)
		if none != nil {
			return err
		}
		m, err = next, nil
		d.wire.forgetStatus()
	}
	return err
}

// mayGoOn reports whether another mechanism may be tried: none that shows a password in clear text in place of one
// that does not.
func mayGoOn(err error, m mechanism, endpoint migrate.Endpoint) bool {
	chosen := endpoint.Auth == "auto" || endpoint.Auth == ""
	return chosen && m.name != "login" && migrate.ReasonOf(err) == migrate.NoMechanism && (endpoint.Security != migrate.SecurityNone || !m.challenge)
}

func (d *dialogue) signInBy(m mechanism, endpoint migrate.Endpoint, c credential, caps imap.CapSet) error {
	if m.name == "login" && !caps.Has(imap.CapLoginDisabled) {
		err := d.login(c.login, c.password)
		return signInError(err, endpoint, m, d.wire.lastStatus())
	}
	client, err := m.client(c)
	if err != nil {
		return err
	}
	d.caps = caps // they say whether an initial response is taken
	err = d.authenticate(client)
	more := d.wire.lastStatus()
	if b, ok := client.(*bearer); ok && b.refused != "" {
		more = b.refused
	}
	return signInError(err, endpoint, m, more)
}

// login sends LOGIN (RFC 9051 section 6.2.3).
func (d *dialogue) login(user, password string) error {
	parts := []string{"LOGIN"}
	for _, argument := range []string{user, password} {
		last := &parts[len(parts)-1]
		if quotable(argument) {
			*last += " " + quote(argument)
		} else {
			*last += " {" + strconv.Itoa(len(argument)) + "}"
			parts = append(parts, argument)
		}
	}
	d.caps = nil
	return d.converse(parts[0], func(string) (string, error) {
		if parts = parts[1:]; len(parts) == 0 {
			return "", errors.New("the server asks for more than LOGIN has")
		}
		return parts[0], nil
	})
}

// quotable reports whether every server takes s as a quoted string: 8-bit characters need a literal.
func quotable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// saslLogin is the LOGIN mechanism (draft-murchison-sasl-login-00). The one of go-sasl insists on
// the words of the prompts, which servers differ in.
type saslLogin struct {
	credential
	asked int
}

func loginClient(c credential) (sasl.Client, error) { return &saslLogin{credential: c}, nil }

func (l *saslLogin) Start() (string, []byte, error) { return "LOGIN", nil, nil }

func (l *saslLogin) Next([]byte) ([]byte, error) {
	l.asked++
	switch l.asked {
	case 1:
		return []byte(l.login), nil
	case 2:
		return []byte(l.password), nil
	}
	return nil, errors.New("the server asks for more than login and password")
}

// saslName escapes a name for OAUTHBEARER (RFC 5801 section 4).
func saslName(s string) string { return strings.NewReplacer("=", "=3D", ",", "=2C").Replace(s) }
