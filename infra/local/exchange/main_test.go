package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"testing"

	"github.com/emersion/go-imap/v2/imapclient"
	"go.uber.org/goleak"

	"mailferry/infra/local/exchange/token"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	anna = "anna@contoso.test"
	olaf = "olaf@contoso.test"
)

// start runs a stand-in with an English and a German user.
func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	users := []User{
		{UserPrincipalName: anna, ProxyAddresses: []string{"SMTP:Anna@contoso.test", "smtp:a.alias@contoso.test"}, AccountEnabled: true, Licensed: true},
		{UserPrincipalName: olaf, AccountEnabled: true, Licensed: true, Language: "de", MaxReceiveSize: 2000},
		{UserPrincipalName: "nobox@contoso.test", AccountEnabled: true},
	}
	for _, u := range users {
		if err := s.AddUser(u); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func trust(t *testing.T, s *Server) *tls.Config {
	t.Helper()
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(s.CA()) {
		t.Fatal("CA is no PEM")
	}
	return &tls.Config{RootCAs: pool}
}

// xoauth2 is a SASL client; a challenge is a refusal and gets an empty answer.
type xoauth2 struct{ user, token string }

func (x xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", fmt.Appendf(nil, "user=%s\x01auth=Bearer %s\x01\x01", x.user, x.token), nil
}

func (x xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }

func dial(t *testing.T, s *Server) *imapclient.Client {
	t.Helper()
	c, err := imapclient.DialTLS(s.IMAPAddr(), &imapclient.Options{TLSConfig: trust(t, s)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// login opens the mailbox of user over IMAP.
func login(t *testing.T, s *Server, user string) *imapclient.Client {
	t.Helper()
	c := dial(t, s)
	if err := c.Authenticate(xoauth2{user, fetchToken(t, s, token.Outlook+"/.default")}); err != nil {
		t.Fatal(err)
	}
	return c
}
