package migrate_test

import (
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// newRunner is one that must not get as far as to a server.
func newRunner(s migrate.Store) *migrate.Runner {
	q := migratetest.NewQueue()
	return &migrate.Runner{
		Store: s, Drop: migratetest.NewStore(nil), Waker: q, Planner: &migrate.Planner{Store: s, Waker: q}, Gate: migrate.NewGate(),
		Spool: migrate.NewSpool(1<<20, 1<<20, ""), Words: new(mime.WordDecoder), Limits: migrate.Limits{}.Defaults(), Logger: slog.New(slog.DiscardHandler),
	}
}

// planned has mailboxes in given states, and a planner over them.
func planned(t *testing.T, slots int, mailboxes map[string]func(*migrate.Checkpoint)) (*migratetest.World, *migrate.Planner) {
	w := migratetest.NewWorld()
	w.Slots = slots
	for login, change := range mailboxes {
		b := w.AddMailbox(t, login)
		c := w.Checkpoint(t, b.Mailbox.ID)
		c.Mailbox.Batch = "calm"
		change(c)
		if _, err := migrate.SaveCheckpoint(t.Context(), w.Store, c, migrate.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	return w, &migrate.Planner{Store: w.Store, Drop: w.Drop, Waker: w.Queue, Grace: time.Minute}
}

// woken takes what is in the queue, by login.
func woken(t *testing.T, w *migratetest.World) (logins []string) {
	t.Helper()
	for _, x := range w.Queue.Drain() {
		logins = append(logins, w.Boxes[x.Mailbox].Mailbox.Login)
	}
	return logins
}

func tick(t *testing.T, p *migrate.Planner) {
	t.Helper()
	if err := p.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestPlannerOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now().UTC()
		set := func(s migrate.State, batch string, due time.Duration) func(*migrate.Checkpoint) {
			return func(c *migrate.Checkpoint) { c.State, c.Mailbox.Batch, c.Due = s, batch, now.Add(due) }
		}
		w, p := planned(t, 3, map[string]func(*migrate.Checkpoint){
			"new-2":        set(migrate.Queued, "calm", -time.Minute),
			"new-1":        set(migrate.Syncing, "calm", -time.Hour),
			"overdue":      set(migrate.Synced, "calm", -time.Second),
			"finishing":    set(migrate.Synced, "ends", time.Hour),
			"pausing":      set(migrate.IncrementalSyncing, "ends", time.Hour),
			"not due":      set(migrate.Synced, "calm", time.Hour),
			"completed":    set(migrate.Completed, "ends", -time.Hour),
			"failed":       set(migrate.Failed, "calm", -time.Hour),
			"to be synced": set(migrate.Queued, "ends", -time.Second),
		})
		if err := migrate.OrderComplete(t.Context(), w.Store, migratetest.EndpointName, "ends"); err != nil {
			t.Fatal(err)
		}
		tick(t, p)
		if got := woken(t, w); !slices.Equal(got, []string{"finishing", "overdue", "new-1"}) {
			t.Errorf("first %v", got)
		}
		tick(t, p) // every slot is taken
		if got := woken(t, w); len(got) != 0 {
			t.Errorf("more than the slots: %v", got)
		}
		last := migrate.NewMailboxID(migratetest.EndpointName, "nobody", "x")
		for _, want := range []string{"new-2", "to be synced"} {
			if err := p.Next(t.Context(), migratetest.EndpointName, last); err != nil {
				t.Fatal(err)
			}
			if got := woken(t, w); !slices.Equal(got, []string{want}) {
				t.Errorf("next %v, want %s", got, want)
			}
		}
		if err := p.Next(t.Context(), migratetest.EndpointName, last); err != nil || len(woken(t, w)) != 0 {
			t.Errorf("something is left, or %v", err)
		}
	})
}

// TestNextKeepsPauses has a plan name mailboxes that have got a pause since it was written.
func TestNextKeepsPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		due := func(c *migrate.Checkpoint) { c.State = migrate.Syncing }
		w, p := planned(t, 1, map[string]func(*migrate.Checkpoint){"a": due, "b": due, "c": due})
		tick(t, p)
		first := woken(t, w)
		for _, b := range w.Boxes {
			if c := w.Checkpoint(t, b.Mailbox.ID); c.Phase == migrate.Waiting {
				c.Due = time.Now().Add(time.Hour).UTC()
				if _, err := migrate.SaveCheckpoint(t.Context(), w.Store, c, migrate.Condition{}); err != nil {
					t.Fatal(err)
				}
			}
		}
		err := p.Next(t.Context(), migratetest.EndpointName, migrate.NewMailboxID(migratetest.EndpointName, "nobody", "x"))
		if got := woken(t, w); err != nil || len(first) != 1 || len(got) != 0 {
			t.Errorf("woke %v and then %v, %v", first, got, err)
		}
	})
}

