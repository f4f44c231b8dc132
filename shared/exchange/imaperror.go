package exchange

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// defaultReceiveLimit is the message size that mailboxes of Exchange Online take unless their
// MaxReceiveSize was set otherwise: 36 MB
// (https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits).
const defaultReceiveLimit = 36_000_000

const (
	sizeAdvice = "Allow larger messages: Set-Mailbox -Identity <mailbox> -MaxReceiveSize 150MB."
	// refusedAdvice names the causes that imapsync's FAQ.Office365 gives for that answer.
	refusedAdvice = "Exchange does not say why. It answers so to lines that are too long, to broken MIME, " +
		"and to messages above the mailbox's MaxReceiveSize."
)

var backoffText = regexp.MustCompile(`(?i)suggested backoff time:\s*(\d{1,18})\s*milliseconds`)

// backoff reads "Request is throttled. Suggested Backoff Time: 299609 milliseconds"
// (imapsync issues 198 and 272).
func backoff(text string) (time.Duration, bool) {
	m := backoffText.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	ms, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, false
	}
	return time.Duration(min(ms, maxBackoffSeconds*1000)) * time.Millisecond, true
}

func authRefused(e *imap.Error) bool {
	text := strings.ToLower(e.Text)
	return e.Code == imap.ResponseCodeAuthenticationFailed || e.Code == imap.ResponseCodeAuthorizationFailed ||
		strings.Contains(text, "authenticate failed") || strings.Contains(text, "authentication failed")
}

// appendVerdict translates an error of connecting (without a session) or of APPEND.
func (t *target) appendVerdict(s *session, m migrate.Outgoing, err error) *migrate.Error {
	v := &migrate.Error{Op: "append message", Kind: migrate.Unexpected, Err: err}
	if s == nil {
		v.Op = "connect to target mailbox"
	}
	var done *migrate.Error
	var answer *imap.Error
	var refused *refusedError
	var lost *lostError
	var token *tokenError
	switch {
	case errors.As(err, &done):
		return done
	case errors.As(err, &token):
		return token.verdict(v.Op)
	case errors.As(err, &refused):
		v.Kind, v.Advice = migrate.Permission, imapAdvice
	case errors.As(err, &lost):
		lostVerdict(v, lost)
	case errors.As(err, &answer):
		answerVerdict(v, answer, m.Size, t.pool.others(s))
	}
	return v
}

func lostVerdict(v *migrate.Error, lost *lostError) {
	v.Kind, v.Unknown = migrate.Unreachable, lost.unknown
	if connectionVerdict(v.Op, lost.err).Kind == migrate.Configuration {
		v.Kind = migrate.Configuration
	}
	if throttled(lost.farewell) {
		v.Kind = migrate.Throttled
		v.RetryAfter, _ = backoff(lost.farewell)
	}
	if lost.sending && v.Kind == migrate.Unreachable {
		v.Reason = migrate.BrokeOff
	}
}

func throttled(text string) bool {
	text = strings.ToLower(text)
	return strings.Contains(text, "throttl") || strings.Contains(text, "too many")
}

// answerVerdict translates a NO or BAD. Exchange tells most of them apart only by their text.
func answerVerdict(v *migrate.Error, answer *imap.Error, size int64, others bool) {
	text := strings.ToLower(answer.Text)
	has := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(text, part) {
				return true
			}
		}
		return false
	}
	switch {
	case throttled(text) || has("backoff"):
		v.Kind = migrate.Throttled
		v.RetryAfter, _ = backoff(answer.Text)
	case has("authenticated but not connected"):
		// Too many connections, or a mailbox that the application may not open (Webklex/php-imap issue 464).
		v.Kind, v.Advice = migrate.Permission, imapAdvice
		if others {
			v.Kind, v.Advice = migrate.Throttled, ""
		}
	case answer.Code == imap.ResponseCodeOverQuota || has("quota", "mailbox is full"):
		v.Kind, v.Advice = migrate.Full, quotaAdvice
	case answer.Code == imap.ResponseCodeTryCreate || answer.Code == imap.ResponseCodeNonExistent ||
		has("doesn't exist", "does not exist", "no such", "folder not found", "mailbox not found"):
		v.Kind = migrate.NoFolder
	case answer.Code == "TOOBIG" || has("maximum message size", "maximum size of appendable message", "message size exceeds", "message too large"):
		v.Kind, v.Advice = migrate.TooLarge, sizeAdvice
	case has("command argument error") && size > defaultReceiveLimit:
		v.Kind, v.Advice = migrate.TooLarge, sizeAdvice
	case has("command argument error", "command error. 10", "append failed"):
		v.Kind, v.Advice = migrate.Refused, refusedAdvice
	case answer.Code == imap.ResponseCodeUnavailable || has("server unavailable", "server busy", "try again"):
		v.Kind = migrate.Unreachable
	case answer.Code == imap.ResponseCodeNoPerm:
		v.Kind, v.Advice = migrate.Permission, imapAdvice
	}
}
