package migrate_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestUIDsGivenAnew has a server give UIDs to other messages under the same UIDVALIDITY: what arrives
// meanwhile comes, nothing comes twice, and a folder that is as it was is not looked up.
func TestUIDsGivenAnew(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*migratetest.SourceFolder, func(subjects ...string))
		news   string
		finds  int // look-ups at most
	}{
		"an index built anew": {func(f *migratetest.SourceFolder, add func(...string)) { f.Rebuild(); add("x", "y") }, "x y", 14},
		"an index built anew and overtaken": {func(f *migratetest.SourceFolder, add func(...string)) {
			f.Rebuild()
			add("a", "b", "c", "d", "e", "f", "g", "h")
		}, "a b c d e f g h", 20},
		"a backup":                   {func(f *migratetest.SourceFolder, add func(...string)) { f.Restore(3) }, "", 0},
		"a backup of long ago":       {func(f *migratetest.SourceFolder, add func(...string)) { f.Restore(6) }, "", 0},
		"a backup, and mail":         {func(f *migratetest.SourceFolder, add func(...string)) { f.Restore(3); add("x") }, "x", 10},
		"a backup, overtaken":        {func(f *migratetest.SourceFolder, add func(...string)) { f.Restore(1); add("x", "y") }, "x y", 13},
		"a backup, overtaken by far": {func(f *migratetest.SourceFolder, add func(...string)) { f.Restore(3); add("v", "w", "x", "y", "z") }, "v w x y z", 14},
		"the newest UID once more":   {func(f *migratetest.SourceFolder, add func(...string)) { f.Restore(1); add("x", "y") }, "x y", 13},
		"everything is gone":         {func(f *migratetest.SourceFolder, add func(...string)) { f.Restore(99); add("x", "y") }, "x y", 2},
		"nothing":                    {func(f *migratetest.SourceFolder, add func(...string)) {}, "", 0},
		"mail":                       {func(f *migratetest.SourceFolder, add func(...string)) { add("x", "y") }, "x y", 0},
		"the newest are removed":     {func(f *migratetest.SourceFolder, add func(...string)) { f.Remove(16); f.Remove(15) }, "", 0},
		"all anchors are removed": {func(f *migratetest.SourceFolder, add func(...string)) {
			f.Remove(16)
			f.Remove(15)
			f.Remove(14)
			f.Remove(13)
			add("x")
		}, "x", 0},
		"the highest UID counts as UIDNEXT": {func(f *migratetest.SourceFolder, add func(...string)) { f.Restore(1) }, "", 0},
	} {
		for _, silent := range []bool{false, true} {
			bubble(t, fmt.Sprint(name, ", no states: ", silent), func(t *testing.T, w *migratetest.World) {
				b := oneMailbox(t, w, 16)
				inbox := b.Source.Folder("INBOX")
				for _, uid := range []migrate.UID{2, 5, 6, 9} { // so that UIDs built anew are others
					inbox.Remove(uid)
				}
				b.Source.NoStates = silent
				w.Settle(t)
				before := b.Target.Finds()
				c.change(inbox, func(subjects ...string) {
					for _, s := range subjects {
						inbox.Add(migratetest.Message(s, s, 250), received)
					}
				})
				w.Sync(t)
				subjects := strings.Fields(c.news)
				for _, i := range []int{0, 2, 3, 6, 7, 9, 10, 11, 12, 13, 14, 15} {
					subjects = append(subjects, fmt.Sprint("letter ", i))
				}
				slices.Sort(subjects)
				want := "(inbox): " + strings.Join(subjects, " ")
				wantContents(t, b, want)
				if n := b.Target.Finds() - before; n > c.finds {
					t.Errorf("%d look-ups", n)
				}
				mail(inbox, "zz")
				w.Sync(t)
				wantContents(t, b, want+" zz")
				w.Complete(t)
				wantState(t, w, b, migrate.Completed)
			})
		}
	}
}

