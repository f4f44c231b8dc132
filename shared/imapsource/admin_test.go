package imapsource

import (
	"context"
	"testing"

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
