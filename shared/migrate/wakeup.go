package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// WakeUp asks for one run of a mailbox. It is valid only while the mailbox's checkpoint carries the
// same Seq; any other is completed unread.
type WakeUp struct {
	Version int       `json:"v"`
	Mailbox MailboxID `json:"mailbox"`
	Seq     int64     `json:"seq"`
	Attempt int       `json:"attempt"` // a deliberate re-send of the same Seq takes a new one
}

// WakeUpVersion is the format this program writes.
const WakeUpVersion = 1

// MessageID is what duplicate detection compares: mailbox/seq/attempt.
func (w WakeUp) MessageID() string { return fmt.Sprintf("%s/%d/%d", w.Mailbox, w.Seq, w.Attempt) }

// ParseWakeUp reads a wake-up's JSON. A newer version is a *Error of kind Newer.
func ParseWakeUp(body []byte) (WakeUp, error) {
	var w WakeUp
	if err := json.Unmarshal(body, &w); err != nil {
		return WakeUp{}, &Error{Op: "read wake-up", Kind: Corrupt, Err: err}
	}
	if w.Version > WakeUpVersion {
		return WakeUp{}, &Error{Op: "read wake-up", Kind: Newer, Err: fmt.Errorf("version %d, this program knows %d", w.Version, WakeUpVersion)}
	}
	if w.Version < 1 || !w.Mailbox.Valid() || w.Seq < 1 {
		return WakeUp{}, &Error{Op: "read wake-up", Kind: Corrupt, Err: fmt.Errorf("version %d, seq %d, or the mailbox id is not one", w.Version, w.Seq)}
	}
	return w, nil
}

// Waker sends wake-ups.
type Waker interface {
	// Wake sends w, to be delivered at the given time, or at once when it is zero or past. Sending
	// the same w again does no harm. Every error is a *Error or the context's.
	Wake(ctx context.Context, w WakeUp, at time.Time) error
}
