package imapsource

import (
	"testing"

	"mailferry/shared/migrate"
)

// Every password mechanism opens a real Dovecot's mailbox, over every security, and tells a wrong
// password as such. NTLM is Samba's.
func TestPasswordMechanismsWithDovecot(t *testing.T) {
	r := wholeRealm(t)
	for _, auth := range []string{"auto", "plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256", "ntlm"} {
		t.Run(auth, func(t *testing.T) {
			t.Parallel() // Dovecot answers a wrong password after half a second
			for _, security := range []migrate.Security{migrate.SecurityTLS, migrate.SecuritySTARTTLS, migrate.SecurityNone} {
				signsIn(t, r.dialer(annaPassword, nil), r.endpoint(security, auth), "anna")
			}
			refusesSignIn(t, r.dialer("wrong", nil), r.endpoint(migrate.SecurityTLS, auth), "anna", migrate.SignIn, migrate.WrongPassword)
		})
	}
}
