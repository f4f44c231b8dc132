package imapsource

import (
	"errors"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// TestRefusals gives each refusal that a server is known to use its meaning.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		answer string // without the tag
		kind   migrate.Kind
		reason migrate.Reason
	}{
		// Gmail: mozilla-b2g/gaia, apps/email/js/ext/mailapi/imap/probe.js; the last two of lovelysystems/robotframework-imaplibrary
		// issue 23 and zone-eu/wildduck issue 35.
		{"NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)", migrate.SignIn, migrate.WrongPassword},
		{"NO [ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)", migrate.SignIn, migrate.AppPassword},
		{"NO [ALERT] Your account is not enabled for IMAP use. Please visit your Gmail settings page and enable your account for IMAP access. (Failure)", migrate.SignIn, migrate.IMAPDisabled},
		{"NO [ALERT] IMAP access is disabled for your domain. Please contact your domain administrator for questions about this feature. (Failure)", migrate.SignIn, migrate.IMAPDisabled},
		{"NO [ALERT] Please log in via your web browser: http://support.google.com/mail/accounts/bin/answer.py?answer=78754 (Failure)", migrate.SignIn, migrate.AppPassword},
		{"NO [ALERT] Too many simultaneous connections. (Failure)", migrate.Throttled, migrate.AccountCrowded},
		// Dovecot 2.3.19: login-common/client-common-auth.c:588-634, :792-797, imap-login/client-authenticate.c:79-116,
		// imap-proxy.c:478-486, auth/auth-request.c:770; "Cleartext" and [LIMIT] are of 2.4: see pushbacks and refusalTexts.
		{"NO [AUTHENTICATIONFAILED] Authentication failed.", migrate.SignIn, migrate.WrongPassword},
		{"NO [AUTHORIZATIONFAILED] Authorization failed", migrate.SignIn, migrate.NotEntitled},
		{"NO [EXPIRED] Password expired", migrate.SignIn, migrate.PasswordExpired},
		{"NO [CONTACTADMIN] Login disabled for this user", migrate.SignIn, migrate.AskServerAdmin},
		{"NO [UNAVAILABLE] Temporary authentication failure. [host:2026-11-24 20:00:00]", migrate.Throttled, migrate.ServerIll},
		{"NO [UNAVAILABLE] Account is temporarily unavailable.", migrate.Throttled, migrate.ServerIll},
		{"NO [PRIVACYREQUIRED] Cleartext authentication disallowed on non-secure (SSL/TLS) connections.", migrate.Configuration, migrate.ClearTextRefused},
		{"NO [PRIVACYREQUIRED] Plaintext authentication disallowed on non-secure (SSL/TLS) connections.", migrate.Configuration, migrate.ClearTextRefused},
		{"NO [UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", migrate.Throttled, migrate.AccountCrowded},
		{"NO [LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", migrate.Throttled, migrate.AccountCrowded},
		// Zimbra: zm-mailbox 2b7f9787, ImapHandler.java:1676-1774.
		{"NO LOGIN failed", migrate.SignIn, migrate.WrongPassword},
		{"NO AUTHENTICATE failed", migrate.SignIn, migrate.WrongPassword},
		{"NO LOGIN failed (wrong host)", migrate.SignIn, migrate.OtherServer},
		{"NO [REFERRAL imap://anna%40example.com@mbox2.example.com/] LOGIN failed", migrate.SignIn, migrate.OtherServer},
		{"NO account does not have IMAP access enabled", migrate.SignIn, migrate.IMAPDisabled},
		{"NO cleartext logins disabled", migrate.Configuration, migrate.ClearTextRefused},
		{"NO [ALERT] password must be changed before IMAP login permitted", migrate.SignIn, migrate.PasswordExpired},
		{"NO [ALERT] account undergoing maintenance; please try again later", migrate.Throttled, migrate.ServerIll},
		// hMailServer: hmailserver 4d11f81d, IMAPCommandLogin.cpp:29-40, :95-101; see TestHMailServerHasHadEnough.
		{"BAD STARTTLS is required.", migrate.Configuration, migrate.ClearTextRefused},
		{"BAD A SSL/TLS-connection is required for authentication.", migrate.Configuration, migrate.ClearTextRefused},
		{"NO Invalid user name or password. Please use full email address as user name.", migrate.SignIn, migrate.WrongPassword},
		{"NO Invalid user name or password.", migrate.SignIn, migrate.WrongPassword},
		// Exchange: imapsync/imapsync issue 317; Outlook.com since basic authentication ended: holon-run/uxc issue 445,
		// mscdex/node-imap issue 799; the last: see pushbacks.
		{"NO LOGIN failed.", migrate.SignIn, migrate.WrongPassword},
		{"NO Basic authentication is disabled.", migrate.SignIn, migrate.BasicAuthOff},
		{"NO LOGIN failed. Account is blocked. Login to your account via a web browser to verify your identity.", migrate.SignIn, migrate.AccountLocked},
		{"BAD User is authenticated but not connected.", migrate.Throttled, migrate.NotConnected},
		// RFC 5530 section 3, words that no source gives but anybody may choose, and a server that says nothing.
		{"NO [EXPIRED] -", migrate.SignIn, migrate.PasswordExpired},
		{"NO [INUSE] -", migrate.Throttled, migrate.ServerIll},
		{"NO [LIMIT] slow down", migrate.Throttled, migrate.TooFast},
		{"NO [PRIVACYREQUIRED] use TLS", migrate.Configuration, migrate.ClearTextRefused},
		{"NO Your account is temporarily locked", migrate.SignIn, migrate.AccountLocked},
		{"NO Too many login failures, try again later", migrate.SignIn, migrate.AccountLocked},
		{"NO", migrate.SignIn, migrate.WrongPassword},
		{"NO [INUSE] Mailbox is locked by another session", migrate.Throttled, migrate.ServerIll},
		{"BAD Invalid Credentials", migrate.SignIn, migrate.WrongPassword},
		// MessageVortex: mgwerder/messageVortex a1295aa6, ImapCommandAuthenticate.java:169.
		{"BAD login failed", migrate.SignIn, migrate.WrongPassword},
		// iCloud, of an empty password: kazu-yamamoto/Mew issue 220.
		{"BAD tag LOGIN username password", migrate.Configuration, ""},
		{"BAD unknown", migrate.Configuration, ""},
	} {
		tries := 0
		err := tryDial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
			if strings.HasPrefix(command, "AUTHENTICATE") {
				tries++
				p.send("%s %s\r\n", tag, c.answer)
				return true
			}
			return false
		}))
		var e *migrate.Error
		if !errors.As(err, &e) || e.Kind != c.kind || e.Reason != c.reason {
			t.Errorf("%s: got %v, want kind %s, reason %s", c.answer, err, c.kind, c.reason)
		}
		if tries != 1 {
			t.Errorf("%s: tried %d times", c.answer, tries)
		}
	}
}

