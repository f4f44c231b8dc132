package migrate_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestFilterChangesAfterDeath widens the filter after a process died at any side effect: what the
// dead run left out comes.
func TestFilterChangesAfterDeath(t *testing.T) {
	for k := 1; k < 30; k++ {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			w.Endpoint = func(e *migrate.Endpoint) { e.MaxSize = 1000 }
			w.Kills = []int{k}
			b := oneMailbox(t, w, 3)
			for i := range 6 {
				b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint("big", i), "big", 2000+i), received)
			}
			w.Run(t, time.Hour, func() bool { return w.Started() > 1 })
			setEndpoint(t, w, func(e *migrate.Endpoint) {})
			w.Settle(t)
			w.Sync(t)
			if n := len(b.Target.Messages()); n != 9 {
				t.Errorf("%d messages came of 9", n)
			}
		})
	}
}

// TestRenamedAfterDeath renames a folder after a process died at any side effect.
func TestRenamedAfterDeath(t *testing.T) {
	for k := 1; k < 40; k++ {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			w.Kills = []int{k}
			b := w.AddMailbox(t, "ann")
			f := b.Source.AddFolder("", "A")
			for i := range 9 {
				mail(f, fmt.Sprint("m", i))
			}
			w.Run(t, time.Hour, func() bool { return w.Started() > 1 })
			f.Rename("B")
			w.Settle(t)
			if n := len(b.Target.Messages()); n != 9 {
				t.Errorf("%d messages of 9: %s", n, contents(b))
			}
		})
	}
}

// TestFolderComesBackAfterDeath has a folder excluded, or not listed, while its outcomes are unknown.
func TestFolderComesBackAfterDeath(t *testing.T) {
	for k := 1; k < 40; k++ {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			w.Kills = []int{k}
			b := w.AddMailbox(t, "ann")
			f := b.Source.AddFolder("", "A")
			for i := range 9 {
				mail(f, fmt.Sprint("m", i))
			}
			w.Run(t, time.Hour, func() bool { return w.Started() > 1 })
			setEndpoint(t, w, func(e *migrate.Endpoint) { e.ExcludeFolders = []string{"A"} })
			w.Settle(t)
			setEndpoint(t, w, func(e *migrate.Endpoint) {})
			w.Sync(t)
			if n := len(b.Target.Messages()); n != 9 {
				t.Errorf("%d messages of 9: %s", n, contents(b))
			}
		})
	}
}

// TestManyNotes bounds what a checkpoint says of folders.
func TestManyNotes(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		for i := range 300 {
			b.Source.AddFolder("", fmt.Sprintf("%03d ends with a space ", i))
		}
		w.Settle(t)
		notes := w.Checkpoint(t, b.Mailbox.ID).Notes
		if len(notes) != 200 || notes[199].Text != "and 101 more notes about folders" {
			t.Errorf("%d notes, the last %+v", len(notes), notes[len(notes)-1])
		}
	})
}

// TestLookUpWithoutAFolder cannot make the folder at the target after a look-up: what was not found is
// not taken for done.
func TestLookUpWithoutAFolder(t *testing.T) {
	for k := 1; k < 14; k++ {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			w.Kills = []int{k}
			b := w.AddMailbox(t, "ann")
			f := b.Source.AddFolder("", "A")
			for i := range 6 {
				mail(f, fmt.Sprint("m", i))
			}
			w.Run(t, time.Hour, func() bool {
				if w.Started() < 2 {
					return false
				}
				c := w.Checkpoint(t, b.Mailbox.ID)
				return c.Phase == migrate.Waiting && (len(c.Doubtful) > 0 || c.State == migrate.Synced)
			})
			refused := 2
			b.Target.FolderFault = func() error {
				if refused--; refused < 0 {
					return nil
				}
				return &migrate.Error{Op: "make folder", Kind: migrate.Unreachable, Err: errors.New("not now")}
			}
			setEndpoint(t, w, func(e *migrate.Endpoint) { e.FolderMap = []migrate.FolderMapping{{From: "A", To: "B"}} })
			w.Settle(t)
			if n := len(b.Target.Messages()); n != 6 {
				t.Errorf("%d messages of 6: %s", n, contents(b))
			}
		})
	}
}

// TestRenamedOverAnother renames a folder to the name of one that was deleted: it keeps its place.
func TestRenamedOverAnother(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		x, y := b.Source.AddFolder("", "B"), b.Source.AddFolder("", "A")
		mail(x, "x1")
		mail(y, "y1")
		w.Settle(t)
		x.Delete()
		y.Rename("B")
		mail(y, "y2")
		w.Sync(t)
		mail(y, "y3")
		w.Sync(t)
		wantContents(t, b, "a: y1 y2 y3", "b: x1")
	})
}

// TestRenamedToAGoneName renames a folder to a name that another one once had: one that was renamed
// before it was ever listed.
func TestRenamedToAGoneName(t *testing.T) {
	for _, silent := range []bool{false, true} {
		bubble(t, fmt.Sprint("no states: ", silent), func(t *testing.T, w *migratetest.World) {
			b := w.AddMailbox(t, "ann")
			b.Source.NoStates = silent
			f := b.Source.AddFolder("", "a")
			mail(f, "m")
			renamed := false
			b.Source.Before = func(op, folder string, _ migrate.UID) error {
				if op == "open folder" && !renamed { // the list of folders has been read
					renamed = true
					f.Rename("c")
				}
				return nil
			}
			w.Run(t, time.Hour, func() bool { return len(b.Target.Messages()) > 0 })
			w.Settle(t)
			f.Rename("a")
			w.Sync(t)
			wantContents(t, b, "c: m")
		})
	}
}

// TestReceivedChangesAfterDeath changes where received dates come from, there and back, after a process
// died at any side effect: what it had written is found by the dates of then. A folder that is renamed or
// numbered anew after that is known by them, too.
func TestReceivedChangesAfterDeath(t *testing.T) {
	header := func(e *migrate.Endpoint) { e.Received = migrate.ReceivedOrder{migrate.FromDateHeader} }
	internal := func(e *migrate.Endpoint) {}
	for _, orders := range [][2]func(*migrate.Endpoint){{internal, header}, {header, internal}} {
		for k := 1; k < 40; k++ {
			bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
				w.Kills = []int{k}
				w.Endpoint = orders[0]
				b := w.AddMailbox(t, "ann")
				f := b.Source.AddFolder("", "A")
				for i := range 6 {
					f.Add(migratetest.Message(fmt.Sprint("m", i), fmt.Sprint("m", i), 300), received.Add(time.Duration(i)*time.Minute))
				}
				for i := range 3 { // that differ by the date of the server only
					f.Add(migratetest.Message("same", "same", 300), received.Add(time.Duration(i)*time.Hour))
				}
				w.Run(t, time.Hour, func() bool { return w.Started() > 1 })
				setEndpoint(t, w, orders[1])
				w.Settle(t)
				wantContents(t, b, "a: m0 m1 m2 m3 m4 m5 same same same")
				f.Rename("B")
				w.Sync(t)
				f.Renumber()
				setEndpoint(t, w, orders[0])
				w.Sync(t)
				w.Settle(t)
				wantContents(t, b, "a: m0 m1 m2 m3 m4 m5 same same same")
				w.Complete(t)
				wantState(t, w, b, migrate.Completed)
			})
		}
	}
}
