package migrate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// oneMailbox has n messages in its INBOX.
func oneMailbox(t testing.TB, w *migratetest.World, n int) *migratetest.Box {
	b := w.AddMailbox(t, "ann")
	for i := range n {
		b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(i), fmt.Sprintf("letter %d", i), 300), received.Add(time.Duration(i)*time.Minute))
	}
	return b
}

func bubble(t *testing.T, name string, test func(*testing.T, *migratetest.World)) {
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) { test(t, migratetest.NewWorld()) })
	})
}

func wantState(t *testing.T, w *migratetest.World, b *migratetest.Box, want migrate.State) *migrate.Checkpoint {
	t.Helper()
	c := w.Checkpoint(t, b.Mailbox.ID)
	if c.State != want {
		t.Fatalf("%s is %s, want %s: problem %+v, verification %+v", b.Mailbox.Login, c.State, want, c.Problem, c.Verified)
	}
	return c
}

// TestLostAnswerAboutWhatNothingTells has the answer about a message get lost that has neither a Message-ID nor any
// date, so that it cannot be looked up: it gets an outcome, and the others come. Nor is it sought in the end.
func TestLostAnswerAboutWhatNothingTells(t *testing.T) {
	for _, lost := range []bool{true, false} {
		bubble(t, fmt.Sprint("lost: ", lost), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 9)
			b.Source.Folder("INBOX").Add([]byte("From: ann@example.com\r\nSubject: dateless\r\n\r\n"), time.Time{})
			b.Target.Fault = func(content []byte) (fault migratetest.Fault) {
				if lost && bytes.Contains(content, []byte("dateless")) {
					fault.Err = &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("the answer is lost")}
				}
				return fault
			}
			w.Settle(t)
			for _, m := range b.Target.Messages() {
				if m.Subject() == "dateless" { // a user moves it
					b.Target.Change(m.ID, func(m *migratetest.TargetMessage) bool { m.FolderID = "elsewhere"; return true })
				}
			}
			w.Complete(t)
			c, n := wantState(t, w, b, migrate.CompletedWithWarnings), 0
			if !lost {
				n = 1
			}
			if got := c.Counts(); got.Migrated != 9+n || got.Failed != 1-n || c.Verified.Absent != n {
				t.Errorf("counts %+v, verification %+v", got, c.Verified)
			}
		})
	}
}

// TestLostAnswers has the target lose its answer to one message, having done the work, not having
// done it, and doing it later.
func TestLostAnswers(t *testing.T) {
	lost := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("the answer is lost")}
	for name, fault := range map[string]migratetest.Fault{
		"done":       {Err: lost, Do: true},
		"not done":   {Err: lost},
		"done later": {Err: lost, Do: true, After: 3 * time.Second},
	} {
		for _, subject := range []string{"letter 4", "twin", "nameless"} {
			bubble(t, name+"/"+subject, func(t *testing.T, w *migratetest.World) {
				b := oneMailbox(t, w, 9)
				b.Target.Parallel = 3
				inbox, other := b.Source.Folder("INBOX"), b.Source.AddFolder("", "Other")
				for range 3 {
					inbox.Add(migratetest.Message("twin", "twin", 300), received)
					other.Add(migratetest.Message("twin", "twin", 300), received)
					other.Add(migratetest.Message("", "nameless", 300), received)
				}
				left := 2
				b.Target.Fault = func(content []byte) migratetest.Fault {
					if left == 0 || !bytes.Contains(content, []byte("Subject: "+subject+"\r\n")) {
						return migratetest.Fault{}
					}
					left--
					return fault
				}
				w.Settle(t)
				w.CheckExact(t, b)
				if puts := b.Target.Puts(); left == 2 || puts > 9+9+2 {
					t.Errorf("%d faults were not used, %d puts", left, puts)
				}
			})
		}
	}
}

// TestLostStoreAnswers loses each answer of the store once, with the work done or not.
func TestLostStoreAnswers(t *testing.T) {
	broken := &migrate.Error{Op: "reach the store", Kind: migrate.Unreachable, Err: errors.New("connection reset")}
	for _, op := range []string{"append", "put", "acquire"} {
		for _, done := range []bool{true, false} {
			for n := 1; n <= 8; n++ {
				bubble(t, fmt.Sprintf("%s/%t/%d", op, done, n), func(t *testing.T, w *migratetest.World) {
					b := oneMailbox(t, w, 9)
					var count atomic.Int64
					hook := func(o, name string) error {
						if o != op {
							return nil
						}
						if count.Add(1) == int64(n) {
							return broken
						}
						return nil
					}
					if done {
						w.Store.After = hook
					} else {
						w.Store.Before = hook
					}
					w.Settle(t)
					w.CheckExact(t, b)
					wantState(t, w, b, migrate.Synced)
				})
			}
		}
	}
}

