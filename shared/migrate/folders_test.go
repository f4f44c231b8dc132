package migrate_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// setEndpoint changes the endpoint of a world.
func setEndpoint(t testing.TB, w *migratetest.World, change func(*migrate.Endpoint)) {
	t.Helper()
	e := migrate.Endpoint{Host: "imap.example.com", Slots: w.Slots, SyncEvery: migrate.Duration(w.SyncEvery)}
	change(&e)
	content, err := json.Marshal(e)
	if err == nil {
		_, err = w.Drop.Put(t.Context(), migratetest.EndpointName+"/endpoint.json", content, nil, migrate.Condition{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// contents writes what the target has, "folder: subjects" a line.
func contents(b *migratetest.Box) string {
	folders := make(map[string][]string)
	for _, m := range b.Target.Messages() {
		folders[m.FolderID] = append(folders[m.FolderID], m.Subject())
	}
	var lines []string
	for _, id := range slices.Sorted(maps.Keys(folders)) {
		slices.Sort(folders[id])
		lines = append(lines, id+": "+strings.Join(folders[id], " "))
	}
	return strings.Join(lines, "\n")
}

func wantContents(t *testing.T, b *migratetest.Box, lines ...string) {
	t.Helper()
	if got, want := contents(b), strings.Join(lines, "\n"); got != want {
		t.Errorf("the target has\n%s\nwant\n%s", got, want)
	}
}

func mail(f *migratetest.SourceFolder, subject string) {
	f.Add(migratetest.Message(subject, subject, 200), received)
}

// manyFolders has what makes placing hard: roles that merge, names that collide, a parent that cannot
// be opened, views, an empty folder.
func manyFolders(t testing.TB, w *migratetest.World) *migratetest.Box {
	b := w.AddMailbox(t, "ann")
	mail(b.Source.Folder("INBOX"), "in")
	for i, path := range []string{"Sent", "Sent Messages"} {
		mail(b.Source.AddFolder(migrate.UseSent, path), fmt.Sprint("sent", i))
		mail(b.Source.AddFolder("", path, "2019"), fmt.Sprint("old", i))
	}
	mail(b.Source.AddFolder("", "work"), "lower")
	mail(b.Source.AddFolder("", "Work"), "upper")
	b.Source.List(migrate.SourceFolder{Path: []string{"Box"}})
	mail(b.Source.AddFolder("", "Box", "inner"), "inner")
	mail(b.Source.AddFolder("", "Calendar"), "calendar")
	b.Source.AddFolder("", "Empty")
	all := b.Source.AddFolder(migrate.UseAll, "All")
	for _, subject := range []string{"in", "lower", "archived"} {
		mail(all, subject)
	}
	mail(b.Source.AddFolder(migrate.UseFlagged, "Starred"), "lower")
	return b
}

var manyPlaced = []string{"(archive): archived", "(inbox): in", "(sent): sent0 sent1", "(sent)/2019: old0 old1", "box/inner: inner", "calendar (mail): calendar", "work: upper", "work (2): lower"}

// TestPlacingKilledAtEverySideEffect kills the process after its first, second, ... side effect:
// nothing comes twice, nothing into another place.
func TestPlacingKilledAtEverySideEffect(t *testing.T) {
	total := 0
	bubble(t, "whole", func(t *testing.T, w *migratetest.World) {
		b := manyFolders(t, w)
		w.Settle(t)
		total = w.Effects()
		wantContents(t, b, manyPlaced...)
		if !b.Target.Made("empty") {
			t.Error("the empty folder was not made")
		}
		// Only what no folder of its own has brought is looked up.
		if n := b.Target.Finds(); n != 1 {
			t.Errorf("%d look-ups", n)
		}
		notes := fmt.Sprint(w.Checkpoint(t, b.Mailbox.ID).Notes)
		for _, want := range []string{"another folder has the name", "Exchange keeps the name for itself", "shares its folder with", "shows messages of other folders only"} {
			if !strings.Contains(notes, want) {
				t.Errorf("the notes do not say %q: %s", want, notes)
			}
		}
		w.Complete(t)
		wantState(t, w, b, migrate.Completed)
	})
	for k := 1; k <= total; k++ {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			w.Kills = []int{k}
			b := manyFolders(t, w)
			w.Settle(t)
			wantContents(t, b, manyPlaced...)
		})
	}
}

// TestPlacesOutliveTheList has folders come and go between syncs.
func TestPlacesOutliveTheList(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		lower := b.Source.AddFolder("", "work")
		mail(lower, "lower1")
		w.Settle(t)
		upper := b.Source.AddFolder("", "Work") // sorts before the other one
		mail(upper, "upper1")
		mail(lower, "lower2")
		w.Sync(t)
		wantContents(t, b, "work: lower1 lower2", "work (2): upper1")
		lower.Delete()
		mail(upper, "upper2")
		w.Sync(t)
		wantContents(t, b, "work: lower1 lower2", "work (2): upper1 upper2")
		mail(b.Source.AddFolder("", "WORK"), "third")
		w.Sync(t)
		wantContents(t, b, "work: lower1 lower2", "work (2): upper1 upper2", "work (3): third")
	})
}