// The refused administrator and the refused token are not the mailbox's password.
func TestRefusalOfWhom(t *testing.T) {
	refused := &imap.Error{Type: "NO", Code: imap.ResponseCodeAuthenticationFailed}
	for want, e := range map[migrate.Reason]migrate.Endpoint{
		migrate.WrongPassword: {},
		migrate.AdminRefused:  {Admin: &migrate.Admin{}},
		migrate.TokenRefused:  {OAuth: &migrate.OAuth{}},
	} {
		if err := signInError(refused, e, mechanism{}, ""); migrate.ReasonOf(err) != want || migrate.KindOf(err) != migrate.SignIn {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// A password that SCRAM proves wrong may be right all the same.
func TestAdviceOnChallenges(t *testing.T) {
	answer := &imap.Error{Type: "NO", Text: "no"}
	for _, c := range []struct {
		name     string
		security migrate.Security
		own      bool
	}{{"scram-sha-256", migrate.SecurityTLS, true}, {"plain", migrate.SecurityTLS, false}, {"cram-md5", migrate.SecurityNone, false}} {
		var e *migrate.Error
		err := signInError(answer, migrate.Endpoint{Security: c.security}, named(c.name), "")
		if !errors.As(err, &e) || (e.Advice != "") != c.own || !strings.Contains(err.Error(), c.name) {
			t.Errorf("%s: %v, advice %q", c.name, err, e.Advice)
		}
	}
}

// hMailServer's last refusal is an untagged line that is no response, and BAD: hmailserver 4d11f81d,
// IMAPCommandLogin.cpp:59-65, IMAPConnection.cpp:120-129 (greeting), IMAPCommandCapability.cpp:19-48.
func TestHMailServerHasHadEnough(t *testing.T) {
	err := tryDial(t, scripted(t, "* OK IMAPrev1", func(p *peer, tag, command string) bool {
		switch {
		case command == "CAPABILITY":
			p.send("* CAPABILITY IMAP4 IMAP4rev1 CHILDREN IDLE QUOTA SORT ACL NAMESPACE RIGHTS=texk\r\n%s OK CAPABILITY completed\r\n", tag)
		case strings.HasPrefix(command, "LOGIN"):
			p.send("* Too many invalid logon attempts.\r\n%s BAD Goodbye\r\n", tag)
			p.Close()
		default:
			return false
		}
		return true
	}))
	if migrate.ReasonOf(err) != migrate.AccountLocked || migrate.KindOf(err) != migrate.SignIn {
		t.Errorf("got %v", err)
	}
}

// Exchange takes a login whose mailbox it does not open, and says so to the first command, also when it has
// had enough: that is no refused password. It says so to NAMESPACE (mscdex/node-imap issue 523), LIST
// (Webklex/php-imap issue 450) and EXAMINE (getmail6/getmail6 issue 221).
func TestExchangeIsNotConnected(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if strings.HasPrefix(command, "LIST") || strings.HasPrefix(command, "EXAMINE") || strings.HasPrefix(command, "NAMESPACE") {
			p.send("%s BAD User is authenticated but not connected.\r\n", tag)
			return true
		}
		return false
	}))
	_, err := s.Folders(t.Context())
	if migrate.ReasonOf(err) != migrate.NotConnected || migrate.KindOf(err) != migrate.Throttled {
		t.Errorf("list: %v", err)
	}
	_, err = s.Open(t.Context(), "INBOX")
	if migrate.ReasonOf(err) != migrate.NotConnected || migrate.KindOf(err) != migrate.Throttled {
		t.Errorf("open: %v", err)
	}
}
