package migrate

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// Action is what an error asks for.
type Action int

// The actions.
const (
	RetryLater  Action = iota // end the run, come back after Verdict.After
	Reconnect                 // close both connections and go on
	SkipMessage               // record this message as not migrated and go on
	SkipFolder                // leave this folder for a later pass and go on
	Ask                       // end the run, come back seldom: an administrator has to act
	FailMailbox               // give this mailbox up until an administrator retries it
	Leave                     // the mailbox is somebody else's now: end at once, write nothing
)

// Verdict is an action with its pause.
type Verdict struct {
	Action Action
	After  time.Duration
}

// Judge turns any error into a verdict. failures is the number of runs in a row that ended with an
// error; pauses grow with it, from 10 seconds to 30 minutes. A verdict that can end a run and does
// not end the mailbox has a pause, so that nothing is tried again and again without one.
func Judge(err error, failures int) Verdict {
	if errors.Is(err, ErrConflict) || errors.Is(err, ErrLeaseLost) || errors.Is(err, ErrLeaseHeld) {
		return Verdict{Action: Leave}
	}
	var e *Error
	if !errors.As(err, &e) && errors.Is(err, context.Canceled) {
		return Verdict{Action: RetryLater} // this process is to stop; the next one goes on
	}
	switch KindOf(err) {
	case LostOwnership:
		return Verdict{Action: Leave}
	case Unreachable:
		return Verdict{Action: Reconnect, After: backoff(failures)}
	case Throttled:
		if ReasonOf(err) == NotConnected {
			return notConnected(failures)
		}
		return Verdict{Action: RetryLater, After: max(e.RetryAfter, backoff(failures)/4)}
	case TooLarge, Refused, Unreadable:
		return Verdict{Action: SkipMessage, After: backoff(failures)}
	case NoFolder:
		return Verdict{Action: SkipFolder, After: backoff(failures)}
	case Permission, Configuration, Full, Newer:
		return Verdict{Action: Ask, After: 5 * time.Minute}
	case SignIn, NoMailbox, Corrupt, Died:
		return Verdict{Action: FailMailbox}
	default:
		if failures >= 10 {
			return Verdict{Action: FailMailbox}
		}
		return Verdict{Action: RetryLater, After: backoff(failures)}
	}
}

// maxNotConnected is how many runs in a row may end with NotConnected. A password that was refused after
// all is tried so seldom that it locks no account: most servers count what is refused within 30 minutes.
const maxNotConnected = 5

// notConnected waits 15 minutes, then twice as long each time.
func notConnected(times int) Verdict {
	if times >= maxNotConnected {
		return Verdict{Action: FailMailbox}
	}
	return Verdict{Action: RetryLater, After: 15 * time.Minute << max(0, times-1)}
}

func backoff(failures int) time.Duration {
	return min(10*time.Second<<min(failures, 10), 30*time.Minute)
}

// advice is what an administrator can do about a kind.
var advice = map[Kind]string{
	Unexpected:    "The run is tried again by itself. If it keeps failing, report this text.",
	Unreachable:   "The connection is tried again by itself. Check that the server is up and that its firewall lets this app in.",
	Throttled:     "Nothing to do: the server asked for a pause and gets it.",
	SignIn:        "Check the password and drop the CSV again; some servers want an app password when two-factor sign-in is on.",
	Permission:    "Grant the application the permission that is named, then wait: the mailbox is tried again every five minutes.",
	Configuration: "Mend the setting that is named, then wait: the mailbox is tried again every five minutes.",
	NoMailbox:     "Create or license the target mailbox, then drop the CSV again.",
	NoFolder:      "The folder is tried again with the next sync.",
	Full:          "Make room in the target mailbox or raise its quota, then wait: it is tried again every five minutes.",
	TooLarge:      "Raise MaxReceiveSize of the target mailbox (at most 150 MB), or move this message by hand.",
	Refused:       "Move this message by hand.",
	Unreadable:    "Open this message with a mail program at the source; the server does not deliver it whole.",
	LostOwnership: "Nothing to do.",
	Newer:         "Deploy the newer version of this program to every instance.",
	Corrupt:       "Report this text; the mailbox's stored state cannot be read.",
	Died:          "The process ended several times while it worked on this mailbox, alone in the end. Report the mailbox's last folder.",
}

// problemOf makes err presentable.
func problemOf(err error) *Problem {
	p := &Problem{Kind: KindOf(err), Reason: ReasonOf(err), Text: err.Error(), At: time.Now().UTC()}
	var e *Error
	if errors.As(err, &e) {
		p.Advice = e.Advice
	}
	p.Advice = cmp.Or(p.Advice, reasonAdvice[p.Reason], advice[p.Kind])
	return p
}