// TestNewRulesMovePlaces: what was brought stays, what comes goes to the new place.
func TestNewRulesMovePlaces(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		f, other := b.Source.AddFolder("", "a"), b.Source.AddFolder("", "b")
		mail(f, "a1")
		mail(other, "b1")
		w.Settle(t)
		setEndpoint(t, w, func(e *migrate.Endpoint) {
			e.FolderMap = []migrate.FolderMapping{{From: "a", To: "#Archive#/old"}}
			e.ExcludeFolders = []string{"b"}
		})
		mail(f, "a2")
		mail(other, "b2")
		w.Sync(t)
		wantContents(t, b, "(archive)/old: a2", "a: a1", "b: b1")
		w.Complete(t)
		c := wantState(t, w, b, migrate.Completed)
		if v := c.Verified; v.Present != 2 || v.Moved != 1 || v.Absent != 0 {
			t.Errorf("verification: %+v", v)
		}
	})
}

// TestNewRulesInMidWrite kills the process at each side effect, and lets new rules be there when the next one
// begins: nothing comes twice, and nothing is lost that is to come.
func TestNewRulesInMidWrite(t *testing.T) {
	for name, change := range map[string]func(*migrate.Endpoint){
		"map": func(e *migrate.Endpoint) { e.FolderMap = []migrate.FolderMapping{{From: "a", To: "#Archive#/old"}} },
		"swap": func(e *migrate.Endpoint) {
			e.FolderMap = []migrate.FolderMapping{{From: "a", To: "b"}, {From: "b", To: "a"}}
		},
		"below":   func(e *migrate.Endpoint) { e.TargetFolder = "Old" },
		"exclude": func(e *migrate.Endpoint) { e.ExcludeFolders = []string{"a"} },
	} {
		total := 0
		for k := 0; k <= total; k++ {
			bubble(t, fmt.Sprint(name, k), func(t *testing.T, w *migratetest.World) {
				w.Kills = []int{k}
				b := w.AddMailbox(t, "ann")
				for _, name := range []string{"a", "b"} {
					f := b.Source.AddFolder("", name)
					for i := range 3 {
						mail(f, fmt.Sprint(name, i))
					}
				}
				var once sync.Once
				w.Store.Before = func(string, string) error {
					if k > 0 && w.Effects() >= k {
						once.Do(func() { setEndpoint(t, w, change) })
					}
					return nil
				}
				w.Settle(t)
				w.Sync(t)
				if k == 0 {
					total = w.Effects()
				}
				copies := make(map[string]int)
				for _, m := range b.Target.Messages() {
					copies[m.Subject()]++
				}
				for _, subject := range []string{"a0", "a1", "a2", "b0", "b1", "b2"} {
					if n := copies[subject]; n > 1 || n == 0 && (name != "exclude" || subject[0] == 'b') {
						t.Errorf("%s came %d times", subject, n)
					}
				}
			})
		}
	}
}