// TestManyPlanners has several claim the same mailboxes at once: each gets one wake-up.
func TestManyPlanners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mailboxes := make(map[string]func(*migrate.Checkpoint))
		for i := range 20 {
			mailboxes[fmt.Sprint("user", i)] = func(*migrate.Checkpoint) {}
		}
		w, p := planned(t, 20, mailboxes)
		for range 5 {
			go func() {
				if err := p.Tick(t.Context()); err != nil {
					t.Error(err)
				}
			}()
		}
		synctest.Wait()
		got := woken(t, w)
		slices.Sort(got)
		if len(slices.Compact(slices.Clone(got))) != 20 || len(got) != 20 {
			t.Errorf("woke %v", got)
		}
	})
}

// TestUnsentWakeUps has the queue refuse: no mailbox is to blame, however long.
func TestUnsentWakeUps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := planned(t, 3, map[string]func(*migrate.Checkpoint){"a": func(*migrate.Checkpoint) {}})
		down := true
		w.Queue.Fault = func(migrate.WakeUp) (int, time.Duration, error) {
			if down {
				return 0, 0, &migrate.Error{Op: "send wake-up", Kind: migrate.Unreachable, Err: errors.New("down")}
			}
			return 1, 0, nil
		}
		for range 30 {
			if err := p.Tick(t.Context()); err == nil {
				t.Error("nobody is told")
			}
			time.Sleep(2 * time.Minute)
		}
		down = false
		tick(t, p)
		if got := woken(t, w); len(got) != 1 {
			t.Errorf("woke %v", got)
		}
		for id := range w.Boxes {
			if c := w.Checkpoint(t, id); c.Restores != 0 || c.State != migrate.Queued {
				t.Errorf("%s after %d restores", c.State, c.Restores)
			}
		}
	})
}

// TestOneEndpointsTrouble does not keep the others waiting.
func TestOneEndpointsTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := planned(t, 3, map[string]func(*migrate.Checkpoint){"a": func(*migrate.Checkpoint) {}})
		if err := migrate.AnnounceEndpoint(t.Context(), w.Store, "broken"); err != nil {
			t.Fatal(err)
		}
		if err := p.Tick(t.Context()); migrate.KindOf(err) != migrate.Configuration {
			t.Errorf("an endpoint without a description: %v", err)
		}
		if got := woken(t, w); len(got) != 1 {
			t.Errorf("woke %v", got)
		}
	})
}

// TestWakeUpsThatWait has one run at a time for many slots, so that wake-ups wait far longer than the grace:
// no mailbox is given up for that.
func TestWakeUpsThatWait(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Slots, w.Runs, w.Grace = 30, 1, 2*time.Minute
		for i := range 30 {
			b := w.AddMailbox(t, fmt.Sprint("user", i))
			b.Source.Latency = 10 * time.Second
			for j := range 40 {
				b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(i, "-", j), "letter", 300), received)
			}
		}
		w.Settle(t)
		for _, b := range w.Boxes {
			w.CheckExact(t, b)
			wantState(t, w, b, migrate.Synced)
		}
	})
}

