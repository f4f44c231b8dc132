package migrate_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestCompletion takes two mailboxes from their first sync over new mail to a clean verification.
func TestCompletion(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		twoMailboxes(t, w)
		w.Settle(t)
		for _, b := range w.Boxes {
			b.Source.Folder("INBOX").Add(migratetest.Message("late", "late", 300), received)
		}
		w.Sync(t)
		w.Complete(t)
		for _, b := range w.Boxes {
			w.CheckExact(t, b)
			c := wantState(t, w, b, migrate.Completed)
			want := migrate.Verification{At: c.Verified.At, Source: 18, Recorded: 18, Present: 18}
			if *c.Verified != want || !c.Verified.Clean() {
				t.Errorf("verification %+v, want %+v", *c.Verified, want)
			}
			r := readReport(t, w, b)
			if r.State != migrate.Completed || r.Counts.Migrated != 18 || len(r.Folders) != 4 || len(r.Exceptions) != 0 {
				t.Errorf("report %+v", r)
			}
		}
		status, err := migrate.Detail(t.Context(), w.Store, migratetest.EndpointName, migratetest.Batch)
		if err != nil || status.State != "Completed" || status.Messages != 36 || status.Total != 36 || len(status.Details) != 2 {
			t.Errorf("status %+v, %v", status, err)
		}
	})
}

func readReport(t *testing.T, w *migratetest.World, b *migratetest.Box) (r migrate.Report) {
	t.Helper()
	content, _, err := w.Store.Get(t.Context(), migrate.ReportName(b.Mailbox.ID))
	if err == nil {
		err = json.Unmarshal(content, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestCompletionKilled kills the completing process at each side effect.
func TestCompletionKilled(t *testing.T) {
	for k := 1; k <= 30; k++ {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 9)
			w.Settle(t)
			b.Source.Folder("INBOX").Add(migratetest.Message("late", "late", 300), received)
			w.Kills = []int{0, k}
			w.Complete(t)
			w.CheckExact(t, b)
			if v := wantState(t, w, b, migrate.Completed).Verified; v.Present != 10 {
				t.Errorf("verification %+v", v)
			}
			readReport(t, w, b)
		})
	}
}

// TestVerification has users, a rule and another program change the target before the completion.
func TestVerification(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		inbox, other := b.Source.Folder("INBOX"), b.Source.AddFolder("", "Other")
		for i := range 6 {
			inbox.Add(migratetest.Message(fmt.Sprint(i), fmt.Sprint("letter ", i), 300), received)
			inbox.Add(migratetest.Message("", fmt.Sprint("nameless ", i), 300), received.Add(time.Duration(i)*time.Hour))
		}
		inbox.Add(migratetest.Message("twin", "twin", 300), received)
		other.Add(migratetest.Message("twin", "twin", 300), received)
		inbox.Add(migratetest.Message("draft", "a draft", 300), received, migrate.Draft)
		w.Settle(t)
		w.CheckExact(t, b)
		by := make(map[string]migratetest.TargetMessage)
		for _, m := range b.Target.Messages() {
			by[m.FolderID+" "+m.Subject()] = m
		}
		move := func(m *migratetest.TargetMessage) bool { m.FolderID = "(trash)"; return true }
		remove := func(*migratetest.TargetMessage) bool { return false }
		b.Target.Change(by["(inbox) letter 0"].ID, move)
		b.Target.Change(by["(inbox) nameless 0"].ID, move)
		b.Target.Change(by["(inbox) letter 1"].ID, remove)
		b.Target.Change(by["(inbox) nameless 1"].ID, remove)
		b.Target.Change(by["(inbox) twin"].ID, remove) // the one in Other is no moved one
		b.Target.Change(by["(inbox) letter 2"].ID, func(m *migratetest.TargetMessage) bool { m.Draft = true; return true })
		b.Target.Copy(by["(inbox) letter 3"], "(inbox)")
		w.Complete(t)
		c := wantState(t, w, b, migrate.CompletedWithWarnings)
		want := migrate.Verification{At: c.Verified.At, Source: 15, Recorded: 15, Present: 10, Moved: 2, Absent: 3, Drafts: 1, Doubles: 1}
		if *c.Verified != want {
			t.Errorf("verification %+v\nwant %+v", *c.Verified, want)
		}
	})
}

// TestFoundDraft looks a draft up after a lost answer: it is still known to be one.
func TestFoundDraft(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		b.Source.Folder("INBOX").Add(migratetest.Message("draft", "a draft", 300), received, migrate.Draft)
		b.Target.Fault = func([]byte) migratetest.Fault {
			return migratetest.Fault{Do: true, Err: &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true}}
		}
		w.Complete(t)
		w.CheckExact(t, b)
		if v := wantState(t, w, b, migrate.Completed).Verified; v.Drafts != 0 || v.Present != 1 {
			t.Errorf("verification %+v", v)
		}
	})
}