// TestUIDsGivenAnewKilled kills the run that finds out at every side effect.
func TestUIDsGivenAnewKilled(t *testing.T) {
	for name, change := range map[string]func(*migratetest.SourceFolder){
		"rebuilt":  func(f *migratetest.SourceFolder) { f.Rebuild() },
		"restored": func(f *migratetest.SourceFolder) { f.Restore(2) },
	} {
		for k := range 40 {
			bubble(t, fmt.Sprint(name, " ", k), func(t *testing.T, w *migratetest.World) {
				b := oneMailbox(t, w, 9)
				inbox := b.Source.Folder("INBOX")
				inbox.Remove(4)
				for range 3 {
					inbox.Add(migratetest.Message("twin", "twin", 250+'t'%16), received)
				}
				w.Settle(t)
				change(inbox)
				for _, s := range []string{"twin", "x", "y", "z"} {
					inbox.Add(migratetest.Message(s, s, 250+int(s[0])%16), received)
				}
				w.Kills = []int{0, k, k/2 + 3}
				w.Sync(t)
				w.Settle(t)
				twins := "twin twin twin twin"
				if name == "restored" { // the backup lacks two of them, and one arrived
					twins = "twin twin twin"
				}
				wantContents(t, b, "(inbox): letter 0 letter 1 letter 2 letter 4 letter 5 letter 6 letter 7 letter 8 "+twins+" x y z")
				w.Complete(t)
				if v := w.Checkpoint(t, b.Mailbox.ID).Verified; v.Source != v.Present || v.Absent != 0 {
					t.Errorf("verification %+v", v)
				}
			})
		}
	}
}

// TestUIDsGivenAnewToWhatLooksAlike has the newest messages be of one size and date: older ones tell.
func TestUIDsGivenAnewToWhatLooksAlike(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 9)
		inbox := b.Source.Folder("INBOX")
		inbox.Remove(2)
		want := "(inbox): letter 0 letter 2 letter 3 letter 4 letter 5 letter 6 letter 7 letter 8"
		for i := range 6 {
			mail(inbox, fmt.Sprint("like", i))
			want += fmt.Sprint(" like", i)
		}
		w.Settle(t)
		inbox.Rebuild()
		mail(inbox, "like6") // has the UID that like5 had
		w.Sync(t)
		wantContents(t, b, want+" like6")
	})
}

// TestUIDsGivenAnewTwice has a server do so again before anything arrived: what was looked up is known by what
// the server says of it, too.
func TestUIDsGivenAnewTwice(t *testing.T) {
	for name, change := range map[string]func(*migratetest.SourceFolder){
		"anew": func(f *migratetest.SourceFolder) { f.Rebuild() }, "with another UIDVALIDITY": func(f *migratetest.SourceFolder) { f.Renumber(); f.Rebuild() },
	} {
		bubble(t, name, func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 16)
			inbox := b.Source.Folder("INBOX")
			inbox.Remove(2)
			w.Settle(t)
			change(inbox)
			w.Sync(t)
			inbox.Remove(3)
			inbox.Rebuild()
			mail(inbox, "x") // has the UID that the newest had
			for range 5 {
				w.Sync(t) // its state is as it was: it is listed once a day
			}
			if got := contents(b); !strings.HasSuffix(got, " x") {
				t.Errorf("the target has %s", got)
			}
			if n := len(b.Target.Messages()); n != 16 {
				t.Errorf("the target has %d messages", n)
			}
		})
	}
}

// TestDeathsBetweenLookUps kills each process after it has looked up some messages of a folder that was numbered anew:
// that is progress, for which no mailbox is given up.
func TestDeathsBetweenLookUps(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 80)
		w.Settle(t)
		b.Source.Folder("INBOX").Renumber()
		w.Kills = []int{0, 10, 10, 10, 10, 10, 10}
		w.Sync(t)
		if c := wantState(t, w, b, migrate.Synced); c.Counts().Found != 80 || len(b.Target.Messages()) != 80 || w.Started() < 6 {
			t.Errorf("counts %+v, %d messages at the target, %d processes", c.Counts(), len(b.Target.Messages()), w.Started())
		}
	})
}
