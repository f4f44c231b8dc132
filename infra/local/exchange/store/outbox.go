package store

import (
	"fmt"
	"slices"
	"time"
)

// DepartureKind says what would have left the tenant or reached somebody.
type DepartureKind string

// Kinds of departures.
const (
	Mail           DepartureKind = "mail"            // sent, replied, forwarded, or passed on by a rule
	ReadReceipt    DepartureKind = "read receipt"    // RFC 8098
	DeliveryReport DepartureKind = "delivery report" // RFC 3464
	Invitation     DepartureKind = "invitation"      // a meeting request, update or cancellation
	AutomaticReply DepartureKind = "automatic reply" // RFC 3834
)

// Departure is something that Exchange would have sent because of what a client
// did. The stand-in sends nothing: it records, so that a test can assert that
// there was none.
type Departure struct {
	Kind    DepartureKind
	Mailbox string   // user principal name of who it would have come from
	To      []string // addresses
	At      time.Time
}

// Depart records that something would have left the mailbox. It is kept over a
// restart.
func (s *Store) Depart(m *Mailbox, kind DepartureKind, to ...string) error {
	return s.depart(m, m.User().UserPrincipalName, kind, to)
}

func (s *Store) depart(m *Mailbox, from string, kind DepartureKind, to []string) error {
	d := Departure{Kind: kind, Mailbox: from, To: slices.Clone(to), At: s.now().UTC()}
	s.outboxMu.Lock()
	defer s.outboxMu.Unlock()
	if err := s.journal.write(record{Op: opDeparture, Mailbox: m.number, Departure: &d}); err != nil {
		return fmt.Errorf("record departure: %w", err)
	}
	s.outbox = append(s.outbox, d)
	return nil
}

// Departures lists what would have left so far, oldest first.
func (s *Store) Departures() []Departure {
	s.outboxMu.Lock()
	defer s.outboxMu.Unlock()
	return slices.Clone(s.outbox)
}
