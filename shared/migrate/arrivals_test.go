package migrate_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestRenumberedFolderCostsLinearly gives a folder a new UIDVALIDITY: however many messages it has, the
// ledgers are read once, and four messages are looked up at a time.
func TestRenumberedFolderCostsLinearly(t *testing.T) {
	for _, n := range []int{100, 600} {
		bubble(t, fmt.Sprint(n), func(t *testing.T, w *migratetest.World) {
			w.Limits.WindowMessages = 20
			b := oneMailbox(t, w, n)
			for i := range 5 {
				mail(b.Source.AddFolder("", fmt.Sprint("Other ", i)), "letter")
			}
			w.Settle(t)
			b.Source.Folder("INBOX").Renumber()
			b.Target.Latency = 100 * time.Millisecond
			mail(b.Source.Folder("INBOX"), "new")
			var reads atomic.Int64
			w.Store.Before = func(op, name string) error {
				if op == "open" && strings.HasPrefix(name, "ledgers/") {
					reads.Add(1)
				}
				return nil
			}
			began := time.Now().Add(w.SyncEvery)
			w.Sync(t)
			if took := time.Since(began); took > time.Duration(n)*b.Target.Latency/4+10*time.Second {
				t.Errorf("it took %s", took)
			}
			if got := reads.Load(); got > 6+2 {
				t.Errorf("ledgers are read %d times, of 6 folders", got)
			}
			c := wantState(t, w, b, migrate.Synced).Counts()
			if c.Found != n || c.Migrated != 6 || len(b.Target.Messages()) != n+6 {
				t.Errorf("counts %+v, %d messages at the target", c, len(b.Target.Messages()))
			}
		})
	}
}
