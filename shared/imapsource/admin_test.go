package imapsource

import (
	"testing"

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
