package functionhost

import (
	"context"
	"sync"
	"time"

	"mailferry/infra/local/faults"
)

// hider is the part of a storageQueue that holds a message.
type hider interface {
	hide(ctx context.Context, m *queueMessage, hidden time.Duration) error
	remove(ctx context.Context, m *queueMessage) error
}

// heldMessage is a message that is worked on.
type heldMessage struct {
	queue      hider
	visibility time.Duration
	found      *announcement

	mu      sync.Mutex // the receipt changes
	message *queueMessage
	lost    bool
}

// renew keeps the message hidden, by another visibility timeout at half of each
// (QueueListener.cs in azure-sdk-for-net), until stop is called.
func (m *heldMessage) renew(in *instance) (stop func()) {
	ctx, cancel := context.WithCancel(in.life)
	var task sync.WaitGroup
	task.Go(func() {
		for faults.Pause(ctx, m.visibility/2) == nil {
			if err := m.hide(ctx, m.visibility); err != nil && ctx.Err() == nil {
				in.log.Warn("keep a found blob hidden", "error", err)
			}
		}
	})
	return func() {
		cancel()
		task.Wait()
	}
}

func (m *heldMessage) hide(ctx context.Context, hidden time.Duration) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lost {
		return nil
	}
	return m.queue.hide(ctx, m.message, hidden)
}

func (m *heldMessage) remove(ctx context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.queue.remove(ctx, m.message)
}

// expire makes the message visible to others while it is still worked on.
func (m *heldMessage) expire(ctx context.Context) {
	_ = m.hide(ctx, 0) // one that is gone can't be lost
	m.mu.Lock()
	m.lost = true
	m.mu.Unlock()
	m.found.ring()
}

func (m *heldMessage) isLost() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lost
}

// announcement wakes everybody who waits.
type announcement struct {
	mu sync.Mutex
	c  chan struct{}
}

func newAnnouncement() *announcement { return &announcement{c: make(chan struct{})} }

// next is closed at the next ring.
func (a *announcement) next() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.c
}

func (a *announcement) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	close(a.c)
	a.c = make(chan struct{})
}
