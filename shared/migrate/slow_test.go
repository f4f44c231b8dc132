package migrate_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestMessageThatTakesLongerThanARun has a line that is too slow for one message, for a while or for good: what
// keeps the mailbox from being synced is told, what does not wait for the message comes, and it is given up only
// after a day.
func TestMessageThatTakesLongerThanARun(t *testing.T) {
	for name, c := range map[string]struct {
		long   time.Duration
		failed int
	}{
		"for ten hours": {10 * time.Hour, 0},
		"for good":      {999 * time.Hour, 1},
	} {
		for _, connections := range []int{1, 3} {
			bubble(t, fmt.Sprint(name, " over ", connections), func(t *testing.T, w *migratetest.World) {
				w.Connections = connections
				b := oneMailbox(t, w, 9)
				inbox := b.Source.Folder("INBOX")
				slow := func(takes time.Duration) {
					inbox.Each(func(m *migratetest.SourceMessage) {
						if m.UID == 4 {
							m.Takes = takes
						}
					})
				}
				slow(5 * time.Minute) // a run has 4
				mail(b.Source.AddFolder("", "Z"), "z")
				began := time.Now()
				w.Run(t, time.Hour, func() bool {
					p := w.Checkpoint(t, b.Mailbox.ID).Problem
					return p != nil && strings.Contains(p.Advice, "RUN_BUDGET") && strings.Contains(p.Text, "UID 4")
				})
				w.Run(t, time.Hour, func() bool { return w.Checkpoint(t, b.Mailbox.ID).Counts().Migrated >= 4 })
				w.Run(t, 48*time.Hour, func() bool {
					if time.Since(began) > c.long {
						slow(0)
					}
					cp := w.Checkpoint(t, b.Mailbox.ID)
					return cp.State == migrate.Synced && cp.Phase == migrate.Waiting && cp.Due.After(time.Now())
				})
				n := wantState(t, w, b, migrate.Synced).Counts()
				if n.Failed != c.failed || n.Migrated != 10-c.failed {
					t.Errorf("counts %+v", n)
				}
				if took := time.Since(began); c.failed > 0 && took < 24*time.Hour {
					t.Errorf("given up after %s", took)
				}
			})
		}
	}
}

// TestSlowMessageOfAStoppedRun says nothing of a message that a process did not read to its end because it was
// stopped.
func TestSlowMessageOfAStoppedRun(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 1)
		b.Source.Folder("INBOX").Each(func(m *migratetest.SourceMessage) { m.Takes = 200 * time.Second })
		began, stops := time.Now(), 0
		w.Run(t, time.Hour, func() bool {
			if time.Since(began) > time.Duration(stops+1)*150*time.Second {
				stops++
				w.Restart()
			}
			if p := w.Checkpoint(t, b.Mailbox.ID).Problem; p != nil {
				t.Errorf("problem %+v", p)
			}
			return stops == 5
		})
		w.Settle(t)
		w.CheckExact(t, b)
	})
}

// TestEveryConnectionBreaksUntilTheRunEnds tells what keeps the mailbox from being synced, although it is the
// budget that ends each run.
func TestEveryConnectionBreaksUntilTheRunEnds(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Connections = 1
		b := oneMailbox(t, w, 3)
		broken := true
		b.Source.Before = func(op, _ string, _ migrate.UID) error {
			if op != "list messages" || !broken {
				return nil
			}
			time.Sleep(150 * time.Second)
			return errors.New("the server made no progress")
		}
		w.Run(t, time.Hour, func() bool {
			p := w.Checkpoint(t, b.Mailbox.ID).Problem
			return p != nil && strings.Contains(p.Text, "no progress")
		})
		broken = false
		w.Settle(t)
		w.CheckExact(t, b)
		wantState(t, w, b, migrate.Synced)
	})
}
