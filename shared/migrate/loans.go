package migrate

import (
	"context"
	"encoding/json"
	"math/rand/v2"
)

// loans are slots that a run holds besides its own, for their part of the server's connections: while few
// mailboxes are at work, nobody else needs them. Each is a lease, so that all instances together never have
// more than the server's cap. Who comes later finds a slot, because none takes the last free one, and because
// all are given back when none is free.
type loans struct {
	slots []int
	given bool // back, and none is taken in this run any more: runs at odds would open and close connections
}

// borrow takes a slot if the reader wants more connections than the run may have, or gives all back. It asks
// for one listing at most, and for none where every run has as many as the endpoint allows for a mailbox.
func (m *mailboxRun) borrow(r *reader, room room) {
	switch own := room.of(m.slot); {
	case m.loans.given:
		if len(m.loans.slots) > 0 && r.count() <= own { // the connections they stood for are closed
			m.keeper.shrink(m.ctx, len(m.loans.slots))
			m.loans.slots = nil
		}
	case len(m.loans.slots) > 0 || r.wants():
		free, err := freeSlots(m.ctx, m.Store, m.endpoint.Name, room.runs)
		if err != nil {
			return
		}
		m.loans.given = len(free) == 0 && len(m.loans.slots) > 0
		if len(free) > 1 && m.partOf(room) < m.mayConnect() && r.wants() && !m.othersWait() {
			m.takeLoan(free[rand.IntN(len(free))])
		}
	}
}

func (m *mailboxRun) takeLoan(slot int) {
	lease, err := m.Store.Acquire(m.ctx, slotName(m.endpoint.Name, slot), m.Limits.Lease)
	if err != nil {
		return // it is somebody's by now
	}
	m.keeper.add(lease)
	m.loans.slots = append(m.loans.slots, slot)
}

// partOf is how many connections the run may have: the parts of its slots.
func (m *mailboxRun) partOf(room room) int {
	n := room.of(m.slot)
	if !m.loans.given {
		for _, slot := range m.loans.slots {
			n += room.of(slot)
		}
	}
	return n
}

// othersWait reports whether mailboxes wait for a slot, as far as the plan tells.
func (m *mailboxRun) othersWait() bool {
	var hint plan
	content, _, err := m.Store.Get(m.ctx, planName(m.endpoint.Name))
	return err != nil || json.Unmarshal(content, &hint) != nil || len(hint.Waiting) > 0
}

// add has one more lease renewed.
func (k *keeper) add(l Lease) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.leases = append(k.leases, l)
}

// shrink gives back the last n that were added.
func (k *keeper) shrink(ctx context.Context, n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.leases[len(k.leases)-n:] {
		_ = l.Release(ctx) // ends by itself otherwise
	}
	k.leases = k.leases[:len(k.leases)-n]
}