// TestDeadly has one mailbox end every process that works on it. It fails in the end; the others,
// which die with it, do not.
func TestDeadly(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Processes = 2
		deadly := oneMailbox(t, w, 5)
		var others []*migratetest.Box
		for i := range 3 {
			b := w.AddMailbox(t, fmt.Sprint("user", i))
			b.Target.Latency = 5 * time.Second
			for j := range 30 {
				b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(i, "-", j), "letter", 300), received)
			}
			others = append(others, b)
		}
		deadly.Source.Before = func(op, _ string, uid migrate.UID) error {
			if uid == 3 {
				w.KillHolder(deadly.Mailbox.ID)
			}
			return nil
		}
		w.Settle(t)
		c := wantState(t, w, deadly, migrate.Failed)
		if c.Problem.Kind != migrate.Died || c.Problem.Advice == "" {
			t.Errorf("problem %+v", c.Problem)
		}
		for _, b := range others {
			w.CheckExact(t, b)
			wantState(t, w, b, migrate.Synced)
		}
	})
}

// TestDeadLetters delivers wake-ups that nobody completes.
func TestDeadLetters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := migratetest.NewWorld()
		b := oneMailbox(t, w, 5)
		p := &migrate.Planner{Store: w.Store, Drop: w.Drop, Waker: w.Queue, Grace: time.Minute}
		if err := p.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := w.Queue.Receive(t.Context())
		w.Queue.Complete(first)
		if err := p.DeadLetter(t.Context(), first.WakeUp); err != nil {
			t.Fatal(err)
		}
		second := w.Queue.Receive(t.Context())
		if second.WakeUp.Seq != first.WakeUp.Seq+1 {
			t.Fatalf("woken again with %+v after %+v", second.WakeUp, first.WakeUp)
		}
		if err := p.DeadLetter(t.Context(), first.WakeUp); err != nil { // it is old now
			t.Fatal(err)
		}
		if c := w.Checkpoint(t, b.Mailbox.ID); c.Seq != second.WakeUp.Seq || c.Restores != 1 {
			t.Errorf("seq %d, %d restores", c.Seq, c.Restores)
		}
		unknown := migrate.WakeUp{Version: 1, Mailbox: migrate.NewMailboxID("other", "x", "y"), Seq: 1}
		if err := p.DeadLetter(t.Context(), unknown); err != nil {
			t.Fatal(err)
		}
		for n := 0; w.Checkpoint(t, b.Mailbox.ID).State != migrate.Failed; n++ {
			if n == 20 {
				t.Fatal("it is woken for ever")
			}
			time.Sleep(2 * time.Minute << n) // see TestLostWakeUpsAreSentAgain
			if err := p.Tick(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestTargetFolderDeletedBeforeCompletion has a user delete a folder for good: its messages are absent, and
// the mailbox completes.
func TestTargetFolderDeletedBeforeCompletion(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		mail(b.Source.AddFolder("", "Z"), "z")
		w.Settle(t)
		b.Target.Delete("z")
		w.Complete(t)
		v := wantState(t, w, b, migrate.CompletedWithWarnings).Verified
		if want := (migrate.Verification{At: v.At, Source: 4, Recorded: 4, Present: 3, Absent: 1}); *v != want {
			t.Errorf("verification %+v, want %+v", *v, want)
		}
	})
}

// TestCompletionOfAFolderThatIsNotOpened has the server tell the state of a folder that it does not open any more,
// so that no sync lists it: the completion does not wait until one does.
func TestCompletionOfAFolderThatIsNotOpened(t *testing.T) {
	for _, moved := range []bool{false, true} {
		bubble(t, fmt.Sprint("a message was moved: ", moved), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 3)
			shut := b.Source.AddFolder("", "shut")
			mail(shut, "in shut")
			w.Settle(t)
			shut.Refuse(true)
			for _, m := range b.Target.Messages() {
				if moved && m.Subject() == "in shut" { // and cannot be looked for
					b.Target.Change(m.ID, func(m *migratetest.TargetMessage) bool { m.FolderID = "(trash)"; return true })
				}
			}
			began := time.Now()
			w.Complete(t)
			if took := time.Since(began); took > time.Hour {
				t.Errorf("took %s", took)
			}
			v := wantState(t, w, b, migrate.CompletedWithWarnings).Verified
			want := migrate.Verification{At: v.At, Source: 3, Recorded: 3, Present: 4, Closed: 1}
			if moved {
				want.Present, want.Absent = 3, 1
			}
			if *v != want {
				t.Errorf("verification %+v, want %+v", *v, want)
			}
		})
	}
}
