package migrate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestEverythingAtOnce lets everything go wrong at random for three hours, while mail arrives: two
// processes die again and again, wake-ups get lost, doubled and late, connections break, answers of
// the target and of the store get lost. In the end every message is there once.
func TestEverythingAtOnce(t *testing.T) {
	seeds := 60
	if testing.Short() {
		seeds = 10
	}
	for seed := range seeds {
		bubble(t, fmt.Sprint(seed), func(t *testing.T, w *migratetest.World) {
			w.Mercy = true
			w.Processes, w.Slots, w.SyncEvery = 2, 2, 10*time.Minute
			w.Limits.Budget = 30 * time.Second
			c := &chaos{random: rand.New(rand.NewPCG(uint64(seed), 7)), until: time.Now().Add(3 * time.Hour)}
			for range 12 {
				w.Kills = append(w.Kills, 40+c.random.IntN(150))
			}
			start := time.Now()
			if seed%3 == 0 { // an hour of pre-flight first
				withPreflight(w)
				start = start.Add(time.Hour)
			}
			twoMailboxes(t, w)
			for _, b := range w.Boxes {
				c.befall(b)
			}
			w.Store.Before, w.Store.After = c.slowStore(w), c.store
			w.Queue.Fault = c.wake
			w.Run(t, 4*time.Hour, func() bool {
				if w.Endpoint != nil && !start.IsZero() && time.Now().After(start) {
					for _, b := range w.Boxes {
						if b.Target.Puts()+b.Target.Asked() > 0 {
							t.Errorf("%s was moved before the start", b.Mailbox.Login)
						}
					}
					if migrate.OrderStart(t.Context(), w.Store, migratetest.EndpointName, migratetest.Batch) == nil {
						start = time.Time{}
					}
				}
				if c.once(200) {
					for _, b := range w.Boxes {
						b.Source.Folder("INBOX").Add(migratetest.Message("twin", "twin", 400), received)
						b.Source.Folder("Sent").Add(migratetest.Message("", "no id", 200), received, migrate.Flagged)
					}
				}
				if c.once(400) {
					w.Restart()
				}
				return time.Now().After(c.until)
			})
			w.Sync(t)
			w.Settle(t)
			w.Complete(t)
			for _, b := range w.Boxes {
				cp := wantState(t, w, b, migrate.Completed)
				w.CheckExact(t, b)
				if !cp.Verified.Clean() || cp.Verified.Moved != 0 {
					t.Errorf("verification %+v", cp.Verified)
				}
			}
			if c.taken < 30 {
				t.Errorf("only %d of %d chances were taken", c.taken, c.chances)
			}
		})
	}
}

// chaos decides what goes wrong.
type chaos struct {
	mu             sync.Mutex
	random         *rand.Rand
	until          time.Time
	taken, chances int
}

// once is true about once in n times.
func (c *chaos) once(n int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.chances++
	if time.Now().After(c.until) || c.random.IntN(n) != 0 {
		return false
	}
	c.taken++
	return true
}

func (c *chaos) seconds(n int) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Duration(c.random.IntN(n)) * time.Second
}

func (c *chaos) befall(b *migratetest.Box) {
	b.Source.Latency = 50 * time.Millisecond
	b.Source.Before = func(string, string, migrate.UID) error {
		if c.once(100) {
			return errors.New("connection reset")
		}
		return nil
	}
	b.Target.Fault = func([]byte) migratetest.Fault {
		lost := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("the answer is lost")}
		switch {
		case c.once(20):
			return migratetest.Fault{Err: lost, Do: true, After: c.seconds(50)}
		case c.once(20):
			return migratetest.Fault{Err: lost}
		case c.once(20):
			return migratetest.Fault{Err: &migrate.Error{Op: "append", Kind: migrate.Throttled, RetryAfter: c.seconds(300), Err: errors.New("slow down")}}
		}
		return migratetest.Fault{}
	}
}

func (c *chaos) store(op, name string) error {
	if c.once(300) {
		return &migrate.Error{Op: op, Kind: migrate.Unreachable, Err: errors.New("the store is away")}
	}
	return nil
}

// slowStore lets an operation happen so late that the leases of who asked may have ended. Its mailbox passes
// for one whose process died, so that it is spared when another death would give a mailbox up.
func (c *chaos) slowStore(w *migratetest.World) migratetest.Hook {
	return func(op, name string) error {
		if c.once(300) && !w.LastChance() {
			time.Sleep(c.seconds(90))
		}
		return c.store(op, name)
	}
}

func (c *chaos) wake(migrate.WakeUp) (int, time.Duration, error) {
	switch {
	case c.once(20):
		return 0, 0, nil
	case c.once(10):
		return 2, c.seconds(120), nil
	case c.once(20):
		return 1, 0, &migrate.Error{Op: "send", Kind: migrate.Unreachable, Err: errors.New("no queue")}
	}
	return 1, 0, nil
}
