package migrate_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

const capName = "endpoints/" + migratetest.EndpointName + "/state"

// crowd has many mailboxes at a server that takes limit connections, and two processes.
func crowd(t *testing.T, w *migratetest.World, limit, mailboxes, messages int) {
	t.Helper()
	w.Server = migratetest.NewSourceServer(limit)
	w.Processes, w.Runs, w.Slots, w.Connections = 2, 5, 10, 3
	w.Limits.Budget = time.Minute
	for i := range mailboxes {
		b := w.AddMailbox(t, fmt.Sprint("user", i))
		b.Source.Latency, b.Target.Latency = 100*time.Millisecond, 100*time.Millisecond
		for j := range messages {
			b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(i, "-", j), "letter", 300), received)
		}
	}
}

// hurry changes how long a message takes.
func hurry(w *migratetest.World, latency time.Duration) {
	for _, b := range w.Boxes {
		b.Source.Latency = latency
	}
}

// wantAll checks that every mailbox is synced and that none counts what the server refused as its failure.
func wantAll(t *testing.T, w *migratetest.World) {
	t.Helper()
	for _, b := range w.Boxes {
		w.CheckExact(t, b)
		if cp := wantState(t, w, b, migrate.Synced); cp.Failures != 0 || cp.Outside != 0 || cp.Problem != nil {
			t.Errorf("%s: %d failures, outside %d times, problem %+v", b.Mailbox.Login, cp.Failures, cp.Outside, cp.Problem)
		}
	}
}

func capOf(t *testing.T, w *migratetest.World) *migrate.ServerCap {
	t.Helper()
	list, err := migrate.Batches(t.Context(), w.Store, migratetest.EndpointName)
	if err != nil || len(list) != 1 {
		t.Fatalf("%d batches, %v", len(list), err)
	}
	return list[0].Cap
}

// TestServerTakesSoMany has the runs of two processes find out together how many connections the server
// takes, and keep to it.
func TestServerTakesSoMany(t *testing.T) {
	for _, limit := range []int{1, 2, 4, 7, 12, 20} {
		bubble(t, fmt.Sprint(limit, " connections"), func(t *testing.T, w *migratetest.World) {
			crowd(t, w, limit, 16, 180)
			hurry(w, 10*time.Second)
			began := time.Now()
			w.Run(t, time.Hour, func() bool { return time.Since(began) > 8*time.Minute })
			_, _, refused := w.Server.Since()
			if refused == 0 || refused > 60 {
				t.Errorf("%d connections were refused at first", refused)
			}
			c := capOf(t, w)
			if c == nil || c.Connections > limit || c.Connections < limit/2 || c.Full != 30 || !strings.Contains(c.Cause, "no more connections") {
				t.Fatalf("cap %+v", c)
			}
			if b := w.Boxes[c.By]; b == nil {
				t.Errorf("%q is no mailbox", c.By)
			}
			calm := c.Lowered.Add(14 * time.Minute) // until it rises
			w.Run(t, time.Hour, func() bool { return time.Now().After(calm) })
			if _, most, refused := w.Server.Since(); refused != 0 || most > c.Connections {
				t.Errorf("then %d were open and %d refused, with a cap of %d", most, refused, c.Connections)
			}
			hurry(w, 0)
			w.Settle(t)
			wantAll(t, w)
		})
	}
}

// TestServerFullOfOthers has a server take nobody for a day: it is asked seldom, no mailbox fails, and
// then all goes on.
func TestServerFullOfOthers(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		crowd(t, w, 0, 40, 3)
		began := time.Now()
		day := func() bool { return time.Since(began) > 24*time.Hour }
		w.Run(t, 25*time.Hour, func() bool { return time.Since(began) > 10*time.Minute })
		w.Server.Since()
		w.Run(t, 25*time.Hour, day)
		if _, _, refused := w.Server.Since(); refused > 2*24*60 { // a tick of each process every minute
			t.Errorf("%d connections were refused", refused)
		}
		if c := capOf(t, w); c == nil || c.Connections != 1 {
			t.Errorf("cap %+v", c)
		}
		for id := range w.Boxes {
			if cp := w.Checkpoint(t, id); cp.Failures != 0 || cp.Outside == 0 || cp.Problem == nil {
				t.Errorf("%d failures, outside %d times, problem %+v", cp.Failures, cp.Outside, cp.Problem)
			}
		}
		w.Server.Take(100)
		w.Settle(t)
		wantAll(t, w)
		time.Sleep(8 * time.Hour)
		if c := capOf(t, w); c != nil {
			t.Errorf("cap %+v", c)
		}
	})
}

