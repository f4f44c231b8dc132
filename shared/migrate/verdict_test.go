package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"
)

// verdicts has every kind; TestEveryKind holds it to the list of advice.
var verdicts = map[Kind]Verdict{
	Unexpected:    {RetryLater, 10 * time.Second},
	Unreachable:   {Reconnect, 10 * time.Second},
	Throttled:     {RetryLater, 40 * time.Second},
	SignIn:        {FailMailbox, 0},
	Permission:    {Ask, 5 * time.Minute},
	Configuration: {Ask, 5 * time.Minute},
	NoMailbox:     {FailMailbox, 0},
	NoFolder:      {SkipFolder, 10 * time.Second},
	Full:          {Ask, 5 * time.Minute},
	TooLarge:      {SkipMessage, 10 * time.Second},
	Refused:       {SkipMessage, 10 * time.Second},
	Unreadable:    {SkipMessage, 10 * time.Second},
	LostOwnership: {Leave, 0},
	Newer:         {Ask, 5 * time.Minute},
	Corrupt:       {FailMailbox, 0},
	Died:          {FailMailbox, 0},
}

func TestEveryKind(t *testing.T) {
	for kind, want := range verdicts {
		err := &Error{Op: "work", Kind: kind, RetryAfter: 40 * time.Second, Err: context.DeadlineExceeded}
		if got := Judge(fmt.Errorf("around: %w", err), 0); got != want {
			t.Errorf("%s: %+v, want %+v", kind, got, want)
		}
		if p := problemOf(err); p.Kind != kind || p.Advice == "" || p.Text == "" {
			t.Errorf("%s: %+v", kind, p)
		}
		err.Advice = "Do this."
		if p := problemOf(err); p.Advice != err.Advice {
			t.Errorf("%s: %q is not the error's own advice", kind, p.Advice)
		}
	}
	if len(advice) != len(verdicts) {
		t.Errorf("%d kinds have an advice, %d a verdict", len(advice), len(verdicts))
	}
}

func TestJudgeOthers(t *testing.T) {
	for _, c := range []struct {
		err      error
		failures int
		want     Verdict
	}{
		{fmt.Errorf("write: %w", ErrConflict), 0, Verdict{Action: Leave}},
		{ErrLeaseLost, 0, Verdict{Action: Leave}},
		{ErrLeaseHeld, 0, Verdict{Action: Leave}},
		{context.Canceled, 0, Verdict{Action: RetryLater}},
		{context.DeadlineExceeded, 0, Verdict{RetryLater, 10 * time.Second}},
		{errors.New("a bug"), 3, Verdict{RetryLater, 80 * time.Second}},
		{errors.New("a bug"), 10, Verdict{Action: FailMailbox}},
		{&Error{Kind: Unreachable}, 1000, Verdict{Reconnect, 30 * time.Minute}},
		{&Error{Kind: Throttled}, 3, Verdict{RetryLater, 20 * time.Second}},
	} {
		if got := Judge(c.err, c.failures); got != c.want {
			t.Errorf("%v after %d failures: %+v, want %+v", c.err, c.failures, got, c.want)
		}
	}
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]*Error{
		`fetch message of m in "INBOX" (UID 7): cut [unreachable]`: {Op: "fetch message", Mailbox: "m", Folder: "INBOX", UID: 7, Kind: Unreachable, Err: errors.New("cut")},
		"plan: odd":              {Op: "plan", Kind: Unexpected, Err: errors.New("odd")},
		"renew [lost-ownership]": {Op: "renew", Kind: LostOwnership},
	} {
		if err.Error() != want {
			t.Errorf("%q, want %q", err, want)
		}
	}
}

// Every reason has advice, which comes before the kind's, and no reason changes a verdict.
func TestReasonsHaveAdvice(t *testing.T) {
	for reason, text := range reasonAdvice {
		p := problemOf(&Error{Op: "sign in", Kind: SignIn, Reason: reason})
		if p.Advice != text || p.Reason != reason || text == "" {
			t.Errorf("%s: %+v", reason, p)
		}
		if v := Judge(&Error{Kind: SignIn, Reason: reason}, 1); v.Action != FailMailbox {
			t.Errorf("%s: %+v", reason, v)
		}
	}
}

// TestUnnamed: what broke a connection elsewhere blames no message of the folder that waits.
func TestUnnamed(t *testing.T) {
	named := &Error{Op: "fetch", Kind: Unreachable, Reason: "r", UID: 7, Err: io.ErrUnexpectedEOF}
	for _, err := range []error{named, &Error{Op: "read", Kind: Unreachable, Reason: "r", Err: named}} {
		f := new(FolderCursor)
		f.blame(unnamed(err))
		if KindOf(unnamed(err)) != Unreachable || ReasonOf(unnamed(err)) != "r" || len(f.Stumbles) != 0 {
			t.Errorf("%v blames %v", unnamed(err), f.Stumbles)
		}
		if f.blame(err); f.Stumbles[7] != 1 {
			t.Errorf("%v blames %v", err, f.Stumbles)
		}
	}
}
