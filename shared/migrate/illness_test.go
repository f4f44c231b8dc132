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