func TestWrongPasswordFailsAlone(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		ann, bob := oneMailbox(t, w, 5), w.AddMailbox(t, "bob")
		bob.Source.WrongPassword = true
		w.Settle(t)
		w.CheckExact(t, ann)
		wantState(t, w, ann, migrate.Synced)
		c := wantState(t, w, bob, migrate.Failed)
		if c.Problem == nil || c.Problem.Kind != migrate.SignIn || c.Problem.Advice == "" {
			t.Errorf("problem %+v", c.Problem)
		}
		bob.Source.WrongPassword = false
		bob.Source.Folder("INBOX").Add(migratetest.Message("b", "for bob", 100), received)
		if err := migrate.Retry(t.Context(), w.Store, bob.Mailbox.ID); err != nil {
			t.Fatal(err)
		}
		w.Settle(t)
		w.CheckExact(t, bob)
		wantState(t, w, bob, migrate.Synced)
	})
}

// TestLabelsOnce has messages that lie in several folders: each comes once, whatever dies.
func TestLabelsOnce(t *testing.T) {
	for k := range 60 {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			w.Kills = []int{k, k}
			w.Endpoint = func(e *migrate.Endpoint) { e.Labels = migrate.LabelsOnce }
			b := oneMailbox(t, w, 3)
			work, zoo := b.Source.AddFolder("", "Work"), b.Source.AddFolder("", "Zoo")
			all := b.Source.AddFolder(migrate.UseAll, "All Mail")
			label := func(subject string, folders ...*migratetest.SourceFolder) {
				for _, f := range append(folders, all) {
					f.Add(migratetest.Message(subject, subject, 300), received)
				}
			}
			for _, m := range b.Source.Folder("INBOX").Messages() {
				work.Add(m.Content, m.Received)
				all.Add(m.Content, m.Received)
			}
			label("both", work, zoo)
			label("second", zoo)
			label("archived")
			lost := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("lost")}
			left := 2
			b.Target.Fault = func(content []byte) migratetest.Fault {
				if left > 0 && (bytes.Contains(content, []byte("both")) || bytes.Contains(content, []byte("letter 2"))) {
					left--
					return migratetest.Fault{Err: lost, Do: true, After: 3 * time.Second}
				}
				return migratetest.Fault{}
			}
			w.Settle(t)
			wantContents(t, b, "(archive): archived", "(inbox): letter 0 letter 1 letter 2", "work: both", "zoo: second")
			label("later", zoo)
			zoo.Add(b.Source.Folder("INBOX").Messages()[0].Content, received)
			w.Sync(t)
			w.Complete(t)
			wantContents(t, b, "(archive): archived", "(inbox): letter 0 letter 1 letter 2", "work: both", "zoo: later second")
			c := wantState(t, w, b, migrate.Completed)
			if n := c.Counts(); n.Messages() != 18 || n.Failed != 0 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// TestMoveRoot gives a mailbox whose UserRoot was wrong another one, until its folders are known.
func TestMoveRoot(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		move := func(root string) *migrate.Checkpoint {
			t.Helper()
			if err := migrate.MoveRoot(t.Context(), w.Store, b.Mailbox.ID, root); err != nil {
				t.Fatal(err)
			}
			return w.Checkpoint(t, b.Mailbox.ID)
		}
		b.Dial = func(ctx context.Context, _ migrate.Endpoint, m migrate.Mailbox) (migrate.Source, error) {
			if m.UserRoot != "right" {
				return nil, &migrate.Error{Op: "list folders", Kind: migrate.Configuration, Reason: migrate.NoRoot, Err: errors.New("no such root")}
			}
			return b.Source.Dial(ctx)
		}
		w.Run(t, time.Hour, func() bool { return w.Checkpoint(t, b.Mailbox.ID).Failures > 1 })
		if c := w.Checkpoint(t, b.Mailbox.ID); c.Problem.Reason != migrate.NoRoot || c.Problem.Advice == "" {
			t.Errorf("%+v", c.Problem)
		}
		if c := move("right"); c.Mailbox.UserRoot != "right" || c.Problem != nil || c.Due.After(time.Now()) {
			t.Errorf("%+v", c)
		}
		w.Settle(t)
		wantState(t, w, b, migrate.Synced)
		w.CheckExact(t, b)
		if c := move("another"); c.Mailbox.UserRoot != "right" || c.State != migrate.Synced {
			t.Errorf("%+v", c.Mailbox)
		}
	})
}

