package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind says what went wrong in terms of what to do about it. The list is closed; each kind has
// exactly one verdict. It is stored, so its words stay.
type Kind string

// The kinds.
const (
	Unexpected    Kind = "unexpected"     // none of the others: a bug or something new
	Unreachable   Kind = "unreachable"    // no connection, or it broke, or the service is down for now
	Throttled     Kind = "throttled"      // told to slow down; RetryAfter says how long if it was said
	SignIn        Kind = "sign-in"        // the server refuses this login and password
	Permission    Kind = "permission"     // our application may not do this; an administrator can grant it
	Configuration Kind = "configuration"  // a setting, a certificate, an endpoint is wrong
	NoMailbox     Kind = "no-mailbox"     // the target address has no mailbox
	NoFolder      Kind = "no-folder"      // the folder is gone, cannot be opened, listed or made, or none of its messages comes
	Full          Kind = "full"           // the target mailbox's quota is used up
	TooLarge      Kind = "too-large"      // this message is larger than the target takes
	Refused       Kind = "refused"        // the target does not want this message
	Unreadable    Kind = "unreadable"     // the source does not deliver this message whole
	LostOwnership Kind = "lost-ownership" // someone else works on this mailbox now
	Newer         Kind = "newer-format"   // a newer version of this program wrote it
	Corrupt       Kind = "corrupt"        // our own stored state cannot be read
	Died          Kind = "died"           // the process ended while this mailbox was worked on, again and again
)

// Error is the one error type of the domain. Fields that do not apply stay empty and do not print.
type Error struct {
	Op         string // verb phrase: "fetch message"
	Mailbox    string
	Folder     string
	UID        UID
	Kind       Kind
	Reason     Reason        // may be empty
	RetryAfter time.Duration // of Throttled
	Unknown    bool          // the work may have been done in spite of the error
	Advice     string        // what the administrator can do, one or two sentences; empty: that of Reason or Kind
	Err        error
}

// Error prints "op folder/uid: cause".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Mailbox != "" {
		fmt.Fprintf(&b, " of %s", e.Mailbox)
	}
	if e.Folder != "" {
		fmt.Fprintf(&b, " in %q", e.Folder)
	}
	if e.UID != 0 {
		fmt.Fprintf(&b, " (UID %d)", e.UID)
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	if e.Err == nil || e.Kind != Unexpected {
		fmt.Fprintf(&b, " [%s]", cmp.Or(string(e.Reason), string(e.Kind)))
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost *Error in err's chain, or Unexpected.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) && e.Kind != "" {
		return e.Kind
	}
	return Unexpected
}

// ReasonOf returns the reason of the outermost *Error in err's chain, or none.
func ReasonOf(err error) Reason {
	var e *Error
	if errors.As(err, &e) {
		return e.Reason
	}
	return ""
}

// OutcomeUnknown reports whether the work may have been done in spite of err.
func OutcomeUnknown(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Unknown
}
