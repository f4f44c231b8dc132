package migrate_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// withPreflight has an endpoint that asks for it.
func withPreflight(w *migratetest.World) *migratetest.World {
	w.Endpoint = func(e *migrate.Endpoint) { e.Preflight = true }
	return w
}

// inPreflight is bubble with a pre-flight.
func inPreflight(t *testing.T, name string, test func(*testing.T, *migratetest.World)) {
	bubble(t, name, func(t *testing.T, w *migratetest.World) { test(t, withPreflight(w)) })
}

// wantUntouched checks that nothing of a mailbox has been moved.
func wantUntouched(t *testing.T, w *migratetest.World, b *migratetest.Box) *migrate.Checkpoint {
	t.Helper()
	if b.Target.Puts() != 0 || b.Target.Asked() != 0 || b.Target.Finds() != 0 {
		t.Errorf("%s: %d messages and %d folders were written, %d looked for", b.Mailbox.Login, b.Target.Puts(), b.Target.Asked(), b.Target.Finds())
	}
	return wantState(t, w, b, migrate.Queued)
}

func detailOf(t *testing.T, w *migratetest.World) *migrate.BatchStatus {
	t.Helper()
	d, err := migrate.Detail(t.Context(), w.Store, migratetest.EndpointName, migratetest.Batch)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// copied is a message that an earlier migration stored on one day, long after it was written.
func copied(f *migratetest.SourceFolder, login string, i int) {
	sent := received.AddDate(0, -i, 0)
	content := fmt.Sprintf("Received: by old; %s\r\nMessage-ID: <c%d@%s>\r\nFrom: a@example.com\r\nDate: %s\r\nSubject: copied %d\r\n\r\ntext",
		sent.Format(time.RFC1123Z), i, login, sent.Format(time.RFC1123Z), i)
	f.Add([]byte(content), received.Add(time.Duration(i)*time.Second))
}

// TestPreflight looks at two mailboxes, tells what there is to tell, and moves them on an order only.
func TestPreflight(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		for _, login := range []string{"ann", "bob"} {
			b := w.AddMailbox(t, login)
			old, team := b.Source.AddFolder("", "Old"), b.Source.AddFolder("", "Team of "+login)
			for i := range 30 {
				copied(old, login, i)
				mail(team, fmt.Sprint("shared ", i))
			}
			mail(b.Source.AddFolder("", "Calendar"), "no date")
			mail(b.Source.AddFolder(migrate.UseSent, "Sent"), "sent")
			mail(b.Source.AddFolder(migrate.UseSent, "Sent Messages"), "sent too")
			mail(b.Source.AddFolder(migrate.UseAll, "All"), "shown only")
		}
		w.Preflight(t)
		time.Sleep(w.SyncEvery) // for which nobody wakes them
		w.Preflight(t)
		for _, b := range w.Boxes {
			c := wantUntouched(t, w, b)
			p := c.Preflight
			if p.Folders != 7 || p.Messages != 63 || p.Octets == 0 || p.Renamed != 1 || p.Merged != 1 || p.Astray != 29 || c.Epoch != 1 || c.Seq != 1 || c.Problem != nil {
				t.Errorf("%s: %+v, epoch %d, wake-up %d, %+v", b.Mailbox.Login, p, c.Epoch, c.Seq, c.Problem)
			}
			r, _, err := migrate.LoadPreflight(t.Context(), w.Store, b.Mailbox.ID)
			if err != nil || !r.Whole || len(r.Folders) != 7 || len(r.Spoilt) != 1 {
				t.Errorf("%s: %+v, %v", b.Mailbox.Login, r, err)
			}
		}
		d := detailOf(t, w)
		p := d.Preflight
		if d.State != "Created" || d.Total != 126 || d.Messages != 0 || p == nil || p.Started || p.Looked != 2 || p.Folders != 14 || p.Renamed != 2 || len(p.Problems) != 0 {
			t.Fatalf("%+v, %+v", d, p)
		}
		if s := p.Spoilt; len(s) != 1 || s[0].First.String() != "2018-02-05" || s[0].Mailboxes != 2 || s[0].Messages != 60 || s[0].Astray != 58 ||
			!strings.Contains(s[0].Advice, `["received-header", "date-header"]`) {
			t.Errorf("spoilt dates: %+v", s)
		}
		if want := "[{30 [ann@example.com: Team of ann bob@example.com: Team of bob] 0}"; !strings.Contains(fmt.Sprint(d.Same), want) {
			t.Errorf("same folders: %v, want %s", d.Same, want)
		}
		notes := fmt.Sprintf("%+v", p.Notes)
		for _, want := range []string{"{Folder:Calendar Target:Calendar (mail) Text:the name had to be changed: ", `{Folder:Sent Messages Target:Sent Items Text:shares its folder with "Sent"} Mailboxes:2}`} {
			if !strings.Contains(notes, want) {
				t.Errorf("notes %s miss %s", notes, want)
			}
		}
		w.Start(t)
		for _, b := range w.Boxes {
			if c := wantState(t, w, b, migrate.Synced); c.Preflight != nil || len(b.Target.Messages()) < 63 {
				t.Errorf("%s: %+v, %d messages", b.Mailbox.Login, c.Preflight, len(b.Target.Messages()))
			}
		}
		if d := detailOf(t, w); d.Preflight != nil || d.State != "Synced" {
			t.Errorf("in the end %+v", d)
		}
	})
}