// TestRefusedMakeRoomAtOnce: who fails because of himself does not keep the next waiting for the tick.
func TestRefusedMakeRoomAtOnce(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Slots = 1
		for i := range 10 {
			w.AddMailbox(t, fmt.Sprint("user", i)).Source.WrongPassword = i < 9
		}
		began := time.Now()
		w.Settle(t)
		if took := time.Since(began); took > 30*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// TestWhatLowersTheCap: a server that hangs up without a word has enough if it has others connected; one
// that is ill, or has enough connections of one mailbox, has not.
func TestWhatLowersTheCap(t *testing.T) {
	for reason, lowers := range map[migrate.Reason]bool{
		migrate.ServerCrowded: true, migrate.ServerClosesAtOnce: true, migrate.TooFast: true,
		migrate.AccountCrowded: false, migrate.ServerIll: false, migrate.AllowanceUsed: false, migrate.EndpointResting: false,
	} {
		bubble(t, string(reason), func(t *testing.T, w *migratetest.World) {
			crowd(t, w, 5, 8, 100)
			w.Server.Reason = reason
			w.Settle(t)
			wantAll(t, w)
			content, _, err := w.Store.Get(t.Context(), capName)
			fell := strings.Contains(string(content), "no more connections")
			if _, _, refused := w.Server.Since(); refused == 0 || fell != lowers {
				t.Errorf("%d refused, %s, %v", refused, content, err)
			}
		})
	}
	bubble(t, "a run in each process", func(t *testing.T, w *migratetest.World) {
		w.Endpoint = func(e *migrate.Endpoint) { e.Connections = 1 }
		crowd(t, w, 3, 8, 100)
		w.Processes, w.Runs = 6, 1
		w.Server.Reason = migrate.ServerClosesAtOnce
		hurry(w, 5*time.Second)
		began := time.Now()
		w.Run(t, time.Hour, func() bool { return time.Since(began) > 10*time.Minute })
		if c := capOf(t, w); c == nil || c.Connections > 5 {
			t.Errorf("cap %+v", c)
		}
		w.Settle(t)
		wantAll(t, w)
	})
	bubble(t, "a server that goes down", func(t *testing.T, w *migratetest.World) {
		w.Endpoint = func(e *migrate.Endpoint) { e.Connections = 1 }
		crowd(t, w, 30, 8, 100)
		w.Processes, w.Runs = 6, 1
		w.Server.Reason = migrate.ServerClosesAtOnce
		hurry(w, 5*time.Second)
		began := time.Now()
		w.Run(t, time.Hour, func() bool { return time.Since(began) > 4*time.Minute })
		w.Server.Take(0)
		w.Run(t, 2*time.Hour, func() bool { return time.Since(began) > time.Hour })
		if c := capOf(t, w); c != nil && c.Connections < 5 {
			t.Errorf("cap %+v", c)
		}
		w.Server.Take(30)
		w.Settle(t)
		wantAll(t, w)
	})
	bubble(t, "a server that is down", func(t *testing.T, w *migratetest.World) {
		crowd(t, w, 0, 8, 3)
		w.Server.Reason = migrate.ServerClosesAtOnce
		began := time.Now()
		w.Run(t, time.Hour, func() bool { return time.Since(began) > 30*time.Minute })
		if _, _, refused := w.Server.Since(); refused == 0 || capOf(t, w) != nil {
			t.Errorf("%d refused, cap %+v", refused, capOf(t, w))
		}
		w.Server.Take(30)
		w.Settle(t)
		wantAll(t, w)
	})
}

// TestCapInPreflight: runs that only look keep to the cap, and count as company.
func TestCapInPreflight(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		crowd(t, w, 4, 12, 40)
		w.Server.Reason = migrate.ServerClosesAtOnce
		w.Preflight(t)
		if capOf(t, w) == nil {
			t.Fatal("the server was asked for as many as before")
		}
		if err := w.Store.Delete(t.Context(), capName, migrate.Condition{}); err != nil {
			t.Fatal(err)
		}
		w.Start(t)
		wantAll(t, w)
		if capOf(t, w) == nil {
			t.Error("nobody counts as company any more")
		}
	})
}

// TestMaxConnections keeps to what the administrator says, without asking for more.
func TestMaxConnections(t *testing.T) {
	for _, most := range []int{1, 3, 11, 29} {
		bubble(t, fmt.Sprint(most), func(t *testing.T, w *migratetest.World) {
			w.Endpoint = func(e *migrate.Endpoint) { e.MaxConnections = most }
			crowd(t, w, most, 12, 60)
			w.Settle(t)
			wantAll(t, w)
			if _, got, refused := w.Server.Since(); refused != 0 || got < most*2/3 {
				t.Errorf("%d connections at once, %d refused", got, refused)
			}
			if c := capOf(t, w); c != nil {
				t.Errorf("cap %+v", c)
			}
		})
	}
}

