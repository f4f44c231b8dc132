package imapsource

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/xdg-go/scram"

	"mailferry/infra/local/cyrus"
	"mailferry/shared/migrate"
)

// An administrator opens a real Dovecot's mailboxes, by user*master and by an authorization identity,
// without any user's password.
func TestAdminWithDovecot(t *testing.T) {
	r := wholeRealm(t)
	d := r.dialer("", map[string]string{"SOURCE_MASTER": masterPassword, "SOURCE_WRONG": "wrong"})
	d.Password = nil // nobody asks
	for _, admin := range []migrate.Admin{
		{Style: migrate.AdminDovecotMaster, User: "migrator", Separator: "*", PasswordSetting: "SOURCE_MASTER"},
		{Style: migrate.AdminAuthzid, User: "migrator", PasswordSetting: "SOURCE_MASTER"},
	} {
		t.Run(admin.Style, func(t *testing.T) {
			t.Parallel()
			e := r.endpoint(migrate.SecurityTLS, "plain")
			e.Admin = &admin
			for _, login := range []string{"anna", "bert"} {
				signsIn(t, d, e, login)
			}
			refusesSignIn(t, d, e, "nobody", migrate.SignIn, migrate.NotEntitled)
			wrong := admin
			wrong.PasswordSetting = "SOURCE_WRONG"
			e.Admin = &wrong
			refusesSignIn(t, d, e, "anna", migrate.SignIn, migrate.AdminRefused)
			missing := admin
			missing.PasswordSetting = "SOURCE_NOWHERE"
			e.Admin = &missing
			refusesSignIn(t, d, e, "anna", migrate.Configuration, migrate.SettingMissing)
		})
	}
}

// An administrator of a real Cyrus opens its mailboxes by an authorization identity, and its users sign
// in by what its SASL library has. Its NTLM and SCRAM are not those that the others are tested with.
func TestCyrusSignIn(t *testing.T) {
	t.Parallel() // Cyrus answers a wrong password after seconds
	server, err := cyrus.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	for _, login := range []string{"anna", "bert"} {
		if err := server.AddUser(t.Context(), login, "pw of "+login); err != nil {
			t.Fatal(err)
		}
	}
	host, port := server.TLSAddr()
	e := migrate.Endpoint{Host: host, Port: port, Security: migrate.SecurityTLS, Auth: "auto", CA: string(server.CA())}
	password := "pw of anna"
	own := Dialer{Password: func(context.Context, migrate.Mailbox) (string, error) { return password, nil }}
	for _, e.Auth = range []string{"auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "ntlm"} {
		signsIn(t, own, e, "anna")
	}
	password = "wrong"
	e.Auth = "auto"
	refusesSignIn(t, own, e, "anna", migrate.SignIn, migrate.WrongPassword)
	user, secret := server.Admin()
	d := Dialer{Setting: func(string) (string, error) { return secret, nil }}
	e.Admin = &migrate.Admin{Style: migrate.AdminAuthzid, User: user, PasswordSetting: "SOURCE_CYRUS"}
	for _, e.Auth = range []string{"auto", "plain", "scram-sha-1", "scram-sha-256"} {
		signsIn(t, d, e, "anna")
		signsIn(t, d, e, "bert")
	}
	e.Admin.User = "anna" // who is nobody's administrator
	e.Auth = "plain"
	d.Setting = func(string) (string, error) { return "pw of anna", nil }
	s, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: "bert"})
	if err == nil {
		s.Close()
		t.Error("anna opens bert's mailbox")
	}
	if migrate.KindOf(err) != migrate.SignIn {
		t.Errorf("got %v", err)
	}
}

// TestCyrusOffersChannelBinding shows why none is used: of the bindings that Go has in TLS 1.3 Cyrus knows
// none, and who claims to have seen no offer is refused.
func TestCyrusOffersChannelBinding(t *testing.T) {
	t.Parallel() // Cyrus refuses after seconds
	server, err := cyrus.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	if err := server.AddUser(t.Context(), "u", "pw"); err != nil {
		t.Fatal(err)
	}
	for flag, mechanism := range map[string]string{"n": "SCRAM-SHA-256", "y": "SCRAM-SHA-256", "p=tls-exporter": "SCRAM-SHA-256-PLUS", "p=tls-server-end-point": "SCRAM-SHA-256-PLUS"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			host, port := server.TLSAddr()
			conn, err := tls.Dial("tcp", net.JoinHostPort(host, strconv.Itoa(port)), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			p := &peer{conn, bufio.NewReader(conn)}
			if _, greeting, err := p.read(); err != nil || !strings.Contains(greeting, "AUTH=SCRAM-SHA-256-PLUS") {
				t.Fatalf("it greets with %q: %v", greeting, err)
			}
			state := conn.ConnectionState()
			client, err := scram.SHA256.NewClient("u", "pw", "")
			if err != nil {
				t.Fatal(err)
			}
			conversation := client.NewConversation()
			var binding scram.ChannelBinding
			switch flag {
			case "y":
				conversation = client.NewConversationAdvertisingChannelBinding()
			case "p=tls-exporter":
				binding, err = scram.NewTLSExporterBinding(&state)
				conversation = client.NewConversationWithChannelBinding(binding)
			case "p=tls-server-end-point":
				binding, err = scram.NewTLSServerEndpointBinding(&state)
				conversation = client.NewConversationWithChannelBinding(binding)
			}
			if err != nil {
				t.Fatal(err)
			}
			p.send("a AUTHENTICATE %s\r\n", mechanism)
			for {
				tag, text, err := p.read()
				if err != nil {
					t.Fatal(err)
				}
				if tag == "a" {
					if ok := strings.HasPrefix(text, "OK"); ok != (flag == "n") {
						t.Errorf("%s is answered %s", flag, text)
					}
					return
				}
				challenge, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					t.Fatal(err)
				}
				reply, _ := conversation.Step(string(challenge))
				p.send("%s\r\n", base64.StdEncoding.EncodeToString([]byte(reply)))
			}
		})
	}
}

// What an administrator signs in as, by style.
func TestAdminStyles(t *testing.T) {
	for _, c := range []struct {
		admin          migrate.Admin
		login, authzid string
	}{
		{migrate.Admin{Style: migrate.AdminDovecotMaster, User: "master", Separator: "*"}, "anna@old.example*master", ""},
		{migrate.Admin{Style: migrate.AdminAuthzid, User: "cyrus"}, "cyrus", "anna@old.example"},
		{migrate.Admin{Style: migrate.AdminExchange, User: "admin", Domain: "OLD"}, "OLD/admin/anna", ""},
		{migrate.Admin{Style: migrate.AdminMirapoint, User: "admin"}, "#anna@old.example#admin#", ""},
	} {
		got := asAdmin(c.admin, "anna@old.example", "pw")
		if got.login != c.login || got.authzid != c.authzid || got.password != "pw" {
			t.Errorf("%s: %s %s", c.admin.Style, got.login, got.authzid)
		}
	}
}

// A secret that came out of a file with a line end is used without it.
func TestSettingWithALineEnd(t *testing.T) {
	for value, want := range map[string]string{"pw\r\n": "pw", "pw\n\n": "pw", " p\tw ": " p\tw ", "\n": ""} {
		d := Dialer{Setting: func(string) (string, error) { return value, nil }}
		got, err := d.setting("SOURCE_PW")
		if got != want || (want == "") != (migrate.ReasonOf(err) == migrate.SettingMissing) {
			t.Errorf("%q is read as %q, %v", value, got, err)
		}
	}
}
