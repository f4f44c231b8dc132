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

// TestVerificationTakesSeveralRuns has a target that takes a quarter of an hour to list its folders, and to look for
// messages that users have moved: no run takes much longer than its budget, also where processes die.
func TestVerificationTakesSeveralRuns(t *testing.T) {
	for _, kills := range []int{0, 5, 13} {
		bubble(t, fmt.Sprint("killed after ", kills), func(t *testing.T, w *migratetest.World) {
			b := w.AddMailbox(t, "ann")
			for i := range 15 {
				f := b.Source.AddFolder("", fmt.Sprintf("f%02d", i))
				for n := range 4 {
					mail(f, fmt.Sprint("letter ", i, "-", n))
				}
				mail(f, "twin")
			}
			w.Settle(t)
			for _, m := range b.Target.Messages() {
				switch subject := m.Subject(); {
				case subject == "twin" && m.FolderID < "f02": // two are gone: the others' copies are none of theirs
					b.Target.Change(m.ID, func(*migratetest.TargetMessage) bool { return false })
				case subject == "twin" && m.FolderID < "f04", strings.HasSuffix(subject, "-1"):
					b.Target.Change(m.ID, func(m *migratetest.TargetMessage) bool { m.FolderID = "(archive)"; return true })
				case strings.HasSuffix(subject, "9-2"):
					b.Target.Change(m.ID, func(*migratetest.TargetMessage) bool { return false })
				}
			}
			longest := longestRun(b)
			b.Target.Latency = 40 * time.Second
			w.Kills = []int{0, kills, kills}
			w.Complete(t)
			v := wantState(t, w, b, migrate.CompletedWithWarnings).Verified
			if want := (migrate.Verification{At: v.At, Source: 75, Recorded: 75, Present: 55, Moved: 17, Absent: 3}); *v != want {
				t.Errorf("verification %+v, want %+v", *v, want)
			}
			if *longest > 5*time.Minute {
				t.Errorf("a run took %s", *longest)
			}
		})
	}
}

// longestRun measures for how long the mailbox is connected to its source, at the most.
func longestRun(b *migratetest.Box) *time.Duration {
	longest, began := new(time.Duration), time.Time{}
	b.Source.Connected = func(n int) {
		if n > 0 {
			began = time.Now()
		} else {
			*longest = max(*longest, time.Since(began))
		}
	}
	return longest
}

// TestReportThatCannotBeWritten has the store refuse a report: the mailbox is completed once it has one.
func TestReportThatCannotBeWritten(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		w.Settle(t)
		refused := 0
		w.Store.Before = func(op, name string) error {
			if op == "put" && strings.HasPrefix(name, "reports/") && refused < 2 {
				refused++
				return errors.New("the store is odd")
			}
			return nil
		}
		w.Complete(t)
		if r := readReport(t, w, b); r.State != migrate.Completed || refused != 2 {
			t.Errorf("report %+v after %d refusals", r, refused)
		}
	})
}