// TestLostWakeUpsAreSentAgain within the grace, then within twice as long each time.
func TestLostWakeUpsAreSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, p := planned(t, 3, map[string]func(*migrate.Checkpoint){"a": func(*migrate.Checkpoint) {}})
		began, sent := time.Now(), []time.Duration(nil)
		for range 64 {
			tick(t, p)
			if len(woken(t, w)) > 0 {
				sent = append(sent, time.Since(began))
			}
			time.Sleep(time.Minute)
		}
		want := []time.Duration{0, time.Minute, 3 * time.Minute, 7 * time.Minute, 15 * time.Minute, 31 * time.Minute, 63 * time.Minute}
		if !slices.Equal(sent, want) {
			t.Errorf("sent after %v", sent)
		}
	})
}

// TestNobodyStarves has more synced mailboxes than can be synced again in time: new ones get every second slot.
func TestNobodyStarves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mailboxes := make(map[string]func(*migrate.Checkpoint))
		for i := range 50 {
			mailboxes[fmt.Sprintf("synced-%02d", i)] = func(c *migrate.Checkpoint) { c.State, c.Due = migrate.Synced, time.Now().Add(-time.Hour).UTC() }
		}
		for i := range 3 {
			mailboxes[fmt.Sprint("new-", i)] = func(*migrate.Checkpoint) {}
			mailboxes[fmt.Sprint("ends-", i)] = func(c *migrate.Checkpoint) { c.State, c.Mailbox.Batch = migrate.Synced, "ends" }
		}
		w, p := planned(t, 7, mailboxes)
		if err := migrate.OrderComplete(t.Context(), w.Store, migratetest.EndpointName, "ends"); err != nil {
			t.Fatal(err)
		}
		tick(t, p)
		order := func(logins []string) (kinds string) {
			for _, login := range logins {
				kinds += login[:1]
			}
			return kinds
		}
		if got := order(woken(t, w)); got != "eeesnsn" {
			t.Errorf("woke %s", got)
		}
		for range 4 {
			if err := p.Next(t.Context(), migratetest.EndpointName, migrate.NewMailboxID(migratetest.EndpointName, "nobody", "x")); err != nil {
				t.Fatal(err)
			}
		}
		if got := order(woken(t, w)); got != "snss" {
			t.Errorf("then %s", got)
		}
	})
}

// TestNobodyStarvesBehindLongRuns has runs that take longer than the time between two plans: each plan knows whose
// turn it is.
func TestNobodyStarvesBehindLongRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mailboxes := make(map[string]func(*migrate.Checkpoint))
		for i := range 20 {
			mailboxes[fmt.Sprintf("synced-%02d", i)] = func(c *migrate.Checkpoint) { c.State, c.Due = migrate.Synced, time.Now().Add(-time.Hour).UTC() }
			mailboxes[fmt.Sprintf("new-%02d", i)] = func(*migrate.Checkpoint) {}
		}
		w, p := planned(t, 1, mailboxes)
		kinds := ""
		tick(t, p)
		for range 6 {
			for _, login := range woken(t, w) {
				kinds += login[:1]
				tick(t, p)
				for _, b := range w.Boxes {
					if b.Mailbox.Login != login {
						continue
					}
					c := w.Checkpoint(t, b.Mailbox.ID)
					c.State, c.Phase, c.Due = migrate.Synced, migrate.Waiting, time.Now().Add(time.Hour).UTC()
					if _, err := migrate.SaveCheckpoint(t.Context(), w.Store, c, migrate.Condition{}); err != nil {
						t.Fatal(err)
					}
					if err := p.Next(t.Context(), migratetest.EndpointName, c.Mailbox.ID); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if kinds != "snsnsn" {
			t.Errorf("woke %s", kinds)
		}
	})
}