// TestBudgetHandsOver gives a run less time than the mailbox takes.
func TestBudgetHandsOver(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Connections = 1
		b := oneMailbox(t, w, 60)
		b.Source.Latency, b.Target.Latency = time.Second, time.Second
		w.Limits.Budget = 20 * time.Second
		w.Settle(t)
		w.CheckExact(t, b)
		c := wantState(t, w, b, migrate.Synced)
		if c.Epoch < 5 || c.Failures != 0 || c.Deaths != 0 {
			t.Errorf("%d runs, %d failures, %d deaths", c.Epoch, c.Failures, c.Deaths)
		}
		if n := b.Source.MostConnections(); n != 1 {
			t.Errorf("%d connections at once", n)
		}
	})
}

// TestNewUIDValidity renumbers a folder between two syncs and while a run is at it, and kills the
// run that finds out at every side effect.
func TestNewUIDValidity(t *testing.T) {
	bubble(t, "while fetching", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 20)
		n := 0
		b.Source.Before = func(op, _ string, uid migrate.UID) error {
			if uid != 0 {
				if n++; n == 7 || n == 15 {
					b.Source.Folder("INBOX").Renumber()
				}
			}
			return nil
		}
		w.Settle(t)
		w.CheckExact(t, b)
	})
	for k := range 40 {
		bubble(t, fmt.Sprintf("killed at %d", k), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 9)
			for range 3 {
				b.Source.Folder("INBOX").Add(migratetest.Message("twin", "twin", 300), received)
			}
			w.Settle(t)
			b.Source.Folder("INBOX").Renumber()
			b.Source.Folder("INBOX").Add(migratetest.Message("new", "new", 300), received)
			w.Kills = []int{0, k}
			w.Sync(t)
			w.CheckExact(t, b)
			wantState(t, w, b, migrate.Synced)
		})
	}
}

// TestQueueWiped loses every wake-up in mid-run.
func TestQueueWiped(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Slots = 2
		var boxes []*migratetest.Box
		for i := range 6 {
			b := w.AddMailbox(t, fmt.Sprint("user", i))
			b.Source.Latency, b.Target.Latency = time.Second, time.Second
			for j := range 10 {
				b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(i, "-", j), "letter", 300), received)
			}
			boxes = append(boxes, b)
		}
		w.Limits.Budget = 10 * time.Second
		wiped := 0
		boxes[0].Target.AtPut = func() {
			if n := boxes[0].Target.Puts(); n == 3 || n == 7 {
				w.Queue.Wipe()
				wiped++
			}
		}
		w.Queue.Fault = func(migrate.WakeUp) (int, time.Duration, error) {
			if w.Queue.Sent()%5 == 4 {
				return 0, 0, nil // this one gets lost
			}
			return 1, 0, nil
		}
		w.Settle(t)
		for _, b := range boxes {
			w.CheckExact(t, b)
			wantState(t, w, b, migrate.Synced)
		}
		if wiped != 2 {
			t.Errorf("wiped %d times", wiped)
		}
	})
}

// TestDuplicatesAndDelays delivers every wake-up three times, to two processes.
func TestDuplicatesAndDelays(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Processes, w.Connections = 2, 1
		twoMailboxes(t, w)
		n := 0
		w.Queue.Fault = func(x migrate.WakeUp) (int, time.Duration, error) {
			n++
			if x.Attempt > 1 {
				return 1, 0, nil
			}
			return 3, time.Duration(n%3) * time.Second, nil
		}
		w.Settle(t)
		for _, b := range w.Boxes {
			w.CheckExact(t, b)
			wantState(t, w, b, migrate.Synced)
			if n := b.Source.MostConnections(); n != 1 {
				t.Errorf("%d connections at once", n)
			}
		}
	})
}

// TestSlots has 200 mailboxes go through 5 slots with 3 processes.
func TestSlots(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Slots, w.Processes, w.Runs = 5, 3, 8
		now, most := 0, 0
		for i := range 200 {
			b := w.AddMailbox(t, fmt.Sprintf("user%03d", i))
			b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(i), "letter", 300), received)
			b.Target.Latency = time.Second
		}
		count := make(chan int)
		go func() {
			for d := range count {
				now += d
				most = max(most, now)
			}
		}()
		for _, b := range w.Boxes {
			b.Source.Connected = func(d int) { count <- d }
		}
		began := time.Now()
		w.Settle(t)
		close(count)
		synctest.Wait()
		if most != 5 {
			t.Errorf("%d mailboxes at once", most)
		}
		// A run takes about three seconds; a slot that is free is taken at once, not at the next tick.
		if took := time.Since(began); took > 4*time.Minute {
			t.Errorf("took %s", took)
		}
		for _, b := range w.Boxes {
			w.CheckExact(t, b)
		}
	})
}

