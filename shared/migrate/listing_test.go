package migrate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestListThatIsNeverWhole has a server count a message that it does not list: the others come, the mailbox
// does not wait for ever, and the folder counts until the list is whole.
func TestListThatIsNeverWhole(t *testing.T) {
	for _, heals := range []bool{true, false} {
		bubble(t, fmt.Sprint(heals), func(t *testing.T, w *migratetest.World) {
			b := w.AddMailbox(t, "ann")
			f := b.Source.AddFolder("", "A")
			mail(f, "one")
			mail(f, "hidden")
			mail(f, "three")
			f.Each(func(m *migratetest.SourceMessage) { m.Unlisted = m.UID == 2 })
			mail(b.Source.AddFolder("", "Z"), "z")
			w.Run(t, time.Minute, func() bool { return len(b.Target.Messages()) == 3 })
			w.Settle(t)
			w.Sync(t)
			c := wantState(t, w, b, migrate.Synced)
			if c.Total() != 4 || len(c.Notes) != 1 || !strings.Contains(c.Notes[0].Text, "2 UIDs for 3 messages") {
				t.Errorf("total %d, notes %v", c.Total(), c.Notes)
			}
			want := migrate.CompletedWithWarnings
			if heals {
				f.Each(func(m *migratetest.SourceMessage) { m.Unlisted = false })
				want = migrate.Completed
			}
			w.Complete(t)
			c = wantState(t, w, b, want)
			if heals {
				wantContents(t, b, "a: hidden one three", "z: z")
			} else if wantContents(t, b, "a: one three", "z: z"); c.Verified.Closed != 1 {
				t.Errorf("verification %+v", c.Verified)
			}
		})
	}
}

// TestConnectionToAReplica has further connections reach a replica that does not have the newest messages
// yet, for a while: none of them passes for one that was removed.
func TestConnectionToAReplica(t *testing.T) {
	for _, behind := range []int{1, 5, 100} {
		bubble(t, fmt.Sprint(behind), func(t *testing.T, w *migratetest.World) {
			w.Connections = 3
			b := oneMailbox(t, w, 40)
			b.Source.Latency = 100 * time.Millisecond
			dialed, lags := 0, time.Now().Add(10*time.Minute)
			b.Source.Behind = func() int {
				if dialed++; dialed%3 == 1 || time.Now().After(lags) {
					return 0
				}
				return behind
			}
			w.Settle(t)
			w.CheckExact(t, b)
		})
	}
}

// TestUIDThatNeverWas has a server tell of a UID that it has not given yet, as news of another folder may
// look: the message that gets it comes.
func TestUIDThatNeverWas(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		inbox := b.Source.Folder("INBOX")
		w.Settle(t)
		told, taken := false, false
		b.Source.Before = func(op, _ string, uid migrate.UID) error {
			switch {
			case op == "list messages" && !told: // behind EXAMINE
				told = true
				mail(inbox, "phantom")
			case op == "fetch" && uid == 5 && !taken:
				taken = true
				inbox.Restore(1)
			}
			return nil
		}
		mail(inbox, "new")
		w.Sync(t)
		mail(inbox, "x")
		mail(inbox, "y")
		w.Sync(t)
		wantContents(t, b, "(inbox): letter 0 letter 1 letter 2 new x y")
	})
}

// TestFolderIsOlderForAWhile has a server show an older state of a folder in between, as a replica or a
// backup: nothing comes twice when it is as it was, and what took the UIDs in between comes.
func TestFolderIsOlderForAWhile(t *testing.T) {
	for _, n := range []int{9, 200} {
		for _, behind := range []int{1, 3, 6, 300} {
			for _, complete := range []bool{false, true} {
				bubble(t, fmt.Sprint(behind, " of ", n, ", completion: ", complete), func(t *testing.T, w *migratetest.World) {
					b := oneMailbox(t, w, n)
					for range 3 {
						b.Source.Folder("INBOX").Add(migratetest.Message("twin", "twin", 300), received)
					}
					w.Settle(t)
					b.Source.Behind = func() int { return behind }
					w.Sync(t)
					b.Source.Behind = nil
					if !complete {
						mail(b.Source.Folder("INBOX"), "new")
						w.Sync(t)
					}
					w.Complete(t)
					want := n + 3
					if !complete {
						want++
					}
					if got := len(b.Target.Messages()); got != want {
						t.Errorf("the target has %d messages, want %d", got, want)
					}
					if c := wantState(t, w, b, migrate.Completed); c.Verified.Present != want {
						t.Errorf("verification %+v", c.Verified)
					}
				})
			}
		}
	}
}

