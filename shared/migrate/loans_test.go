package migrate_test

import (
	"fmt"
	"hash/fnv"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// lenders has few mailboxes at a server that takes so many connections, of which each slot has one.
func lenders(t *testing.T, w *migratetest.World, most, mailboxes int) {
	t.Helper()
	w.Endpoint = func(e *migrate.Endpoint) { e.MaxConnections = most }
	crowd(t, w, most, mailboxes, 200)
	hurry(w, 10*time.Second)
	w.Limits.Budget = 4 * time.Minute
}

// TestFewHaveMore: mailboxes that are alone at work share what the server takes, and never have more.
func TestFewHaveMore(t *testing.T) {
	for _, c := range []struct{ most, mailboxes, want int }{
		{10, 1, 3}, // as many as the endpoint allows for one
		{10, 2, 6}, //
		{10, 8, 9}, // one slot stays free
		{10, 10, 10},
		{2, 1, 1}, // the other one is for who comes
		{3, 1, 2},
		{14, 2, 6},
		{29, 3, 9},
	} {
		bubble(t, fmt.Sprint(c), func(t *testing.T, w *migratetest.World) {
			lenders(t, w, c.most, c.mailboxes)
			began := time.Now()
			w.Run(t, time.Hour, func() bool { return time.Since(began) > 3*time.Minute })
			if _, got, refused := w.Server.Since(); got != c.want || refused != 0 {
				t.Errorf("%d connections at once, %d refused", got, refused)
			}
			hurry(w, 0)
			w.Settle(t)
			wantAll(t, w)
		})
	}
}

// TestLoansAreGivenBack: who comes later finds room soon, and the server is never asked for too many.
func TestLoansAreGivenBack(t *testing.T) {
	for _, late := range []int{1, 2, 8} {
		bubble(t, fmt.Sprint(late), func(t *testing.T, w *migratetest.World) {
			lenders(t, w, 10, 2)
			began, open := time.Now(), 0
			w.Run(t, time.Hour, func() bool { return time.Since(began) > 2*time.Minute })
			// They come while the others have borrowed.
			var came time.Time
			w.Run(t, time.Hour, func() bool {
				if open, _, _ = w.Server.Since(); open == 6 && came.IsZero() {
					came = time.Now()
					for i := range late {
						b := w.AddMailbox(t, fmt.Sprint("late", i))
						b.Source.Latency = 10 * time.Second
						for j := range 30 {
							b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(i, "+", j), "letter", 300), received)
						}
					}
				}
				working := 0
				for id := range w.Boxes {
					if w.Checkpoint(t, id).Phase == migrate.Running {
						working++
					}
				}
				return working == 2+late
			})
			if took := time.Since(came); took > 5*time.Minute {
				t.Errorf("they waited %s", took)
			}
			hurry(w, 0)
			w.Settle(t)
			if _, most, refused := w.Server.Since(); refused != 0 || most > 10 || capOf(t, w) != nil {
				t.Errorf("%d connections at once, %d refused, cap %+v", most, refused, capOf(t, w))
			}
			wantAll(t, w)
		})
	}
}

// TestLastFreeSlot is found by few requests among a thousand.
func TestLastFreeSlot(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Slots = 1000
		b := oneMailbox(t, w, 5)
		h := fnv.New32a()
		h.Write([]byte(b.Mailbox.ID))
		start := int(uint16(h.Sum32())) // where a run begins to look; the one before it is free
		for i := range 1000 {
			if i == (start+999)%1000 {
				continue
			}
			if _, err := w.Store.Acquire(t.Context(), fmt.Sprintf("slots/%s/%04d", migratetest.EndpointName, i), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		w.Store.Before = func(string, string) error {
			time.Sleep(30 * time.Millisecond)
			return nil
		}
		began := time.Now()
		w.Settle(t)
		w.CheckExact(t, b)
		if c, took := wantState(t, w, b, migrate.Synced), time.Since(began); c.Failures != 0 || took > 20*time.Second {
			t.Errorf("%d failures in %s", c.Failures, took)
		}
	})
}
