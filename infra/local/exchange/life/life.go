// Package life plays what goes on in a tenant while mail is moved into it:
// mail arrives by SMTP and meets inbox rules, users read, flag, move and delete,
// retention removes what is old.
//
// Nothing happens by itself: a test calls what is to happen, or steps through a
// life that a seed decides. Over HTTP the same are verbs (see Register).
package life

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"mailferry/infra/local/exchange/store"
)

// Life goes on in the mailboxes of a store. It is safe for concurrent use.
type Life struct {
	store *store.Store
	now   func() time.Time

	mu    sync.Mutex
	rng   *rand.Rand
	rules map[*store.Mailbox][]Rule
	count int // of messages that Step made
}

// New returns a life in s, whose steps the seed decides. Rules are not kept over
// a restart.
func New(s *store.Store, now func() time.Time, seed uint64) *Life {
	return &Life{store: s, now: now, rng: rand.New(rand.NewPCG(seed, seed)), rules: map[*store.Mailbox][]Rule{}}
}

// Pick says which messages of a mailbox are meant; the zero value means all but
// recoverable ones.
type Pick struct {
	MessageID string // with angle brackets; regardless of case
	Folder    string // as store.Mailbox.FindFolder takes it
	Limit     int    // the newest so many; 0 means no limit
}

// mailbox finds a mailbox and the messages in it that are meant, newest first.
func (l *Life) mailbox(address string, p Pick) (*store.Mailbox, []*store.Item, error) {
	m, ok := l.store.Mailbox(address)
	if !ok {
		return nil, nil, fmt.Errorf("there is no mailbox %q", address)
	}
	folders := m.Folders()
	if p.Folder != "" {
		f, err := m.FindFolder(p.Folder)
		if err != nil {
			return nil, nil, fmt.Errorf("find folder %q: %w", p.Folder, err)
		}
		folders = []store.Folder{f}
	}
	var found []*store.Item
	for _, f := range folders {
		for _, it := range m.NewestFirst(f.ID) {
			if p.MessageID == "" || strings.EqualFold(it.MessageID, p.MessageID) {
				found = append(found, it)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b *store.Item) int { return b.Received.Compare(a.Received) })
	if p.Limit > 0 && len(found) > p.Limit {
		found = found[:p.Limit]
	}
	return m, found, nil
}

// each does something to all that is picked and returns to how many.
func (l *Life) each(address string, p Pick, do func(*store.Mailbox, *store.Item) error) (int, error) {
	m, found, err := l.mailbox(address, p)
	if err != nil {
		return 0, err
	}
	for n, it := range found {
		if err := do(m, it); err != nil {
			return n, err
		}
	}
	return len(found), nil
}

// Move lets the user move messages to a folder, and returns how many.
func (l *Life) Move(address string, p Pick, to string) (int, error) {
	return l.each(address, p, func(m *store.Mailbox, it *store.Item) error {
		f, err := m.FindFolder(to)
		if err != nil {
			return fmt.Errorf("find folder %q: %w", to, err)
		}
		_, err = m.Move(it.ID, f.ID)
		return err
	})
}

// Delete lets the user delete messages: they go to Deleted Items, and those that
// lie there to the recoverable items
// (https://learn.microsoft.com/exchange/security-and-compliance/recoverable-items-folder/recoverable-items-folder).
func (l *Life) Delete(address string, p Pick) (int, error) {
	return l.each(address, p, func(m *store.Mailbox, it *store.Item) error {
		if it.Folder == store.DeletedItemsID {
			return m.Delete(it.ID)
		}
		_, err := m.Move(it.ID, store.DeletedItemsID)
		return err
	})
}

// Read lets the user read messages, which may send receipts.
func (l *Life) Read(address string, p Pick) (int, error) { return l.set(address, p, store.Seen) }

// Flag lets the user flag messages.
func (l *Life) Flag(address string, p Pick) (int, error) { return l.set(address, p, store.Flagged) }

func (l *Life) set(address string, p Pick, flag store.Flags) (int, error) {
	return l.each(address, p, func(m *store.Mailbox, it *store.Item) error {
		_, err := m.Update(it.ID, func(it *store.Item) { it.Flags |= flag })
		return err
	})
}

// Retain applies a retention tag "delete and allow recovery" to a mailbox: what
// was received longer than age ago goes to the recoverable items. Age counts
// from the received date, so mail that keeps it is as old as it was
// (https://learn.microsoft.com/exchange/security-and-compliance/messaging-records-management/retention-age).
func (l *Life) Retain(address string, age time.Duration) (removed int, err error) {
	limit := l.now().Add(-age)
	_, err = l.each(address, Pick{}, func(m *store.Mailbox, it *store.Item) error {
		if !it.Received.Before(limit) {
			return nil
		}
		removed++
		return m.Delete(it.ID)
	})
	return removed, err
}