// TestPreflightKilledAtEverySideEffect kills the process after each side effect of pre-flight and of the
// sync behind it. Before the start nothing is moved, then every message once.
func TestPreflightKilledAtEverySideEffect(t *testing.T) {
	total := 0
	killed := func(t *testing.T, kills ...int) {
		synctest.Test(t, func(t *testing.T) {
			w := withPreflight(migratetest.NewWorld())
			w.Kills = kills
			twoMailboxes(t, w)
			w.Preflight(t)
			for _, b := range w.Boxes {
				if c := wantUntouched(t, w, b); c.Preflight.Messages != 17 || c.Problem != nil {
					t.Errorf("%s: %+v, %+v", b.Mailbox.Login, c.Preflight, c.Problem)
				}
				if r, _, err := migrate.LoadPreflight(t.Context(), w.Store, b.Mailbox.ID); err != nil || !r.Whole {
					t.Errorf("%s: %+v, %v", b.Mailbox.Login, r, err)
				}
			}
			w.Start(t)
			for _, b := range w.Boxes {
				wantState(t, w, b, migrate.Synced)
				w.CheckExact(t, b)
			}
			total = max(total, w.Effects())
		})
	}
	killed(t)
	if total < 60 {
		t.Fatalf("only %d side effects", total)
	}
	for k := 1; k <= total; k++ {
		t.Run(fmt.Sprint(k), func(t *testing.T) { killed(t, k) })
		if k < 40 && k%3 == 0 { // and its successor, too
			t.Run(fmt.Sprintf("%d and %d", k, 3+k%7), func(t *testing.T) { killed(t, k, 3+k%7) })
		}
	}
}

// dials counts sign-ins, by login.
func dials(b *migratetest.Box) *int {
	n := new(int)
	b.Source.Before = func(op, _ string, _ migrate.UID) error {
		if op == "dial" {
			*n++
		}
		return nil
	}
	return n
}

