package migrate

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"
)

// DeletedRule says what becomes of a message that is marked \Deleted at the source and not expunged
// yet. The mark itself is never brought over: it would hide the message.
type DeletedRule string

// The rules.
const (
	UnflagDeleted DeletedRule = "unflag" // bring it over without the mark: nothing is lost
	SkipDeleted   DeletedRule = "skip"   // leave it out, with an outcome in the ledger
)

// ReceivedFrom is a place that tells when a message was received.
type ReceivedFrom string

// The places.
const (
	FromInternal       ReceivedFrom = "internal"        // INTERNALDATE (RFC 9051 section 2.3.3)
	FromReceivedHeader ReceivedFrom = "received-header" // the topmost Received field: the last server's (RFC 5321 section 4.4)
	FromDateHeader     ReceivedFrom = "date-header"     // the Date field, which the sender wrote
)

var everyReceived = ReceivedOrder{FromInternal, FromReceivedHeader, FromDateHeader}

// ReceivedOrder is the order in which the places are asked; those that it does not name come behind,
// in the order above. In JSON it is one place or a list. An earlier migration may have spoilt every
// INTERNALDATE: FindSpoiltDates tells.
type ReceivedOrder []ReceivedFrom

// UnmarshalJSON reads a place or a list of places.
func (o *ReceivedOrder) UnmarshalJSON(text []byte) error {
	var one ReceivedFrom
	if json.Unmarshal(text, &one) == nil {
		*o = ReceivedOrder{one}
		return nil
	}
	if json.Unmarshal(text, (*[]ReceivedFrom)(o)) != nil {
		return errors.New("received is neither a text nor a list of texts")
	}
	return nil
}

func (o ReceivedOrder) validate() error {
	for _, from := range o {
		if !slices.Contains(everyReceived, from) {
			return fmt.Errorf("received %q is none of internal, received-header, date-header", from)
		}
	}
	return nil
}

// internal reports whether the date is the server's.
func (o ReceivedOrder) internal() bool { return len(o) == 0 || o[0] == FromInternal }

// Of returns a message's received date: from the first place that has one that can be read, or zero.
func (o ReceivedOrder) Of(internal time.Time, header []byte) time.Time {
	var fields map[string]string
	for _, from := range slices.Concat(o, everyReceived) {
		date := internal
		if from != FromInternal {
			if fields == nil {
				fields = headerFields(header)
			}
			date = headerDate(fields, from)
		}
		if !date.IsZero() {
			return date
		}
	}
	return time.Time{}
}

// whole names every place.
func (o ReceivedOrder) whole() (all ReceivedOrder) {
	for _, from := range slices.Concat(o, everyReceived) {
		if !slices.Contains(all, from) {
			all = append(all, from)
		}
	}
	return all
}

// noteReceived remembers by which order messages are written from now on. By another one they have other
// fingerprints, and what was written before is looked up by those.
func (m *mailboxRun) noteReceived() {
	now := m.endpoint.Received.whole()
	m.cp.Received = append(slices.DeleteFunc(m.cp.Received, func(o ReceivedOrder) bool { return slices.Equal(o, now) }), now)
}

// headerDate reads the date of a field, to the second. Years that mail did not see are no date.
func headerDate(fields map[string]string, from ReceivedFrom) time.Time {
	text := fields["date"]
	if from == FromReceivedHeader {
		_, text, _ = cutLast(fields["received"], ";")
	}
	date, err := mail.ParseDate(strings.TrimSpace(text))
	if err != nil || date.Year() < 1970 || date.Year() > 2100 {
		return time.Time{}
	}
	return date.Truncate(time.Second)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