// TestMappingThatCollidesStopsBeforeAnyWrite and goes on once it is mended.
func TestMappingThatCollidesStopsBeforeAnyWrite(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Endpoint = func(e *migrate.Endpoint) { e.FolderMap = []migrate.FolderMapping{{From: "x", To: "Y"}} }
		b := w.AddMailbox(t, "ann")
		mail(b.Source.Folder("INBOX"), "in")
		mail(b.Source.AddFolder("", "x"), "x")
		mail(b.Source.AddFolder("", "y"), "y")
		w.Run(t, time.Hour, func() bool { return w.Checkpoint(t, b.Mailbox.ID).Problem != nil })
		p := w.Checkpoint(t, b.Mailbox.ID).Problem
		if p.Kind != migrate.Configuration || !strings.Contains(p.Text, `"x"`) || !strings.Contains(p.Text, `"y"`) || p.Advice == "" {
			t.Errorf("problem %+v", p)
		}
		if b.Target.Puts() != 0 {
			t.Error("something was written")
		}
		setEndpoint(t, w, func(e *migrate.Endpoint) {
			e.FolderMap = []migrate.FolderMapping{{From: "x", To: "Y", Merge: true}}
		})
		w.Settle(t)
		wantContents(t, b, "(inbox): in", "y: x y")
	})
}

// TestMappingOutlivesNewFolders: who makes a folder while mail is moved, whose name a mapping has taken, holds
// nothing up.
func TestMappingOutlivesNewFolders(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Endpoint = func(e *migrate.Endpoint) { e.FolderMap = []migrate.FolderMapping{{From: "x", To: "Work"}} }
		b := w.AddMailbox(t, "ann")
		x := b.Source.AddFolder("", "x")
		mail(x, "x1")
		w.Settle(t)
		work := b.Source.AddFolder("", "work")
		mail(work, "w1")
		mail(x, "x2")
		w.Sync(t)
		mail(work, "w2")
		w.Sync(t)
		wantContents(t, b, "work: x1 x2", "work (2): w1 w2")
		if notes := fmt.Sprint(w.Checkpoint(t, b.Mailbox.ID).Notes); !strings.Contains(notes, "another folder has the name") {
			t.Errorf("the notes are %s", notes)
		}
	})
}

// TestFilters leaves messages out with a reason, and brings them when the filter is widened.
func TestFilters(t *testing.T) {
	old := func(f *migratetest.SourceFolder, subject string, years, size int) {
		f.Add(migratetest.Message(subject, subject, size), received.AddDate(-years, 0, 0))
	}
	narrow := func(e *migrate.Endpoint) {
		e.Since, e.MaxSize = migrate.Day(received.AddDate(-1, 0, 0).Truncate(24*time.Hour)), 1000
	}
	fill := func(t testing.TB, w *migratetest.World) *migratetest.Box {
		w.Endpoint = narrow
		b := w.AddMailbox(t, "ann")
		inbox := b.Source.Folder("INBOX")
		for i := range 9 {
			old(inbox, fmt.Sprint("y", i), i, 200)
		}
		old(inbox, "big", 0, 5000)
		inbox.Add(migratetest.Message("undated", "undated", 200), time.Time{})
		return b
	}
	widened := []string{"(inbox): big undated y0 y1 y2 y3 y4 y5 y6 y7 y8"}
	bubble(t, "whole", func(t *testing.T, w *migratetest.World) {
		b := fill(t, w)
		w.Settle(t)
		wantContents(t, b, "(inbox): undated y0 y1")
		c := w.Checkpoint(t, b.Mailbox.ID)
		reasons := make(map[string]int)
		for _, r := range w.Records(t, b.Mailbox.ID, c.Folders[0]) {
			if r.Outcome == migrate.LeftOut {
				reasons[r.Reason]++
			}
		}
		if want := map[string]int{"received before 2017-02-05 (since)": 7, "larger than 1000B (maxSize)": 1}; !maps.Equal(reasons, want) || c.Counts().Skipped != 8 {
			t.Errorf("left out: %v, %+v", reasons, c.Counts())
		}
		w.Sync(t)
		setEndpoint(t, w, func(e *migrate.Endpoint) { e.MaxSize = 4 << 20 })
		w.Sync(t)
		wantContents(t, b, widened...)
		w.Complete(t)
		c = wantState(t, w, b, migrate.Completed)
		if n := c.Counts(); n.Skipped != 0 || n.Migrated != 11 || c.Verified.Present != 11 {
			t.Errorf("%+v, verified %+v", n, c.Verified)
		}
	})
	for k := 1; k < 40; k++ {
		bubble(t, fmt.Sprintf("killed at %d", k), func(t *testing.T, w *migratetest.World) {
			w.Kills = []int{k}
			b := fill(t, w)
			w.Settle(t)
			wantContents(t, b, "(inbox): undated y0 y1")
			setEndpoint(t, w, func(*migrate.Endpoint) {})
			w.Kills = append(w.Kills, k)
			w.Sync(t)
			wantContents(t, b, widened...)
		})
	}
}

