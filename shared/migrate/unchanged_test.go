package migrate_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// opened counts how often each folder's UIDs are listed.
func opened(b *migratetest.Box) map[string]int {
	listed := make(map[string]int)
	b.Source.Before = func(op, folder string, _ migrate.UID) error {
		if op == "list messages" {
			listed[folder]++
		}
		return nil
	}
	return listed
}

func threeFolders(t *testing.T, w *migratetest.World) *migratetest.Box {
	b := oneMailbox(t, w, 6)
	for i, name := range []string{"Mail", "News"} {
		f := b.Source.AddFolder("", name)
		for j := range 5 {
			f.Add(migratetest.Message(fmt.Sprint(name, j), "letter", 300+i), received)
		}
	}
	return b
}

// TestUnchangedFolders lists a folder again only when something arrived or went, or once a day.
func TestUnchangedFolders(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*migratetest.Box)
		want   map[string]int
	}{
		"nothing": {func(*migratetest.Box) {}, map[string]int{}},
		"arrival": {func(b *migratetest.Box) {
			b.Source.Folder("Mail").Add(migratetest.Message("new", "new", 300), received)
		}, map[string]int{"Mail": 1}},
		"removal": {func(b *migratetest.Box) { b.Source.Folder("News").Remove(2) }, map[string]int{"News": 1}},
		"arrival and removal": {func(b *migratetest.Box) {
			b.Source.Folder("Mail").Add(migratetest.Message("new", "new", 300), received)
			b.Source.Folder("Mail").Remove(2)
		}, map[string]int{"Mail": 1}},
		"a new folder": {func(b *migratetest.Box) {
			b.Source.AddFolder("", "More").Add(migratetest.Message("more", "more", 300), received)
		}, map[string]int{"More": 1}},
		"renumbered":              {func(b *migratetest.Box) { b.Source.Folder("INBOX").Renumber() }, map[string]int{"INBOX": 1}},
		"the server does not say": {func(b *migratetest.Box) { b.Source.NoStates = true }, map[string]int{"INBOX": 1, "Mail": 1, "News": 1}},
		"a day later":             {func(*migratetest.Box) { time.Sleep(24 * time.Hour) }, map[string]int{"INBOX": 1, "Mail": 1, "News": 1}},
	} {
		bubble(t, name, func(t *testing.T, w *migratetest.World) {
			b := threeFolders(t, w)
			w.Settle(t)
			c.change(b)
			listed := opened(b)
			w.Sync(t)
			if fmt.Sprint(listed) != fmt.Sprint(c.want) {
				t.Errorf("listed %v, want %v", listed, c.want)
			}
			cp := wantState(t, w, b, migrate.Synced)
			want := 0
			for _, f := range b.Source.Folders() {
				want += len(f.Messages())
			}
			if cp.Total() != want {
				t.Errorf("%d messages at the source, want %d", cp.Total(), want)
			}
			for _, f := range b.Source.Folders() {
				for _, m := range f.Messages() {
					if i := slices.IndexFunc(cp.Folders, func(c *migrate.FolderCursor) bool { return c.Name == f.Listed().Name }); !cp.Folders[i].Done.Contains(m.UID) {
						t.Errorf("UID %d of %s has no outcome", m.UID, f.Listed().Name)
					}
				}
			}
		})
	}
}

// TestUnfinishedFolderIsListedAgain has runs end in the middle of a folder in every way: what nobody
// changed meanwhile is not taken for done.
func TestUnfinishedFolderIsListedAgain(t *testing.T) {
	bubble(t, "budget", func(t *testing.T, w *migratetest.World) {
		b := threeFolders(t, w)
		b.Target.Latency = 4 * time.Second
		w.Limits.Budget = 10 * time.Second
		w.Settle(t)
		w.CheckExact(t, b)
	})
	for k := 1; k < 60; k++ {
		bubble(t, fmt.Sprint("killed at ", k), func(t *testing.T, w *migratetest.World) {
			b := threeFolders(t, w)
			w.Kills = []int{k, k / 2}
			w.Settle(t)
			w.CheckExact(t, b)
		})
	}
}

// TestLookUpCutShort loses an answer while messages are written again that a look-up did not find: the
// others of their window are not taken for done.
func TestLookUpCutShort(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Kills = []int{7} // with a window in doubt
		b := oneMailbox(t, w, 6)
		lost := 1
		b.Target.Fault = func(content []byte) migratetest.Fault {
			if lost == 0 || !bytes.Contains(content, []byte("Subject: letter 2\r\n")) {
				return migratetest.Fault{}
			}
			lost--
			return migratetest.Fault{Do: true, Err: &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("the answer is lost")}}
		}
		w.Settle(t)
		w.CheckExact(t, b)
		if lost != 0 {
			t.Error("the answer was not lost")
		}
	})
}

// TestCompletionListsEverything does not rely on states: the last sync sees what a wrong STATUS hides.
func TestCompletionListsEverything(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := threeFolders(t, w)
		w.Settle(t)
		w.Sync(t)
		b.Source.StaleStates = true
		b.Source.Folder("Mail").Add(migratetest.Message("hidden", "hidden", 300), received)
		w.Complete(t)
		w.CheckExact(t, b)
		wantState(t, w, b, migrate.Completed)
	})
}
