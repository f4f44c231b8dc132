package functionhost

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// handClock is a clock that a test moves.
type handClock struct {
	mu      sync.Mutex
	now     time.Time
	timers  map[*handTimer]bool
	changed chan struct{} // closed when a timer is set
}

type handTimer struct {
	at time.Time
	do func()
}

// newHandClock starts at the last full second of the system's time, which
// servers beside the host keep.
func newHandClock() *handClock {
	return &handClock{now: time.Now().Truncate(time.Second), timers: map[*handTimer]bool{}, changed: make(chan struct{})}
}

func (c *handClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *handClock) AfterFunc(d time.Duration, do func()) func() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &handTimer{c.now.Add(d), do}
	c.timers[t] = true
	close(c.changed)
	c.changed = make(chan struct{})
	if d <= 0 {
		c.fire(t)
	}
	return func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		set := c.timers[t]
		delete(c.timers, t)
		return set
	}
}

func (c *handClock) fire(t *handTimer) {
	delete(c.timers, t)
	go t.do()
}

// pass moves the clock and fires what is due.
func (c *handClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for t := range c.timers {
		if !t.at.After(c.now) {
			c.fire(t)
		}
	}
}

// await waits until a timer is set that is due in exactly d, so that pass(d)
// cannot come too early.
func (c *handClock) await(t *testing.T, d time.Duration) {
	t.Helper()
	c.awaitN(t, d, 1)
}

// awaitN waits for n of them.
func (c *handClock) awaitN(t *testing.T, d time.Duration, n int) {
	t.Helper()
	limit := time.After(patience)
	for {
		c.mu.Lock()
		found, changed := 0, c.changed
		for timer := range c.timers {
			if timer.at.Equal(c.now.Add(d)) {
				found++
			}
		}
		c.mu.Unlock()
		if found >= n {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("nobody waits %s", d)
		}
	}
}

func TestTimeoutsByTheClock(t *testing.T) {
	c, reason := newHandClock(), errors.New("late")
	ctx, cancel := withTimeout(t.Context(), c, time.Hour, reason)
	defer cancel()
	c.pass(time.Hour - 1)
	if ctx.Err() != nil {
		t.Fatal("too early")
	}
	c.pass(1)
	<-ctx.Done()
	if context.Cause(ctx) != reason {
		t.Errorf("cause %v", context.Cause(ctx))
	}
	if err := sleep(ctx, c, time.Hour); err != reason {
		t.Errorf("sleep: %v", err)
	}
	again, stop := withTimeout(t.Context(), c, time.Hour, reason)
	stop()
	c.pass(2 * time.Hour)
	if context.Cause(again) != context.Canceled {
		t.Errorf("cause after stop: %v", context.Cause(again))
	}
}
