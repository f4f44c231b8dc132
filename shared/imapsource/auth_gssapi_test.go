package imapsource

import (
	"encoding/base64"
	"testing"

	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/krberror"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

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

// TestKerberosErrors has what gokrb5 makes of a KDC's, or a server's, word.
func TestKerberosErrors(t *testing.T) {
	said := func(code int32) error {
		return krberror.Errorf(messages.NewKRBError(types.PrincipalName{}, "OLD.EXAMPLE", code, ""), krberror.KDCError, "AS Exchange Error: kerberos error response from KDC")
	}
	for _, c := range []struct {
		err    error
		kind   migrate.Kind
		reason migrate.Reason
	}{
		{said(errorcode.KDC_ERR_C_PRINCIPAL_UNKNOWN), migrate.SignIn, migrate.WrongPassword},
		{said(errorcode.KDC_ERR_PREAUTH_FAILED), migrate.SignIn, migrate.WrongPassword},
		{said(errorcode.KDC_ERR_CLIENT_REVOKED), migrate.SignIn, migrate.AccountLocked},
		{said(errorcode.KDC_ERR_KEY_EXPIRED), migrate.SignIn, migrate.PasswordExpired},
		{said(errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN), migrate.Configuration, ""},
		{said(errorcode.KDC_ERR_ETYPE_NOSUPP), migrate.Configuration, ""},
		{said(errorcode.KRB_AP_ERR_SKEW), migrate.Configuration, migrate.ClockSkew},
		{krberror.NewErrorf(krberror.KRBMsgError, "clock skew with KDC too large. Greater than %v seconds", 300), migrate.Configuration, migrate.ClockSkew},
		{said(errorcode.KDC_ERR_SVC_UNAVAILABLE), migrate.Unreachable, ""},
		{krberror.NewErrorf(krberror.NetworkingError, "error sending to a KDC: connection refused"), migrate.Unreachable, ""},
		{krberror.NewErrorf(krberror.NetworkingError, "no KDC SRV records found for realm OLD.EXAMPLE"), migrate.Configuration, ""},
	} {
		if err := kerberosError("sign in", c.err); migrate.KindOf(err) != c.kind || migrate.ReasonOf(err) != c.reason {
			t.Errorf("%v, want %s %s", err, c.kind, c.reason)
		}
	}
}
