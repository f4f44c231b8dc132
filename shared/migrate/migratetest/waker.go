package migratetest

import (
	"context"
	"slices"
	"sync"
	"time"

	"mailferry/shared/migrate"
)

// Queue holds wake-ups as a Service Bus queue does: one that is received is locked, and comes again
// when its lock ends before it was completed. Make it with NewQueue.
type Queue struct {
	// Lock is how long a delivery is locked, MaxDeliveries how often one is delivered before it
	// moves to the dead letters.
	Lock          time.Duration
	MaxDeliveries int
	// Fault is asked at each Wake how often the wake-up is kept and how much later it is shown.
	// Its calls do not overlap.
	Fault func(w migrate.WakeUp) (copies int, delay time.Duration, err error)

	hooks   sync.Mutex
	mu      sync.Mutex
	waiting []*Delivery
	dead    []migrate.WakeUp
	changed chan struct{}
	sent    int
}

// Delivery is a wake-up in the queue.
type Delivery struct {
	WakeUp migrate.WakeUp
	Count  int // deliveries so far
	at     time.Time
}

// NewQueue returns an empty queue with a lock of a minute.
func NewQueue() *Queue {
	return &Queue{Lock: time.Minute, MaxDeliveries: 10, changed: make(chan struct{})}
}

// Wake implements migrate.Waker.
func (q *Queue) Wake(ctx context.Context, w migrate.WakeUp, at time.Time) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	copies, delay := 1, time.Duration(0)
	if q.Fault != nil {
		q.hooks.Lock()
		var err error
		copies, delay, err = q.Fault(w)
		q.hooks.Unlock()
		if err != nil {
			return err
		}
	}
	if now := time.Now(); at.Before(now) {
		at = now
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.sent++
	for range copies {
		q.waiting = append(q.waiting, &Delivery{WakeUp: w, at: at.Add(delay)})
	}
	q.tell()
	return nil
}

// Sent is how many wake-ups were accepted.
func (q *Queue) Sent() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.sent
}

// Wipe loses everything in the queue, what is locked included.
func (q *Queue) Wipe() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = nil
}

// Drain takes every wake-up out of the queue, in the order of sending.
func (q *Queue) Drain() (list []migrate.WakeUp) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, d := range q.waiting {
		list = append(list, d.WakeUp)
	}
	q.waiting = nil
	return list
}

func (q *Queue) tell() {
	close(q.changed)
	q.changed = make(chan struct{})
}

// Receive waits for the next wake-up and locks it. It returns nil when ctx ends.
func (q *Queue) Receive(ctx context.Context) *Delivery {
	for {
		d, changed, wait := q.next()
		if d != nil {
			return d
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changed:
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (q *Queue) next() (d *Delivery, changed <-chan struct{}, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	wait = time.Hour
	for i := 0; i < len(q.waiting); i++ {
		d := q.waiting[i]
		if d.at.After(now) {
			wait = min(wait, d.at.Sub(now))
			continue
		}
		if d.Count == q.MaxDeliveries {
			q.dead = append(q.dead, d.WakeUp)
			q.waiting = slices.Delete(q.waiting, i, i+1)
			i--
			continue
		}
		d.Count++
		d.at = now.Add(q.Lock)
		return d, nil, 0
	}
	return nil, q.changed, wait
}

// Complete removes a delivery; one whose lock ended meanwhile, too.
func (q *Queue) Complete(d *Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(x *Delivery) bool { return x == d })
}

// Abandon shows a delivery again at once.
func (q *Queue) Abandon(d *Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d.at = time.Now()
	q.tell()
}

// Renew keeps a delivery locked.
func (q *Queue) Renew(d *Delivery) {
	q.mu.Lock()
	defer q.mu.Unlock()
	d.at = time.Now().Add(q.Lock)
}

// TakeDead returns the dead letters and forgets them.
func (q *Queue) TakeDead() []migrate.WakeUp {
	q.mu.Lock()
	defer q.mu.Unlock()
	dead := q.dead
	q.dead = nil
	return dead
}
