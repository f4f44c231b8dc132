package imapsource

import (
	"encoding/base64"
	"testing"

	"mailferry/shared/migrate"
)

func gssapiEndpoint(r *realm, auth string) migrate.Endpoint {
	e := r.endpoint(migrate.SecurityTLS, auth)
	e.Kerberos = &migrate.Kerberos{Realm: r.kdc.Realm(), KDC: []string{r.kdc.Addr()}}
	return e
}

// A ticket of a real KDC, had with a password or a keytab, opens a real Dovecot's mailbox.
func TestGSSAPIWithDovecot(t *testing.T) {
	r := wholeRealm(t)
	for _, security := range []migrate.Security{migrate.SecurityTLS, migrate.SecurityNone} {
		for _, auth := range []string{"auto", "gssapi"} {
			e := gssapiEndpoint(r, auth)
			plain := r.endpoint(security, auth)
			e.Security, e.Port = security, plain.Port
			signsIn(t, r.dialer(annaPassword, nil), e, "anna")
		}
	}
	e := gssapiEndpoint(r, "gssapi")
	refusesSignIn(t, r.dialer("wrong", nil), e, "anna", migrate.SignIn, migrate.WrongPassword)
	refusesSignIn(t, r.dialer("wrong", nil), e, "nobody", migrate.SignIn, migrate.WrongPassword)

	e.Kerberos.KeytabSetting = "SOURCE_KEYTAB"
	d := r.dialer("", map[string]string{"SOURCE_KEYTAB": base64.StdEncoding.EncodeToString([]byte(r.keytab))})
	signsIn(t, d, e, "migrator")
	refusesSignIn(t, d, e, "anna", migrate.Configuration, "") // the keytab is another's
	e.Kerberos.Service = "imap/elsewhere"
	refusesSignIn(t, d, e, "migrator", migrate.Configuration, "")
}

// What a KDC says of an account is told apart.
func TestKDCRefusals(t *testing.T) {
	r := wholeRealm(t)
	for name, options := range map[string][]string{"locked": {"-allow_tix"}, "expired": {"-pwexpire", "yesterday"}} {
		if err := r.kdc.AddUser(t.Context(), name, annaPassword); err != nil {
			t.Fatal(err)
		}
		if err := r.kdc.Modify(t.Context(), name, options...); err != nil {
			t.Fatal(err)
		}
	}
	e := gssapiEndpoint(r, "gssapi")
	refusesSignIn(t, r.dialer(annaPassword, nil), e, "locked", migrate.SignIn, migrate.AccountLocked)
	refusesSignIn(t, r.dialer(annaPassword, nil), e, "expired", migrate.SignIn, migrate.PasswordExpired)
	e.Kerberos.KDC = []string{"127.0.0.1:1"}
	refusesSignIn(t, r.dialer(annaPassword, nil), e, "anna", migrate.Unreachable, "")
}
