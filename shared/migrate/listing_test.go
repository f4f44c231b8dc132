package migrate_test

import (
	"fmt"
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