// TestLostLease has the store refuse to renew: no target command starts any more, and the checkpoint
// stays as it is.
func TestLostLease(t *testing.T) {
	for name, refusal := range map[string]error{
		"lost":        migrate.ErrLeaseLost,
		"unreachable": &migrate.Error{Op: "renew", Kind: migrate.Unreachable, Err: errors.New("connection reset")},
	} {
		bubble(t, name, func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 60)
			b.Target.Latency = time.Second
			var mu sync.Mutex
			var refused time.Time
			w.Store.Before = func(op, blob string) error {
				mu.Lock()
				defer mu.Unlock()
				late := !refused.IsZero() && time.Since(refused) > 20*time.Second
				switch {
				case op == "renew" && strings.HasPrefix(blob, "leases/") && !late:
					if refused.IsZero() {
						refused = time.Now()
					}
					return refusal
				case op == "put" && strings.HasPrefix(blob, "mailboxes/") && !refused.IsZero() && time.Since(refused) > 16*time.Second && !late:
					t.Errorf("the checkpoint is written %s after the renewal was refused", time.Since(refused))
				}
				return nil
			}
			b.Target.AtPut = func() {
				mu.Lock()
				defer mu.Unlock()
				if late := time.Since(refused); !refused.IsZero() && late > 11*time.Second && late < 20*time.Second {
					t.Errorf("a message is put %s after the renewal was refused", late)
				}
			}
			w.Settle(t)
			w.CheckExact(t, b)
			if refused.IsZero() {
				t.Error("no lease was renewed")
			}
		})
	}
}

// TestLeaseLostAgainAndAgain has every run of a mailbox lose its lease before it got anywhere, because
// the store was slow: these are no deaths, and the mailbox is not given up.
func TestLeaseLostAgainAndAgain(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 1)
		b.Source.Latency = 30 * time.Second
		var slow atomic.Int32
		w.Store.Before = func(op, blob string) error {
			if op == "renew" && strings.HasPrefix(blob, "leases/") && slow.Add(1) <= 5 {
				time.Sleep(25 * time.Second)
			}
			return nil
		}
		w.Settle(t)
		w.CheckExact(t, b)
		if c := wantState(t, w, b, migrate.Synced); c.Deaths != 0 || slow.Load() <= 5 {
			t.Errorf("%d deaths, %d renewals", c.Deaths, slow.Load())
		}
	})
}

// TestBadMessages has messages that cannot be brought over: each has an outcome, the others arrive.
func TestBadMessages(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 12)
		inbox := b.Source.Folder("INBOX")
		omitted := inbox.Add(migratetest.Message("o", "omitted", 300), received)
		omitted.Omit = true
		short := inbox.Add(migratetest.Message("s", "short", 300), received)
		short.Short = -1
		shaky := inbox.Add(migratetest.Message("h", "shaky", 300), received)
		shaky.Short = 2
		gone := inbox.Add(migratetest.Message("g", "gone", 300), received)
		inbox.Add(migratetest.Message("l", "large", 300), received)
		inbox.Add(migratetest.Message("r", "refused", 300), received)
		inbox.Add(migratetest.Message("h", "huge", 1000), received)
		w.Memory, w.Disk = 900, 990
		b.Target.Fault = func(content []byte) migratetest.Fault {
			for subject, kind := range map[string]migrate.Kind{"large": migrate.TooLarge, "refused": migrate.Refused} {
				if bytes.Contains(content, []byte("Subject: "+subject)) {
					return migratetest.Fault{Err: &migrate.Error{Op: "append", Kind: kind, Err: errors.New("no")}}
				}
			}
			return migratetest.Fault{}
		}
		b.Source.Before = func(_, _ string, uid migrate.UID) error {
			if uid == gone.UID {
				inbox.Remove(uid)
			}
			return nil
		}
		w.Settle(t)
		c := wantState(t, w, b, migrate.Synced)
		if n := c.Counts(); n.Migrated != 13 || n.Failed != 5 || n.Skipped != 1 || n.Found != 0 {
			t.Errorf("counts %+v", n)
		}
		if n := len(b.Target.Messages()); n != 13 {
			t.Errorf("%d messages at the target", n)
		}
		w.Complete(t)
		c = wantState(t, w, b, migrate.CompletedWithWarnings)
		if v := c.Verified; v.Source != 18 || v.Recorded != 18 || !v.Clean() {
			t.Errorf("verification %+v", v)
		}
	})
}

