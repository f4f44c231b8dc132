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

// refusing has a server give no message of a folder from now on, for that long.
func refusing(b *migratetest.Box, folder string, long time.Duration) {
	end := time.Now().Add(long)
	b.Source.Refuses(func(name string, uid migrate.UID) string {
		if name == folder && time.Now().Before(end) {
			return "NO [SERVERBUG] Internal error occurred."
		}
		return ""
	})
}

// TestServerGivesNothing has a server refuse every message of a folder for a while: the other folder does
// not wait, and nothing is recorded as failed if the server is well again in time.
func TestServerGivesNothing(t *testing.T) {
	for name, c := range map[string]struct {
		messages int
		long     time.Duration
		failed   int
	}{
		"for half an hour":          {30, 30 * time.Minute, 0},
		"a single message":          {1, 30 * time.Minute, 0},
		"a single message for good": {1, 99 * time.Hour, 1},
		"for good":                  {6, 99 * time.Hour, 6}, // two windows
	} {
		bubble(t, name, func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 3)
			ill := b.Source.AddFolder("", "A")
			for i := range c.messages {
				mail(ill, fmt.Sprint("m", i))
			}
			last := b.Source.AddFolder("", "Z")
			mail(last, "z")
			refusing(b, "A", c.long)
			began := time.Now()
			w.Run(t, time.Minute, func() bool { return len(b.Target.Messages()) == 4 })
			if p := w.Checkpoint(t, b.Mailbox.ID).Problem; p == nil || !strings.Contains(p.Text, "SERVERBUG") || !strings.Contains(p.Text, `"A"`) {
				t.Errorf("problem %+v", p)
			}
			w.Settle(t)
			n := wantState(t, w, b, migrate.Synced).Counts()
			if n.Failed != c.failed || n.Migrated != 4+c.messages-c.failed {
				t.Errorf("counts %+v", n)
			}
			if took := time.Since(began); c.failed > 0 && took < time.Hour || took > 5*time.Hour {
				t.Errorf("settled after %s", took)
			}
		})
	}
}

// TestOnlyTheNewMessageIsRefused records it at once: an earlier one still comes.
func TestOnlyTheNewMessageIsRefused(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		w.Settle(t)
		for range 2 {
			b.Source.Folder("INBOX").Add(migratetest.Message("r", "refused", 300), received).Refused = "NO [SERVERBUG] cannot open it"
		}
		began := time.Now()
		w.Sync(t)
		if n := wantState(t, w, b, migrate.Synced).Counts(); n.Failed != 2 || n.Migrated != 3 || time.Since(began) > w.SyncEvery+time.Minute {
			t.Errorf("counts %+v after %s", n, time.Since(began))
		}
	})
}

// TestServerFallsIll has a server refuse what came before, too: the new messages wait until it is well.
func TestServerFallsIll(t *testing.T) {
	for _, n := range []int{1, 6} {
		bubble(t, fmt.Sprint(n), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 3)
			w.Settle(t)
			for i := range n {
				mail(b.Source.Folder("INBOX"), fmt.Sprint("new", i))
			}
			refusing(b, "INBOX", w.SyncEvery+8*time.Hour)
			w.Sync(t)
			if c := wantState(t, w, b, migrate.Synced).Counts(); c.Failed != 0 || c.Migrated != 3+n {
				t.Errorf("counts %+v", c)
			}
		})
	}
}

// TestServerFallsIllInDoubt loses an answer and then gives no header to look the message up with, for a
// while.
func TestServerFallsIllInDoubt(t *testing.T) {
	for _, n := range []int{1, 4} {
		for long, failed := range map[time.Duration]int{30 * time.Minute: 0, 99 * time.Hour: 1} {
			bubble(t, fmt.Sprint(n, " ", long), func(t *testing.T, w *migratetest.World) {
				b := oneMailbox(t, w, n)
				left := 1
				b.Target.Fault = func([]byte) migratetest.Fault {
					if left--; left < 0 {
						return migratetest.Fault{}
					}
					refusing(b, "INBOX", long)
					return migratetest.Fault{Do: true, Err: &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("lost")}}
				}
				w.Run(t, 99*time.Hour, func() bool {
					c := w.Checkpoint(t, b.Mailbox.ID)
					return c.State == migrate.Synced && c.Phase == migrate.Waiting
				})
				c := w.Checkpoint(t, b.Mailbox.ID).Counts()
				if len(b.Target.Messages())+c.Failed < n || failed == 0 && (c.Failed > 0 || c.Found != 1 || c.Migrated != n-1) || failed > 0 && c.Failed == 0 {
					t.Errorf("counts %+v, %d at the target", c, len(b.Target.Messages()))
				}
			})
		}
	}
}

// TestNothingIsSaidOfAnIllServerTooEarly has a server refuse messages and then end connections, or the run
// end, before it is known whether it gives others: nothing is recorded of them, and they come when it is well.
func TestNothingIsSaidOfAnIllServerTooEarly(t *testing.T) {
	for _, connections := range []int{1, 3} {
		for _, ends := range []string{"connection", "run"} {
			bubble(t, fmt.Sprint(ends, " over ", connections), func(t *testing.T, w *migratetest.World) {
				w.Connections = connections
				b := oneMailbox(t, w, 3)
				folder := b.Source.AddFolder("", "A")
				mail(folder, "before")
				w.Settle(t)
				for i := range 3 {
					mail(folder, fmt.Sprint("m", i))
				}
				refusing(b, "A", w.SyncEvery+30*time.Minute)
				asked, stop := 0, new(atomic.Bool)
				b.Source.Before = func(op, folder string, uid migrate.UID) error {
					if op != "fetch" || uid != 0 || folder != "A" {
						return nil
					}
					if asked++; asked > 30 || asked%2 == 1 { // each second looks for one that came before
						return nil
					}
					if ends == "connection" {
						return errors.New("connection reset")
					}
					stop.Store(true)
					time.Sleep(3 * time.Second)
					return nil
				}
				time.Sleep(w.SyncEvery)
				w.Run(t, 24*time.Hour, func() bool {
					if stop.Swap(false) {
						w.Restart()
					}
					c := w.Checkpoint(t, b.Mailbox.ID)
					return c.State == migrate.Synced && c.Phase == migrate.Waiting && c.Due.After(time.Now())
				})
				if n := wantState(t, w, b, migrate.Synced).Counts(); n.Failed != 0 || n.Migrated != 7 {
					t.Errorf("counts %+v", n)
				}
			})
		}
	}
}

// TestWhatCameBeforeEndsTheConnection has a server refuse a new message, and end the connection at each
// that came before: that says no more of the new one than a refusal, and holds nobody up for ever.
func TestWhatCameBeforeEndsTheConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		inbox := b.Source.Folder("INBOX")
		w.Settle(t)
		inbox.Each(func(m *migratetest.SourceMessage) { m.Short = -1 })
		inbox.Add(migratetest.Message("new", "new", 300), received).Refused = "NO [SERVERBUG] Internal error occurred."
		time.Sleep(w.SyncEvery)
		w.Run(t, 40*time.Hour, func() bool {
			c := w.Checkpoint(t, b.Mailbox.ID)
			return c.State == migrate.Synced && c.Phase == migrate.Waiting && c.Due.After(time.Now())
		})
		c := wantState(t, w, b, migrate.Synced)
		if n := c.Counts(); n.Failed != 1 || n.Migrated != 3 {
			t.Errorf("counts %+v", n)
		}
		if n := len(w.Records(t, b.Mailbox.ID, c.Folders[0])); n != 4 {
			t.Errorf("%d records", n)
		}
	})
}