// TestFolderThatIsNotOpened holds nobody up for ever, and is seen in the end.
func TestFolderThatIsNotOpened(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		mail(b.Source.Folder("INBOX"), "in")
		shut := b.Source.AddFolder("", "shut")
		mail(shut, "shut")
		shut.Refuse(true)
		began := time.Now()
		w.Settle(t)
		c := wantState(t, w, b, migrate.Synced)
		if took := time.Since(began); took > time.Hour || c.Problem != nil {
			t.Errorf("took %s, problem %+v", took, c.Problem)
		}
		shut.Refuse(false)
		w.Sync(t)
		wantContents(t, b, "(inbox): in", "shut: shut")
		shut.Refuse(true)
		mail(shut, "more")
		w.Sync(t)
		w.Complete(t)
		c = wantState(t, w, b, migrate.CompletedWithWarnings)
		if c.Verified.Closed != 1 || !strings.Contains(fmt.Sprint(c.Notes), "shut") {
			t.Errorf("%+v, notes %+v", c.Verified, c.Notes)
		}
	})
}

// TestFolderThatIsShutInMidWrite has an outcome for each message all the same.
func TestFolderThatIsShutInMidWrite(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		shut := b.Source.AddFolder("", "shut")
		for i := range 3 {
			mail(shut, fmt.Sprint(i))
		}
		killed := false
		b.Target.AtPut = func() {
			if !killed {
				killed = true
				shut.Refuse(true)
				w.KillHolder(b.Mailbox.ID)
			}
		}
		w.Settle(t)
		c := wantState(t, w, b, migrate.Synced)
		if n := c.Counts(); !killed || n.Messages() != 3 || len(c.Doubtful) != 0 {
			t.Errorf("%+v, in doubt: %v", n, c.Doubtful)
		}
	})
}

// TestTargetFolderThatIsGone is made again for new mail.
func TestTargetFolderThatIsGone(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		f := b.Source.AddFolder("", "work")
		mail(f, "one")
		w.Settle(t)
		gone := true
		b.Target.Fault = func([]byte) migratetest.Fault {
			if gone {
				gone = false
				return migratetest.Fault{Err: &migrate.Error{Op: "append", Kind: migrate.NoFolder}}
			}
			return migratetest.Fault{}
		}
		mail(f, "two")
		before := b.Target.Asked()
		w.Sync(t)
		wantContents(t, b, "work: one two")
		if b.Target.Asked() != before+1 {
			t.Error("the folder was not asked for again")
		}
	})
}

