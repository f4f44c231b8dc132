package imapsource

import (
	"errors"
	"fmt"
	"regexp"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// refusalTexts tells refusals of a sign-in apart by their words, first match first. They go before
// the response codes, since servers say most in words.
var refusalTexts = []struct {
	words    *regexp.Regexp
	kind     migrate.Kind
	reason   migrate.Reason
	evidence string
}{
	{regexp.MustCompile(`(?i)application-specific password required|app(lication)?[- ]password (is )?(needed|required)|InvalidSecondFactor`),
		migrate.SignIn, migrate.AppPassword, `Gmail: "[ALERT] Application-specific password required: https://support.google.com/accounts/answer/185833 (Failure)", mozilla-b2g/gaia, apps/email/js/ext/mailapi/imap/probe.js`},
	{regexp.MustCompile(`(?i)not enabled for IMAP|IMAP access (is )?disabled|does not have IMAP access`),
		migrate.SignIn, migrate.IMAPDisabled, `Gmail: "[ALERT] Your account is not enabled for IMAP use." and "IMAP access is disabled for your domain.", same file; Zimbra: "account does not have IMAP access enabled", zm-mailbox 2b7f9787, ImapHandler.java:1758`},
	{regexp.MustCompile(`(?i)basic authentication is disabled|BasicAuthBlocked`),
		migrate.SignIn, migrate.BasicAuthOff, `Outlook.com: "NO Basic authentication is disabled.", holon-run/uxc issue 445`},
	{regexp.MustCompile(`^REFERRAL |\(wrong host\)`),
		migrate.SignIn, migrate.OtherServer, `Zimbra: "LOGIN failed (wrong host)" and "[REFERRAL imap://…/] LOGIN failed", zm-mailbox 2b7f9787, ImapHandler.java:1768-1774; RFC 2221`},
	{regexp.MustCompile(`(?i)please log in via your web browser|web login required`),
		migrate.SignIn, migrate.AppPassword, `Gmail: "[ALERT] Please log in via your web browser", lovelysystems/robotframework-imaplibrary issue 23`},
	{regexp.MustCompile(`(?i)(too many|maximum number of) ?(\w+ )?(invalid|failed|bad|unsuccessful|login fail|auth\w* fail)|(account|user|mailbox)\b.{0,30}\b(locked|blocked|suspended)|lock(ed)? ?out`),
		migrate.SignIn, migrate.AccountLocked, `hMailServer: "* Too many invalid logon attempts.", hmailserver 4d11f81d, IMAPCommandLogin.cpp:61, and IMAPCommandAuthenticate.cpp:123; Outlook.com: "LOGIN failed. Account is blocked. Login to your account via a web browser", mscdex/node-imap issue 799`},
	{regexp.MustCompile(`(?i)login disabled for this user|account (is )?(disabled|not active)`),
		migrate.SignIn, migrate.AskServerAdmin, `Dovecot: "Login disabled for this user", dovecot/core f28b5a92, src/login-common/client-common-auth.c:876`},
	{regexp.MustCompile(`(?i)password (has |is )?expired|must change (your |the )?password|password must be changed`),
		migrate.SignIn, migrate.PasswordExpired, `Dovecot: "[EXPIRED] Password expired", dovecot/core 2.3.19, src/auth/auth-request.c:770; Zimbra: "[ALERT] password must be changed before IMAP login permitted", zm-mailbox 2b7f9787, ImapHandler.java:1741; RFC 5530 section 3`},
	{regexp.MustCompile(`(?i)cleartext logins disabled|(plain|clear)text authentication (is )?(disabled|disallowed|not allowed)|authentication disallowed on non-secure|until SSL/TLS is enabled|STARTTLS is required|SSL/TLS-connection is required`),
		migrate.Configuration, migrate.ClearTextRefused, `Zimbra: "cleartext logins disabled", zm-mailbox 2b7f9787, ImapHandler.java:1676; Dovecot: "Cleartext authentication disallowed on non-secure (SSL/TLS) connections.", dovecot/core f28b5a92, src/login-common/login-common.h:14 (2.3: "Plaintext …"); hMailServer: "BAD A SSL/TLS-connection is required for authentication." and "BAD STARTTLS is required.", hmailserver 4d11f81d, IMAPCommandLogin.cpp:33, :39`},
	{regexp.MustCompile(`(?i)mechanism (is )?(not (supported|available)|unsupported|unavailable)|(unsupported|unknown|no) ((SASL|authentication) )?mechanism`),
		migrate.Configuration, migrate.NoMechanism, `Perdition, which offers AUTH=PLAIN: "NO AUTHENTICATE mechanism not supported, mate", thunderbird/thunderbird-android issue 9406; Dovecot: "Unsupported authentication mechanism.", dovecot/core f28b5a92, src/login-common/sasl-proxy.c:599; Cyrus SASL: "no mechanism available", cyrusimap/cyrus-sasl ac0c2788, lib/common.c:1397`},
}

// refusedByBad is how servers refuse a password that answer BAD, which else is about the command.
var refusedByBad = regexp.MustCompile(`(?i)(log ?in|log ?on|authenticat(e|ion)) (has )?(failed|failure)|(invalid|incorrect|wrong|bad) (user ?name|password|credentials)`)

// refusalCodes are the response codes of RFC 5530 section 3 that say why a sign-in was refused.
// UNAVAILABLE, LIMIT and INUSE are no refusal: see pushbacks.
var refusalCodes = map[imap.ResponseCode]struct {
	kind   migrate.Kind
	reason migrate.Reason
}{
	imap.ResponseCodeAuthenticationFailed: {migrate.SignIn, migrate.WrongPassword},
	imap.ResponseCodeAuthorizationFailed:  {migrate.SignIn, migrate.NotEntitled},
	imap.ResponseCodeExpired:              {migrate.SignIn, migrate.PasswordExpired},
	imap.ResponseCodePrivacyRequired:      {migrate.Configuration, migrate.ClearTextRefused},
	imap.ResponseCodeContactAdmin:         {migrate.SignIn, migrate.AskServerAdmin},
}

// classifyRefusal says what a server means by refusing a sign-in. A NO that says nothing more is a
// wrong password: "LOGIN failed" is all that Cyrus, Courier, Exchange and Zimbra say. more is what the
// server said before.
func classifyRefusal(answer *imap.Error, more string) (migrate.Kind, migrate.Reason) {
	if answer.Code == imap.ResponseCodeInUse {
		return migrate.Throttled, migrate.ServerIll // whatever is locked is so by another session
	}
	text := string(answer.Code) + " " + answer.Text + " " + more
	for _, rule := range refusalTexts {
		if rule.words.MatchString(text) {
			return rule.kind, rule.reason
		}
	}
	if code, ok := refusalCodes[answer.Code]; ok {
		return code.kind, code.reason
	}
	if p, ok := pushedBack(answer); ok {
		return migrate.Throttled, p.reason
	}
	if answer.Type == imap.StatusResponseTypeBad && !refusedByBad.MatchString(text) {
		return migrate.Configuration, ""
	}
	return migrate.SignIn, migrate.WrongPassword
}

// challengeAdvice is for a wrong password by a mechanism that does not show it to the server.
const challengeAdvice = "Check login and password with a mail program, then drop the CSV again with the right ones. If they are right, " +
	"set the endpoint's auth to plain or login: some servers offer this way although they keep no password to check it with."

// signInError gives a server's refusal of a mechanism its kind and reason; more is what it said
// besides.
func signInError(err error, endpoint migrate.Endpoint, m mechanism, more string) error {
	var refused *imap.Error
	if !errors.As(err, &refused) {
		return err
	}
	kind, reason := classifyRefusal(refused, more)
	if reason == migrate.WrongPassword {
		switch {
		case endpoint.OAuth != nil:
			reason = migrate.TokenRefused
		case endpoint.Admin != nil:
			reason = migrate.AdminRefused
		}
	}
	text := answerText(refused)
	if more != "" {
		text += " (" + more + ")"
	}
	e := &migrate.Error{Kind: kind, Reason: reason, Err: fmt.Errorf("the server answers auth %s with %s", m.name, text)}
	if p, ok := pushedBack(refused); ok && kind == migrate.Throttled {
		p.mark(e)
	}
	if reason == migrate.WrongPassword && m.challenge && endpoint.Security != migrate.SecurityNone {
		e.Advice = challengeAdvice
	}
	return e
}

// answerText is what the server said.
func answerText(answer *imap.Error) string {
	if answer.Code != "" {
		return fmt.Sprintf("%s [%s] %s", answer.Type, answer.Code, answer.Text)
	}
	return fmt.Sprintf("%s %s", answer.Type, answer.Text)
}