// TestRunsMakeRoom has the cap fall while runs have more: they close what is too many, and those whose
// slot is gone end.
func TestRunsMakeRoom(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Endpoint = func(e *migrate.Endpoint) { e.Slots = 4 }
		crowd(t, w, 100, 4, 200)
		hurry(w, 10*time.Second)
		w.Limits.Budget = 20 * time.Minute
		began, before, after := time.Now(), 0, 0
		w.Run(t, time.Hour, func() bool {
			switch since := time.Since(began); {
			case since > 2*time.Minute && before == 0:
				before, _, _ = w.Server.Since()
				state := fmt.Sprintf(`{"v":1,"connections":3,"full":12,"at":%q,"by":"x","cause":"y"}`, time.Now().UTC().Format(time.RFC3339))
				if _, err := w.Store.Put(t.Context(), capName, []byte(state), nil, migrate.Condition{}); err != nil {
					t.Error(err)
				}
			case since > 4*time.Minute:
				after, _, _ = w.Server.Since()
				return true
			}
			return false
		})
		if before != 12 || after != 3 {
			t.Errorf("%d connections, then %d", before, after)
		}
		hurry(w, 0)
		w.Settle(t)
		wantAll(t, w)
	})
}

// TestPlannerKeepsToTheCap wakes no more mailboxes than may run.
func TestPlannerKeepsToTheCap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mailboxes := make(map[string]func(*migrate.Checkpoint))
		for i := range 20 {
			mailboxes[fmt.Sprint("user", i)] = func(*migrate.Checkpoint) {}
		}
		w, p := planned(t, 10, mailboxes)
		state := fmt.Sprintf(`{"v":1,"connections":3,"full":30,"at":%q}`, time.Now().Format(time.RFC3339))
		if _, err := w.Store.Put(t.Context(), capName, []byte(state), nil, migrate.Condition{}); err != nil {
			t.Fatal(err)
		}
		tick(t, p)
		if got := woken(t, w); len(got) != 3 {
			t.Errorf("woke %d", len(got))
		}
		time.Sleep(15 * time.Minute)
		tick(t, p) // the three are lost, and there is room for one more
		if got := woken(t, w); len(got) != 4 {
			t.Errorf("woke %d", len(got))
		}
	})
}

// TestCapUnderFire loses the store's answers and kills processes wherever they are: the cap falls all the
// same, and no message is lost or doubled.
func TestCapUnderFire(t *testing.T) {
	for seed := range 12 {
		bubble(t, fmt.Sprint(seed), func(t *testing.T, w *migratetest.World) {
			crowd(t, w, 5, 8, 40)
			w.Mercy = true
			for i := range 6 {
				w.Kills = append(w.Kills, 5+11*i+seed)
			}
			var calls atomic.Int64
			w.Store.After = func(op, name string) error {
				if name == capName && op == "put" && calls.Add(1)%3 == 0 {
					return migrate.ErrConflict // its first answer was lost, and the retry met its own write
				}
				return nil
			}
			w.Store.Before = func(op, name string) error {
				if name == capName && op == "put" && calls.Add(1)%5 == 0 {
					return &migrate.Error{Op: op, Kind: migrate.Unreachable, Err: errors.New("down")}
				}
				return nil
			}
			w.Settle(t)
			for _, b := range w.Boxes {
				w.CheckExact(t, b)
				wantState(t, w, b, migrate.Synced)
			}
			if c := capOf(t, w); c == nil || c.Connections > 15 {
				t.Errorf("cap %+v", c)
			}
		})
	}
}

// TestCapOfOthers: what a newer program wrote stays, and what nobody can read caps nothing.
func TestCapOfOthers(t *testing.T) {
	for content, stays := range map[string]bool{`{"v":2,"connections":1}`: true, `{`: false, `[]`: false, ``: false} {
		bubble(t, content, func(t *testing.T, w *migratetest.World) {
			crowd(t, w, 4, 8, 40)
			if _, err := w.Store.Put(t.Context(), capName, []byte(content), nil, migrate.Condition{}); err != nil {
				t.Fatal(err)
			}
			w.Settle(t)
			wantAll(t, w)
			got, _, err := w.Store.Get(t.Context(), capName)
			if err != nil || (string(got) == content) != stays {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// TestCapOfAWrongClock: a fall that an instance with a wrong clock dated years ahead does not last for years.
func TestCapOfAWrongClock(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		crowd(t, w, 4, 8, 40)
		state := fmt.Sprintf(`{"v":1,"connections":1,"full":30,"at":%q,"by":"x"}`, time.Now().AddDate(3, 0, 0).Format(time.RFC3339))
		if _, err := w.Store.Put(t.Context(), capName, []byte(state), nil, migrate.Condition{}); err != nil {
			t.Fatal(err)
		}
		w.Settle(t)
		wantAll(t, w)
		if c := capOf(t, w); c == nil || w.Boxes[c.By] == nil {
			t.Errorf("cap %+v", c)
		}
	})
}