// TestRenamedFolder keeps its place, and its mail does not come again.
func TestRenamedFolder(t *testing.T) {
	for k := range 30 {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			b := w.AddMailbox(t, "ann")
			parent, child := b.Source.AddFolder("", "old"), b.Source.AddFolder("", "old", "child")
			for i := range 40 {
				mail(parent, fmt.Sprintf("p%02d", i))
			}
			mail(child, "c")
			w.Settle(t)
			before := contents(b)
			parent.Rename("new")
			child.Rename("new", "child")
			mail(parent, "q")
			mail(b.Source.AddFolder("", "new", "more"), "m")
			w.Kills = []int{0, k}
			w.Sync(t)
			wantContents(t, b, strings.Replace(before, "p39", "p39 q", 1)+"\nold/more: m")
			mail(b.Source.AddFolder("", "old"), "another")
			w.Sync(t)
			after := strings.Replace(before, "p39", "p39 q\nold (2): another", 1)
			wantContents(t, b, after+"\nold/more: m")
		})
	}
	bubble(t, "two that swap their names", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		one, other := b.Source.AddFolder("", "one"), b.Source.AddFolder("", "other")
		mail(one, "1")
		mail(other, "2")
		w.Settle(t)
		one.Rename("x")
		other.Rename("one")
		one.Rename("other")
		mail(one, "3")
		mail(b.Source.AddFolder("", "x"), "4")
		w.Sync(t)
		wantContents(t, b, "one: 1 3", "other: 2", "x: 4")
	})
	bubble(t, "one whose name a new folder takes", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		f := b.Source.AddFolder("", "projects")
		mail(f, "old")
		w.Settle(t)
		f.Rename("projects 2019")
		mail(b.Source.AddFolder("", "projects"), "new")
		w.Sync(t)
		wantContents(t, b, "projects: old", "projects (2): new")
	})
	bubble(t, "one that only looks like it", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		f := b.Source.AddFolder("", "old")
		mail(f, "one")
		w.Settle(t)
		f.Rename("new")
		f.Remove(1)
		mail(f, "two")
		w.Sync(t)
		wantContents(t, b, "new: two", "old: one")
	})
}

// TestRenamedParentOfManyFolders renames the parent of many folders at a server that gives all the same UIDVALIDITY:
// none of them is compared with most of the others.
func TestRenamedParentOfManyFolders(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		const n = 60
		b := w.AddMailbox(t, "ann")
		var folders []*migratetest.SourceFolder
		for i := range n {
			f := b.Source.AddFolder("", "old", fmt.Sprint("customer ", i), "letters")
			f.SetValidity(7)
			mail(f, fmt.Sprint("letter ", i))
			folders = append(folders, f)
		}
		w.Settle(t)
		for i, f := range folders {
			f.Rename("new", fmt.Sprint("customer ", i), "letters")
		}
		asked := 0
		b.Source.Before = func(op, _ string, _ migrate.UID) error {
			if op == "fetch headers" {
				asked++
			}
			return nil
		}
		w.Sync(t)
		if got := len(b.Target.Messages()); got != n || asked > 2*n {
			t.Errorf("%d messages at the target, %d samples of %d folders", got, asked, n)
		}
	})
}

// TestSameFolders points out a folder that two mailboxes show.
func TestSameFolders(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		for _, login := range []string{"ann", "bob", "cid"} {
			b := w.AddMailbox(t, login)
			team := b.Source.AddFolder("", "team of "+login)
			for i := range 20 {
				subject := fmt.Sprint("shared", i)
				if login == "cid" && i < 18 {
					subject = fmt.Sprint("own", i)
				}
				mail(team, subject)
			}
		}
		w.Settle(t)
		detail, err := migrate.Detail(t.Context(), w.Store, migratetest.EndpointName, migratetest.Batch)
		if err != nil {
			t.Fatal(err)
		}
		if want := "[{20 [ann@example.com: team of ann bob@example.com: team of bob] 0}]"; fmt.Sprint(detail.Same) != want {
			t.Errorf("same folders: %v, want %s", detail.Same, want)
		}
	})
}

