package life

import (
	"errors"
	"fmt"

	"mailferry/infra/local/exchange/store"
)

// Step lets one thing happen in a mailbox, chosen by the seed: mail arrives, or
// the user reads, flags, moves or deletes one of the newest messages. It returns
// what it was. The same seed, mailbox and calls give the same life.
func (l *Life) Step(address string) (act string, err error) {
	m, ok := l.store.Mailbox(address)
	if !ok {
		return "", fmt.Errorf("there is no mailbox %q", address)
	}
	l.mu.Lock()
	choice, from, which := l.rng.IntN(5), l.rng.IntN(1<<30), l.rng.IntN(1<<30)
	l.count++
	n := l.count
	l.mu.Unlock()
	folders := m.Folders()
	items := m.NewestFirst(folders[from%len(folders)].ID)
	if choice == 0 || len(items) == 0 {
		_, err := l.Deliver(address, fmt.Appendf(nil, "From: Somebody <somebody@example.net>\r\nTo: %s\r\nSubject: News %d\r\n"+
			"Message-ID: <life.%d@example.net>\r\n\r\nNews.\r\n", address, n, n))
		return "deliver", err
	}
	it := items[which%len(items)]
	switch choice {
	case 1:
		act, err = "read", update(m, it, store.Seen)
	case 2:
		act, err = "flag", update(m, it, store.Flagged)
	case 3:
		act = "move"
		_, err = m.Move(it.ID, store.ArchiveID)
	default:
		act = "delete"
		_, err = m.Move(it.ID, store.DeletedItemsID)
	}
	if errors.Is(err, store.ErrNoSuchItem) {
		err = nil // somebody else was faster
	}
	return act, err
}

func update(m *store.Mailbox, it *store.Item, flag store.Flags) error {
	_, err := m.Update(it.ID, func(it *store.Item) { it.Flags ^= flag })
	return err
}