// TestPauses has the target ask for one: no run starts before its end.
func TestPauses(t *testing.T) {
	for kind, pause := range map[migrate.Kind]time.Duration{migrate.Throttled: 20 * time.Minute, migrate.Full: 5 * time.Minute, migrate.Unreachable: 10 * time.Second} {
		bubble(t, string(kind), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 9)
			var until time.Time
			b.Target.Fault = func([]byte) migratetest.Fault {
				if until.IsZero() {
					until = time.Now().Add(pause)
				}
				if time.Now().Before(until) {
					return migratetest.Fault{Err: &migrate.Error{Op: "append", Kind: kind, RetryAfter: pause, Err: errors.New("later")}}
				}
				return migratetest.Fault{}
			}
			if err := migrate.OrderComplete(t.Context(), w.Store, migratetest.EndpointName, migratetest.Batch); err != nil {
				t.Fatal(err) // not even that makes it impatient
			}
			w.Complete(t)
			w.CheckExact(t, b)
			wantState(t, w, b, migrate.Completed)
			if n := b.Target.Puts(); n > 9+4 {
				t.Errorf("%d puts", n)
			}
		})
	}
}

// TestFolderGone deletes a source folder between two syncs: the others go on, and the mailbox completes.
func TestFolderGone(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 5)
		old := b.Source.AddFolder("", "Old")
		old.Add(migratetest.Message("x", "old", 300), received)
		w.Settle(t)
		old.Delete()
		b.Source.Folder("INBOX").Add(migratetest.Message("new", "new", 300), received)
		w.Sync(t)
		if n := len(b.Target.Messages()); n != 7 {
			t.Errorf("%d messages at the target", n)
		}
		w.Complete(t)
		wantState(t, w, b, migrate.Completed)
	})
}

// TestAllMail has a folder that shows what the others hold, and one message that only it holds.
func TestAllMail(t *testing.T) {
	for k := range 45 {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			w.Kills = []int{k}
			b := oneMailbox(t, w, 6)
			all := b.Source.AddFolder(migrate.UseAll, "All Mail")
			for _, m := range b.Source.Folder("INBOX").Messages() {
				all.Add(m.Content, m.Received)
			}
			all.Add(migratetest.Message("archived", "archived", 300), received)
			lost := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("lost")}
			left := 1
			b.Target.Fault = func(content []byte) migratetest.Fault {
				if left > 0 && bytes.Contains(content, []byte("letter 2")) {
					left--
					return migratetest.Fault{Err: lost, Do: true, After: 3 * time.Second}
				}
				return migratetest.Fault{}
			}
			w.Settle(t)
			if n := len(b.Target.Messages()); n != 7 {
				t.Errorf("%d messages at the target", n)
			}
			// A twin whose answer gets lost is not taken for the one that was brought over.
			first := b.Source.Folder("INBOX").Messages()[0]
			b.Source.Folder("INBOX").Add(first.Content, first.Received)
			all.Add(first.Content, first.Received)
			b.Target.Fault = func(content []byte) migratetest.Fault {
				if left == 0 {
					left--
					return migratetest.Fault{Err: lost, Do: true}
				}
				return migratetest.Fault{}
			}
			w.Sync(t)
			if n := len(b.Target.Messages()); n != 8 {
				t.Errorf("%d messages at the target", n)
			}
			w.Complete(t)
			c := wantState(t, w, b, migrate.Completed)
			if v := c.Verified; v.Moved != 0 || v.Source != 15 {
				t.Errorf("verification %+v", v)
			}
		})
	}
}

// TestStatesThatTakeLong has a server that takes longer than a run may to tell the states of the folders: mail comes all
// the same.
func TestStatesThatTakeLong(t *testing.T) {
	for _, minutes := range []int{1, 3, 5, 7} {
		bubble(t, fmt.Sprint(minutes), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 3)
			b.Source.PlainList = true
			w.Settle(t)
			b.Source.Before = func(op, _ string, _ migrate.UID) error {
				if op == "ask for states" {
					time.Sleep(time.Duration(minutes) * time.Minute)
				}
				return nil
			}
			for i := range 30 {
				mail(b.Source.Folder("INBOX"), fmt.Sprint("new", i))
			}
			b.Target.Latency = 5 * time.Second
			longest := longestRun(b)
			w.Sync(t)
			if n := len(b.Target.Messages()); n != 33 || *longest > 8*time.Minute+20*time.Second {
				t.Errorf("the target has %d messages, a run took %s", n, *longest)
			}
		})
	}
}
