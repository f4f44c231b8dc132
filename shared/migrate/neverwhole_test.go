package migrate_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// neverWhole makes a mailbox with a folder of which the server does not list a message, and that holds the
// mailbox up no more.
func neverWhole(t *testing.T, w *migratetest.World) (*migratetest.Box, *migratetest.SourceFolder) {
	b := w.AddMailbox(t, "ann")
	f := b.Source.AddFolder("", "A")
	mail(f, "hidden")
	f.Each(func(m *migratetest.SourceMessage) { m.Unlisted = true })
	mail(f, "one")
	w.Run(t, time.Minute, func() bool { return len(b.Target.Messages()) == 1 })
	w.Settle(t)
	return b, f
}

// TestRemovedWhereTheListIsNeverWhole has a user remove a message of such a folder while it is fetched: the others
// come all the same, though the mailbox is completed with this sync.
func TestRemovedWhereTheListIsNeverWhole(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b, f := neverWhole(t, w)
		want := "a: one"
		for i := range 12 {
			mail(f, fmt.Sprintf("x%02d", i))
			if i != 1 {
				want += fmt.Sprintf(" x%02d", i)
			}
		}
		b.Source.Before = func(op, _ string, uid migrate.UID) error {
			if op == "fetch" && uid == 4 {
				f.Remove(4)
			}
			return nil
		}
		w.Complete(t)
		wantContents(t, b, want)
		if c := wantState(t, w, b, migrate.CompletedWithWarnings); c.Counts().Failed != 0 || c.Verified.Closed != 1 {
			t.Errorf("counts %+v, verification %+v", c.Counts(), c.Verified)
		}
	})
}

// TestLookUpWhereTheListIsNeverWhole has answers about messages of such a folder get lost, and a user remove one of
// them before it is looked up: the others are looked up, and come.
func TestLookUpWhereTheListIsNeverWhole(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b, f := neverWhole(t, w)
		b.Target.Parallel = 4
		lost, n := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("lost")}, 0
		b.Target.Fault = func(content []byte) migratetest.Fault {
			if n++; strings.Contains(string(content), "Subject: new") && n <= 4 {
				return migratetest.Fault{Err: lost}
			}
			return migratetest.Fault{}
		}
		b.Target.Latency = time.Second
		for i := range 4 {
			mail(f, fmt.Sprintf("new%d", i))
		}
		b.Source.Before = func(op, _ string, _ migrate.UID) error {
			if op == "fetch headers" {
				f.Remove(4)
			}
			return nil
		}
		w.Sync(t)
		w.Sync(t)
		wantContents(t, b, "a: new0 new2 new3 one")
		if n := wantState(t, w, b, migrate.Synced).Counts(); n.Failed > 1 {
			t.Errorf("counts %+v", n)
		}
	})
}

// TestStartsOverWhileTheListIsNotWhole has a server give a folder another UIDVALIDITY, or its UIDs anew, and not list
// some of its messages until later, as while it builds an index anew: none of them comes twice.
func TestStartsOverWhileTheListIsNotWhole(t *testing.T) {
	for name, change := range map[string]func(*migratetest.SourceFolder){
		"another UIDVALIDITY": (*migratetest.SourceFolder).Renumber,
		"anew":                (*migratetest.SourceFolder).Rebuild,
	} {
		bubble(t, name, func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 10)
			inbox := b.Source.Folder("INBOX")
			inbox.Remove(2)
			w.Settle(t)
			change(inbox)
			n := 0
			inbox.Each(func(m *migratetest.SourceMessage) { n++; m.Unlisted = n%2 == 0 })
			w.Run(t, 24*time.Hour, func() bool { return w.Checkpoint(t, b.Mailbox.ID).Folders[0].Refusals > 0 })
			inbox.Each(func(m *migratetest.SourceMessage) { m.Unlisted = false })
			mail(inbox, "new")
			w.Sync(t)
			wantContents(t, b, "(inbox): letter 0 letter 2 letter 3 letter 4 letter 5 letter 6 letter 7 letter 8 letter 9 new")
		})
	}
}

// TestIllWhereTheListIsNeverWhole has such a folder's server give nothing for a while, when messages are in doubt: that
// is waited for as elsewhere.
func TestIllWhereTheListIsNeverWhole(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b, f := neverWhole(t, w)
		b.Target.Parallel, b.Target.Latency = 4, time.Second
		lost, n := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("lost")}, 0
		b.Target.Fault = func([]byte) (fault migratetest.Fault) {
			if n++; n <= 4 {
				fault.Err = lost
			}
			return fault
		}
		var ill atomic.Bool
		b.Source.Before = func(op, _ string, _ migrate.UID) error {
			if op == "fetch headers" {
				ill.Store(true)
			}
			return nil
		}
		b.Source.Refuses(func(folder string, _ migrate.UID) string {
			if folder == "A" && ill.Load() {
				return "NO ill"
			}
			return ""
		})
		for i := range 4 {
			mail(f, fmt.Sprintf("new%d", i))
		}
		w.Run(t, 24*time.Hour, func() bool { return ill.Load() && w.Checkpoint(t, b.Mailbox.ID).Phase == migrate.Waiting })
		b.Source.Before = nil
		ill.Store(false)
		w.Run(t, 12*time.Hour, func() bool { return len(b.Target.Messages()) == 5 })
		w.Settle(t)
		if n := wantState(t, w, b, migrate.Synced).Counts(); n.Failed != 0 {
			t.Errorf("counts %+v", n)
		}
	})
}
