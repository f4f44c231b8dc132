package migrate

import (
	"context"
	"slices"
	"sync"
)

// budget hands out shares of a fixed sum: first come, first served among those whose turn it is, then
// among those who are ahead.
type budget struct {
	mu    sync.Mutex
	size  int64
	left  int64
	ahead int64 // held by those who were ahead when they got it
	now   []*claim
	later []*claim
}

type claim struct {
	n     int64
	ahead bool // served as such
	ready chan struct{}
}

func newBudget(size int64) *budget { return &budget{size: size, left: size} }

// half is what all that is ahead may hold together, and so what is never out of reach for the others.
func (b *budget) half() int64 { return (b.size + 1) / 2 }

// roomy reports whether more than half of the budget is left without n.
func (b *budget) roomy(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.left-n > b.size/2
}

// take waits for n, at most half of the budget, and returns what gives it back. Until turn is closed
// the claim is one that is ahead. Waits is told when it begins and ends to wait.
func (b *budget) take(ctx context.Context, turn <-chan struct{}, waits func(bool), n int64) (func(), error) {
	c := &claim{n: min(n, b.half()), ready: make(chan struct{})}
	b.change(func() { b.later = append(b.later, c) })
	select {
	case <-c.ready:
		return b.giver(c), nil
	default:
		waits(true)
		defer waits(false)
	}
	select {
	case <-c.ready:
		return b.giver(c), nil
	case <-turn:
		b.change(func() {
			if remove(&b.later, c) {
				b.now = append(b.now, c)
			}
		})
	case <-ctx.Done():
	}
	select {
	case <-c.ready:
		return b.giver(c), nil
	case <-ctx.Done():
		b.change(func() {
			if !remove(&b.later, c) && !remove(&b.now, c) {
				b.give(c)
			}
		})
		return nil, context.Cause(ctx)
	}
}

func (b *budget) giver(c *claim) func() {
	return sync.OnceFunc(func() { b.change(func() { b.give(c) }) })
}

func (b *budget) give(c *claim) {
	b.left += c.n
	if c.ahead {
		b.ahead -= c.n
	}
}

// change changes something and serves those who wait.
func (b *budget) change(what func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	what()
	for len(b.now) > 0 && b.now[0].n <= b.left {
		b.left -= b.now[0].n
		close(b.now[0].ready)
		b.now = b.now[1:]
	}
	if len(b.now) > 0 {
		return
	}
	b.later = slices.DeleteFunc(b.later, func(c *claim) bool {
		if c.n > b.left || b.ahead+c.n > b.half() {
			return false
		}
		c.ahead = true
		b.left, b.ahead = b.left-c.n, b.ahead+c.n
		close(c.ready)
		return true
	})
}

// remove takes a claim out of a queue.
func remove(queue *[]*claim, c *claim) bool {
	i := slices.Index(*queue, c)
	if i >= 0 {
		*queue = slices.Delete(*queue, i, i+1)
	}
	return i >= 0
}