// TestPreflightRefused has wrong passwords: each is tried once, whatever is ordered, until another one comes.
func TestPreflightRefused(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		w.Brake = true
		good, wrong, mended := oneMailbox(t, w, 5), w.AddMailbox(t, "wrong"), w.AddMailbox(t, "mended")
		wrong.Source.WrongPassword, mended.Source.WrongPassword = true, true
		tries, others := dials(wrong), dials(mended)
		w.Preflight(t)
		order := func() {
			t.Helper()
			if err := migrate.OrderPreflight(t.Context(), w.Drop, w.Store, migratetest.EndpointName, migratetest.Batch); err != nil {
				t.Fatal(err)
			}
			first := w.Checkpoint(t, good.Mailbox.ID).Preflight.At
			w.Run(t, time.Hour, func() bool { p := w.Checkpoint(t, good.Mailbox.ID).Preflight; return p.At.After(first) })
		}
		order()
		order()
		p := detailOf(t, w).Preflight
		if p.Looked != 3 || len(p.Problems) != 1 || p.Problems[0].Mailboxes != 2 || p.Problems[0].Reason != migrate.WrongPassword || p.Problems[0].Advice == "" {
			t.Errorf("%+v", p)
		}
		for _, b := range w.Boxes {
			wantUntouched(t, w, b)
		}
		if *tries != 1 || *others != 1 {
			t.Errorf("tried %d and %d times", *tries, *others)
		}
		// A CSV brings another password.
		mended.Source.WrongPassword = false
		if err := migrate.Retry(t.Context(), w.Store, mended.Mailbox.ID); err != nil {
			t.Fatal(err)
		}
		if err := migrate.Retry(t.Context(), w.Store, good.Mailbox.ID); err != nil {
			t.Fatal(err)
		}
		w.Preflight(t)
		if c := w.Checkpoint(t, mended.Mailbox.ID); c.Problem != nil || *others != 2 {
			t.Errorf("%+v after %d tries", c.Problem, *others)
		}
		w.Start(t)
		wantState(t, w, good, migrate.Synced)
		wantState(t, w, mended, migrate.Synced)
		if c := wantState(t, w, wrong, migrate.Failed); *tries != 1 || c.Problem.Reason != migrate.WrongPassword {
			t.Errorf("%+v after %d tries", c.Problem, *tries)
		}
		wrong.Source.WrongPassword = false
		if err := migrate.Retry(t.Context(), w.Store, wrong.Mailbox.ID); err != nil {
			t.Fatal(err)
		}
		w.Settle(t)
		wantState(t, w, wrong, migrate.Synced)
	})
}

// TestPreflightMapping finds a mapping that collides, and is repeated when it was mended.
func TestPreflightMapping(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		for _, name := range []string{"A", "B"} {
			mail(b.Source.AddFolder("", name), name)
		}
		rules := func(merge bool) {
			setEndpoint(t, w, func(e *migrate.Endpoint) {
				e.Preflight, e.FolderMap = true, []migrate.FolderMapping{{From: "A", To: "X", Merge: merge}, {From: "B", To: "X", Merge: merge}}
			})
		}
		rules(false)
		w.Preflight(t)
		c := wantUntouched(t, w, b)
		if c.Problem == nil || c.Problem.Kind != migrate.Configuration || !strings.Contains(c.Problem.Text, `"B" and "A"`) || c.Preflight.Messages != 5 {
			t.Fatalf("%+v, %+v", c.Problem, c.Preflight)
		}
		if p := detailOf(t, w).Preflight; len(p.Problems) != 1 || p.Problems[0].Kind != migrate.Configuration {
			t.Errorf("%+v", p)
		}
		rules(true)
		if err := migrate.OrderPreflight(t.Context(), w.Drop, w.Store, migratetest.EndpointName, migratetest.Batch); err != nil {
			t.Fatal(err)
		}
		w.Run(t, time.Hour, func() bool { c := w.Checkpoint(t, b.Mailbox.ID); return c.Phase == migrate.Waiting && c.Problem == nil })
		if c := wantUntouched(t, w, b); c.Preflight.Merged != 1 {
			t.Errorf("%+v", c.Preflight)
		}
		w.Start(t)
		wantState(t, w, b, migrate.Synced)
	})
}