// TestSameFolderInPreflight points out a folder that a mailbox shows that was moved, and one that was looked
// at, also where a filter leaves some of it out, but not where nothing tells its messages from others.
func TestSameFolderInPreflight(t *testing.T) {
	for size, want := range map[migrate.Size]string{0: "[{20 [ann@example.com: Team bob@example.com: Annas team] 0}]",
		300: "[{20 [ann@example.com: Team bob@example.com: Annas team] 0}]", 10: "[]"} {
		bubble(t, fmt.Sprint(size), func(t *testing.T, w *migratetest.World) {
			look := false
			w.Endpoint = func(e *migrate.Endpoint) { e.Preflight, e.MaxSize = look, size }
			fill := func(login, team string) {
				b := w.AddMailbox(t, login)
				shown, own := b.Source.AddFolder("", team), b.Source.AddFolder("", "Own")
				for i := range 20 {
					shown.Add(migratetest.Message(fmt.Sprint("t", i), "team", 200+10*i), received)
					own.Add(migratetest.Message(fmt.Sprint(login, i), "own", 200), received)
				}
			}
			fill("ann", "Team")
			w.Settle(t)
			look = true
			fill("bob", "Annas team")
			w.Run(t, time.Hour, func() bool {
				p := w.Checkpoint(t, migrate.NewMailboxID(migratetest.EndpointName, "bob", "guid-of-bob")).Preflight
				return p != nil && !p.At.IsZero()
			})
			if got := fmt.Sprint(detailOf(t, w).Same); got != want {
				t.Errorf("with maxSize %d: %s, want %s", size, got, want)
			}
		})
	}
}

// TestFoldersInChaos has folders come, go, be renamed, renumbered and mapped anew between syncs, with
// kills: each message is at the target once, whatever became of its folder.
func TestFoldersInChaos(t *testing.T) {
	names := []string{"a", "A", "b", "Calendar", "a/b"}
	rules := [][]migrate.FolderMapping{nil, {{From: "a", To: "X", Merge: true}}, {{From: "*", To: "#Archive#/*"}}, {{From: "b", To: "#Inbox#"}}}
	for seed := range 40 {
		bubble(t, fmt.Sprint(seed), func(t *testing.T, w *migratetest.World) {
			r := rand.New(rand.NewPCG(uint64(seed), 7))
			b := w.AddMailbox(t, "ann")
			sent := 0
			for range 8 {
				renamed := make(map[*migratetest.SourceFolder]bool)
				for range 1 + r.IntN(4) {
					name := names[r.IntN(len(names))]
					f, other := b.Source.Folder(name), names[r.IntN(len(names))]
					switch do := r.IntN(6); {
					case f == nil:
						f = b.Source.AddFolder("", strings.Split(name, "/")...)
					case do == 0:
						f.Delete()
						continue
					case do == 1 && b.Source.Folder(other) == nil:
						f.Rename(strings.Split(other, "/")...)
						renamed[f] = true // and a new UIDVALIDITY would make it another folder
					case do == 2 && !renamed[f]:
						f.Renumber()
					case do == 3:
						setEndpoint(t, w, func(e *migrate.Endpoint) { e.FolderMap = rules[r.IntN(len(rules))] })
					}
					for range 1 + r.IntN(6) {
						mail(f, fmt.Sprintf("m%d", sent))
						sent++
					}
				}
				if r.IntN(2) == 0 {
					w.Kills = append(w.Kills, 1+r.IntN(30))
				}
				w.Sync(t)
				// What is at the source now came once; what was removed before it was seen need not have come.
				copies := make(map[string]int)
				for _, m := range b.Target.Messages() {
					copies[m.Subject()]++
					if copies[m.Subject()] > 1 {
						t.Errorf("%s came more than once", m.Subject())
					}
				}
				for _, f := range b.Source.Folders() {
					for _, m := range f.Messages() {
						subject, _, _ := strings.Cut(string(m.Content[strings.Index(string(m.Content), "Subject: ")+9:]), "\r\n")
						if copies[subject] != 1 {
							t.Errorf("%s came %d times", subject, copies[subject])
						}
					}
				}
				if t.Failed() {
					t.Fatalf("the checkpoint: %+v", w.Checkpoint(t, b.Mailbox.ID))
				}
			}
		})
	}
}