// TestFolderIsOlderForAWhileKilled kills the runs that see it.
func TestFolderIsOlderForAWhileKilled(t *testing.T) {
	for _, behind := range []int{3, 300} {
		for k := range 30 {
			bubble(t, fmt.Sprint(behind, " ", k), func(t *testing.T, w *migratetest.World) {
				b := oneMailbox(t, w, 9)
				w.Settle(t)
				w.Kills = []int{0, k, k/2 + 3}
				b.Source.Behind = func() int { return behind }
				w.Sync(t)
				b.Source.Behind = nil
				mail(b.Source.Folder("INBOX"), "new")
				w.Sync(t)
				w.Complete(t)
				wantContents(t, b, "(inbox): letter 0 letter 1 letter 2 letter 3 letter 4 letter 5 letter 6 letter 7 letter 8 new")
				wantState(t, w, b, migrate.Completed)
			})
		}
	}
}

// TestOlderStatesAtOnce has connections see older states of the folders at random while mail arrives, answers
// of the target get lost and processes die.
func TestOlderStatesAtOnce(t *testing.T) {
	for seed := range 30 {
		bubble(t, fmt.Sprint(seed), func(t *testing.T, w *migratetest.World) {
			w.Mercy, w.Processes, w.Slots, w.SyncEvery, w.Connections = true, 2, 2, 10*time.Minute, 3
			c := &chaos{random: rand.New(rand.NewPCG(uint64(seed), 9)), until: time.Now().Add(2 * time.Hour)}
			for range 6 {
				w.Kills = append(w.Kills, 40+c.random.IntN(150))
			}
			twoMailboxes(t, w)
			for _, b := range w.Boxes {
				c.befall(b)
				b.Source.Behind = func() int {
					if c.once(4) {
						return 1 + int(c.seconds(6)/time.Second)
					}
					return 0
				}
			}
			w.Run(t, 3*time.Hour, func() bool {
				if c.once(200) {
					for _, b := range w.Boxes {
						b.Source.Folder("INBOX").Add(migratetest.Message("twin", "twin", 400), received)
						b.Source.Folder("Sent").Add(migratetest.Message("", "no id", 200), received, migrate.Flagged)
					}
				}
				return time.Now().After(c.until)
			})
			w.Sync(t)
			w.Settle(t)
			w.Complete(t)
			for _, b := range w.Boxes {
				want := 0
				for _, f := range b.Source.Folders() {
					want += len(f.Messages())
				}
				v := w.Checkpoint(t, b.Mailbox.ID).Verified // a twin in another folder may pass for one that is gone
				if got := len(b.Target.Messages()); got != want || v.Source != want || v.Recorded != want || v.Present+v.Moved != want {
					t.Errorf("%d messages at the target, want %d: verification %+v", got, want, v)
				}
			}
		})
	}
}

// TestLookUpWhileAnotherFolderLooksEmpty has a message in doubt whose twin lies in a folder that looks empty at that
// time: the twin's copy is not taken for it.
func TestLookUpWhileAnotherFolderLooksEmpty(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		mail(b.Source.AddFolder("", "Z"), "twin")
		w.Settle(t)
		lost, puts := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("lost")}, 0
		b.Target.Fault = func([]byte) (fault migratetest.Fault) {
			if puts++; puts == 1 {
				fault.Err = lost
			}
			return fault
		}
		mail(b.Source.Folder("INBOX"), "twin")
		mail(b.Source.Folder("INBOX"), "x")
		b.Source.Behind = func() int { return 1 }
		w.Sync(t)
		b.Source.Behind = nil
		w.Sync(t)
		w.Complete(t)
		wantContents(t, b, "(inbox): letter 0 letter 1 letter 2 twin x", "z: twin")
	})
}

// TestCountsOfWhatCameBack has messages vanish and come back, brought ones, ones that are left out, and one that was
// removed before it came: each counts once.
func TestCountsOfWhatCameBack(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Endpoint = func(e *migrate.Endpoint) { e.MessageFilter.MaxSize = 1 << 10 }
		b := oneMailbox(t, w, 9)
		inbox := b.Source.Folder("INBOX")
		inbox.Add(migratetest.Message("large", "large", 2<<10), received)
		mail(inbox, "removed")
		mail(inbox, "last")
		b.Source.Before = func(op, _ string, uid migrate.UID) error {
			if op == "fetch" && uid == 11 {
				inbox.Remove(11)
			}
			return nil
		}
		w.Settle(t)
		b.Source.Before = nil
		mail(inbox, "in the place of what was removed")
		inbox.Each(func(m *migratetest.SourceMessage) {
			if m.UID == 13 {
				m.UID = 11
			}
		})
		b.Source.Behind = func() int { return 4 }
		w.Sync(t)
		b.Source.Behind = nil
		w.Sync(t)
		w.Complete(t)
		c := wantState(t, w, b, migrate.Completed)
		if n := c.Counts(); n.Messages() != 12 || n.Migrated != 11 || n.Skipped != 1 {
			t.Errorf("counts %+v", n)
		}
		r := readReport(t, w, b)
		if left := r.Folders[0].LeftOut; len(left) != 1 || left["larger than 1KB (maxSize)"] != 1 || len(r.Exceptions) != 0 {
			t.Errorf("left out %v, exceptions %+v", left, r.Exceptions)
		}
	})
}