// TestPreflightTakenBack removes the setting: mailboxes move at once, looked at or not. Nothing of a
// mailbox that has begun to move is held when the setting comes.
func TestPreflightTakenBack(t *testing.T) {
	inPreflight(t, "removed", func(t *testing.T, w *migratetest.World) {
		w.Slots = 1
		for i := range 4 {
			b := w.AddMailbox(t, fmt.Sprint("user", i))
			b.Source.Latency = 10 * time.Second
			mail(b.Source.Folder("INBOX"), "letter")
		}
		looked := func() (n int) {
			for id := range w.Boxes {
				if p := w.Checkpoint(t, id).Preflight; p != nil && !p.At.IsZero() {
					n++
				}
			}
			return n
		}
		w.Run(t, time.Hour, func() bool { return looked() == 2 })
		for _, b := range w.Boxes {
			wantUntouched(t, w, b)
		}
		setEndpoint(t, w, func(*migrate.Endpoint) {})
		w.Settle(t)
		for _, b := range w.Boxes {
			wantState(t, w, b, migrate.Synced)
			w.CheckExact(t, b)
		}
	})
	bubble(t, "comes late", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 5)
		w.Settle(t)
		setEndpoint(t, w, func(e *migrate.Endpoint) { e.Preflight = true })
		mail(b.Source.Folder("INBOX"), "late")
		w.Sync(t)
		w.CheckExact(t, b)
		b.Source.WrongPassword = true
		w.Sync(t)
		wantState(t, w, b, migrate.Failed)
		b.Source.WrongPassword = false
		mail(b.Source.Folder("INBOX"), "later")
		if err := migrate.Retry(t.Context(), w.Store, b.Mailbox.ID); err != nil {
			t.Fatal(err)
		}
		w.Settle(t)
		wantState(t, w, b, migrate.Synced)
		w.CheckExact(t, b)
	})
	inPreflight(t, "back and forth", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 5)
		tries := dials(b)
		w.Preflight(t)
		p := &migrate.Planner{Store: w.Store, Drop: w.Drop, Waker: w.Queue, Grace: time.Minute}
		setEndpoint(t, w, func(*migrate.Endpoint) {})
		tick(t, p)
		woken := w.Queue.Drain()
		setEndpoint(t, w, func(e *migrate.Endpoint) { e.Preflight = true })
		r := newRunner(w.Store)
		r.Drop = w.Drop
		if err := r.Run(t.Context(), t.Context(), woken[0]); err != nil {
			t.Fatal(err)
		}
		if c := wantUntouched(t, w, b); c.Phase != migrate.Waiting || c.Preflight.At.IsZero() || *tries != 1 {
			t.Errorf("%s, %+v after %d tries", c.Phase, c.Preflight, *tries)
		}
		w.Start(t)
		w.CheckExact(t, b)
	})
}

// TestPreflightWaits has a tick read no checkpoint of those that wait for the start, however many.
func TestPreflightWaits(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		for i := range 20 {
			w.AddMailbox(t, fmt.Sprint("user", i))
		}
		w.Preflight(t)
		read := 0
		w.Store.Before = func(op, name string) error {
			if op == "get" && strings.HasPrefix(name, "mailboxes/") {
				read++
			}
			return nil
		}
		tick(t, &migrate.Planner{Store: w.Store, Drop: w.Drop, Waker: w.Queue, Grace: time.Minute})
		if read > 0 || len(w.Queue.Drain()) > 0 {
			t.Errorf("%d checkpoints were read", read)
		}
	})
}

