package imapsource

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// pushback is a server's word that it has enough for now.
type pushback struct {
	reason migrate.Reason
	after  time.Duration // how long it asks to be left alone; 0: it does not say
}

// allowanceRest is the pause after a day's allowance was used up. Gmail gives it back after up to 24
// hours, or bit by bit.
const allowanceRest = 2 * time.Hour

// pushbacks tells what servers say that have enough, first match first. The words are looked for in the
// response code and the text, such as "[LIMIT] Rate limit hit". What is ServerIll may as well be about
// what was asked for, such as one message.
//
// What is not here ends the connection and no more: "Server shutting down" (Dovecot), "shut down by
// signal" (Courier), "closing connection" (Zimbra, also after too many requests), "Connection is closed.
// 13" (Exchange), "Session expired" (Gmail). The next connection tells whether the server has enough.
var pushbacks = []struct {
	words *regexp.Regexp
	pushback
	evidence string
}{
	{regexp.MustCompile(`(?i)exceeded command or bandwidth limits|^\[OVERQUOTA\]`), pushback{migrate.AllowanceUsed, allowanceRest},
		`Gmail: "[OVERQUOTA] Account exceeded command or bandwidth limits.", ljmerza/ha-email-sensor issue 16; 2500 MB a day, then up to 24 hours: MicrosoftDocs/OfficeDocs-Exchange issue 483, support.google.com/a/answer/1071518`},
	{regexp.MustCompile(`(?i)request is throttled|suggested backoff time`), pushback{migrate.TooFast, 0},
		`Exchange: "NO Request is throttled. Suggested Backoff Time: 299910 milliseconds", ikvk/imap_tools issue 135; with BAD, and "* BYE Connection closed. 14" behind it, simonrob/email-oauth2-proxy issue 191`},
	{regexp.MustCompile(`(?i)authenticated but not connected`), pushback{migrate.NotConnected, 0},
		`Exchange, to the sign-in or to the first command: "User is authenticated but not connected", imapsync FAQ.d/FAQ.Exchange.txt (a wrong password, no permission); it has had enough: mscdex/node-imap issues 523 and 689; for a while, atc0005/check-mail issue 183`},
	{regexp.MustCompile(`(?i)maximum number of connections`), pushback{migrate.AccountCrowded, 0},
		`Dovecot: "[LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", dovecot/core f28b5a92, src/login-common/sasl-proxy.c:24, src/imap-login/client-authenticate.c:99-102; 2.3 with [UNAVAILABLE], dovecot/core 2.3.19, client-common-auth.c:792-797, mscdex/node-imap issue 606`},
	{regexp.MustCompile(`(?i)too many open connections \(\d+ of \d+ from `), pushback{migrate.ServerCrowded, 0},
		`Cyrus with maxlogins_per_host: "Too many open connections (2 of 2 from localhost [127.0.0.1], 1 of 100 for u)", cyrusimap/cyrus-imapd 1f3a1293, imap/imapd.c:2969 (checklimits), and Debian's 3.6.1`},
	{regexp.MustCompile(`(?i)too many open connections`), pushback{migrate.AccountCrowded, 0},
		`Cyrus with maxlogins_per_user: "Too many open connections (2 of 2 for u)", same place`},
	{regexp.MustCompile(`(?i)too many (\w+ )?connections`), pushback{migrate.AccountCrowded, 0},
		`Gmail: "[ALERT] Too many simultaneous connections. (Failure)", zone-eu/wildduck issue 35; "Too many concurrent connections", M66B/FairEmail e23dd9df, ConnectionHelper.java:545; "Too many connections from this user", cyrus-imapd 1f3a1293, imap/imap_err.et:23`},
	{regexp.MustCompile(`(?i)closing connection; service busy`), pushback{migrate.ServerCrowded, 0},
		`Zimbra above zimbraImapMaxConnections: "* BYE … closing connection; service busy", Zimbra/zm-mailbox 2b7f9787, ImapConfig.java:108-110, NioHandlerDispatcher.java:65-71`},
	{regexp.MustCompile(`(?i)connection queue full`), pushback{migrate.ServerCrowded, 0},
		`Dovecot, when the login processes have all the clients they may: "* BYE Connection queue full", dovecot/core f28b5a92, src/login-common/client-common.c:694`},
	{regexp.MustCompile(`(?i)rate limit|^\[LIMIT\]`), pushback{migrate.TooFast, 0},
		`Yahoo: "NO [LIMIT] UID FETCH Rate limit hit.", dovecot/core f28b5a92, src/lib-storage/index/imapc/imapc-mail-fetch.c:38-40, behind "* BYE IMAP4rev1 Server logging out", postalsys/imapflow issue 75; Mailu: "NO Authentication rate limit from one source exceeded", Mailu/Mailu issue 1251; RFC 5530 section 3`},
	{regexp.MustCompile(`(?i)server unavailable\. \d|(^|\] )(system error|lookup failed )`), pushback{migrate.ServerIll, 0},
		`Exchange: "NO Server Unavailable. 15", lefcha/imapfilter issue 146, to SELECT OfflineIMAP/offlineimap issue 291; Gmail: "NO System Error (Failure)" to SELECT, mscdex/node-imap issue 715, for one message, OfflineIMAP/offlineimap issue 682; "NO Lookup failed b17mb443604527ign" to AUTHENTICATE, gaubert/gmvault issue 253`},
	{regexp.MustCompile(`(?i)server error( while fetching messages| - please try again later)|^\[TEMPFAIL\]`), pushback{migrate.ServerIll, 0},
		`Yahoo: "NO [UNAVAILABLE] UID FETCH Server error while fetching messages", imapsync/imapsync issue 119, always for one message, jstedfast/MailKit issue 358; "UID FETCH Server error - Please try again later", joeyates/imap-backup issue 218; "NO [TEMPFAIL] UID FETCH Temporary failure on server", mscdex/node-imap issue 340`},
	{regexp.MustCompile(`(?i)^\[(UNAVAILABLE|INUSE)\]|\btemporar(y|ily)\b|try again later`), pushback{migrate.ServerIll, 0},
		`RFC 5530 section 3; iCloud: "BAD [UNAVAILABLE] Service temporarily unavailable" to LOGIN, MailCore/mailcore2 pull request 1642, "NO Service temporarily unavailable" to FETCH, s1t5/mail-archiver issue 414; Courier: "* BYE Temporary problem, please try again later", svarshavchik/courier-libs 2a13a23, imap/imaplogin.C:358; Zimbra: "NO [ALERT] account undergoing maintenance; please try again later", zm-mailbox 2b7f9787, ImapHandler.java:1743`},
}