// TestPreflightInPieces has a budget for a few folders only: each is looked into once all the same. One
// that ends every connection is left alone.
func TestPreflightInPieces(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		w.Limits.Budget = 30 * time.Second
		b := w.AddMailbox(t, "ann")
		b.Source.Latency = 5 * time.Second
		for i := range 20 {
			f := b.Source.AddFolder("", fmt.Sprintf("f%02d", i))
			for j := range 6 {
				mail(f, fmt.Sprint(i, " ", j))
			}
		}
		b.Source.Folder("f07").Refuse(true)
		opened := make(map[string]int)
		b.Source.Before = func(op, folder string, _ migrate.UID) error {
			if op != "fetch headers" {
				return nil
			}
			opened[folder]++
			if folder == "f13" {
				return fmt.Errorf("crash")
			}
			return nil
		}
		w.Preflight(t)
		c := wantUntouched(t, w, b)
		if c.Preflight.Folders != 21 || c.Preflight.Messages != 120 || c.Epoch < 5 || c.Deaths != 0 || c.Problem != nil {
			t.Errorf("%+v, %d runs", c.Preflight, c.Epoch)
		}
		for folder, n := range opened {
			if want := map[bool]int{true: 3, false: 1}[folder == "f13"]; n != want {
				t.Errorf("%s was looked into %d times", folder, n)
			}
		}
		if notes := fmt.Sprint(detailOf(t, w).Preflight.Notes); strings.Count(notes, "could not be looked into") != 2 {
			t.Errorf("notes %s", notes)
		}
	})
}

// TestPreflightDeadly has looking at a mailbox end every process. It does not fail by that.
func TestPreflightDeadly(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 5)
		b.Source.Before = func(op, _ string, _ migrate.UID) error {
			if op == "fetch headers" {
				w.KillHolder(b.Mailbox.ID)
			}
			return nil
		}
		w.Preflight(t)
		if c := wantUntouched(t, w, b); c.Problem == nil || c.Problem.Kind != migrate.Died {
			t.Errorf("%+v", c.Problem)
		}
		w.Start(t) // moving it fetches no headers
		wantState(t, w, b, migrate.Synced)
	})
}

// TestNoPreflight asks for nothing that has to do with it.
func TestNoPreflight(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		var mu sync.Mutex
		var asked []string
		w.Store.Before = func(op, name string) error {
			mu.Lock()
			defer mu.Unlock()
			if strings.HasPrefix(name, "preflights/") || strings.HasSuffix(name, "/start.json") || strings.HasSuffix(name, "/preflight.json") {
				asked = append(asked, op+" "+name)
			}
			return nil
		}
		b := oneMailbox(t, w, 5)
		w.Settle(t)
		detailOf(t, w)
		w.Complete(t)
		w.CheckExact(t, b)
		if len(asked) > 0 {
			t.Errorf("asked for %v", asked)
		}
	})
}

// TestPreflightReportIsRaced has the answer to the writing of a report get lost, and another run's report
// come in between, as of one that lost its lease and does not know yet.
func TestPreflightReportIsRaced(t *testing.T) {
	raced := func(name string, epochs int64, race func(w *migratetest.World, op, blob string) error) {
		inPreflight(t, name, func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 5)
			once := false
			hook := func(op, blob string) error {
				if op != "put" || !strings.HasPrefix(blob, "preflights/") || once {
					return nil
				}
				once = true
				return race(w, op, blob)
			}
			if epochs == 1 {
				w.Store.After = hook
			} else {
				w.Store.Before = hook
			}
			w.Preflight(t)
			c := wantUntouched(t, w, b)
			r, _, err := migrate.LoadPreflight(t.Context(), w.Store, b.Mailbox.ID)
			if err != nil || !r.Whole || len(r.Folders) != 1 || c.Epoch != epochs || c.Preflight.Messages != 5 || c.Problem != nil {
				t.Errorf("%+v, %v in run %d: %+v", r, err, c.Epoch, c.Problem)
			}
		})
	}
	raced("by itself", 1, func(*migratetest.World, string, string) error { return migrate.ErrConflict })
	raced("by another", 2, func(w *migratetest.World, _, blob string) error {
		_, err := w.Store.Put(t.Context(), blob, []byte(`{"v":1,"mailbox":"old","folders":[]}`), nil, migrate.Condition{})
		return err
	})
}