// backoffTime is how Exchange says how long.
var backoffTime = regexp.MustCompile(`(?i)backoff time: (\d{1,9}) millisecond`)

// pushbackOf looks for a server's word that it has enough in a response code and text.
func pushbackOf(words string) (p pushback, ok bool) {
	for _, row := range pushbacks {
		if !row.words.MatchString(words) {
			continue
		}
		p = row.pushback
		if found := backoffTime.FindStringSubmatch(words); found != nil {
			n, _ := strconv.ParseInt(found[1], 10, 64)
			p.after = min(time.Duration(n)*time.Millisecond, 24*time.Hour)
		}
		return p, true
	}
	return p, false
}

// pushedBack looks for it in a tagged answer.
func pushedBack(answer *imap.Error) (pushback, bool) {
	switch answer.Code {
	case imap.ResponseCodeAuthenticationFailed, imap.ResponseCodeAuthorizationFailed, imap.ResponseCodeNonExistent:
		return pushback{}, false
	case "":
		return pushbackOf(answer.Text)
	}
	return pushbackOf("[" + string(answer.Code) + "] " + answer.Text)
}

// throttled reports whether an answer is no refusal but a pushback.
func throttled(answer *imap.Error) bool {
	_, ok := pushedBack(answer)
	return ok
}

// busy is throttled, but for what may as well be about what was asked for.
func busy(answer *imap.Error) bool {
	p, ok := pushedBack(answer)
	return ok && p.reason != migrate.ServerIll
}

// ill reports whether a server merely says that it is ill: that may as well be about what was asked for.
func ill(err error) bool {
	return migrate.KindOf(err) == migrate.Throttled && migrate.ReasonOf(err) == migrate.ServerIll
}

// mark makes e an error of the pushback.
func (p pushback) mark(e *migrate.Error) {
	e.Kind, e.Reason, e.RetryAfter = migrate.Throttled, p.reason, p.after
}

// refusal is a greeting or BYE that turns a connection away.
func refusal(text string) *migrate.Error {
	text = shorten(cleanText(text))
	e := &migrate.Error{Kind: migrate.Unreachable, Err: fmt.Errorf("the server answers %s", text)}
	_, words := cutWord(text)
	if p, ok := pushbackOf(words); ok {
		p.mark(e)
	}
	return e
}

// closed reports whether the other side ended the connection.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// closedAtOnce is a connection that is taken and closed before a word was said. So do servers that have
// enough: Courier above MAXPERIP (courier-libs 2a13a23, tcpd/tcpd.c:2208-2214) and hMailServer above its
// number of connections (hmailserver 4d11f81d, TCPServer.cpp:192-214).
func closedAtOnce(err error) error {
	return &migrate.Error{Kind: migrate.Throttled, Reason: migrate.ServerClosesAtOnce,
		Err: fmt.Errorf("the server takes the connection and closes it before it says a word: %w", err)}
}
