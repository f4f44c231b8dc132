package migrate_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestMessageThatBreaksTheConnection has the connection to the target break each time with one message, before all of it
// was sent or behind: the others come soon, and the mailbox is synced in the end.
func TestMessageThatBreaksTheConnection(t *testing.T) {
	for unknown, parallel := range map[bool]int{true: 1, false: 3} {
		bubble(t, fmt.Sprint("all was sent: ", unknown), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 9)
			b.Target.Parallel = parallel
			puts := 0
			b.Target.Fault = func(content []byte) (fault migratetest.Fault) {
				if bytes.Contains(content, []byte("letter 2\r\n")) {
					puts++
					fault.Err = breaking(unknown)
				}
				return fault
			}
			w.Run(t, time.Hour, func() bool { return len(b.Target.Messages()) == 8 })
			w.Settle(t)
			c := wantState(t, w, b, migrate.Synced)
			if n := c.Counts(); n.Migrated != 8 || n.Failed != 1 || puts > 200 || len(c.Folders[0].Breaks) > 0 {
				t.Errorf("counts %+v after %d tries, breaks %v", n, puts, c.Folders[0].Breaks)
			}
			if took := c.Ended.Sub(c.Started); took < 18*time.Hour || took > 30*time.Hour {
				t.Errorf("took %s", took)
			}
			w.Complete(t)
			if r := readReport(t, w, b); len(r.Exceptions) != 1 || r.Exceptions[0].UID != 3 {
				t.Errorf("exceptions %+v", r.Exceptions)
			}
		})
	}
}

func breaking(unknown bool) error {
	return &migrate.Error{Op: "append", Kind: migrate.Unreachable, Reason: migrate.BrokeOff, Unknown: unknown, Err: errors.New("connection reset")}
}

// TestTargetThatBreaksForAWhile has every message break the connection for half a day: none is given up.
func TestTargetThatBreaksForAWhile(t *testing.T) {
	for _, unknown := range []bool{true, false} {
		bubble(t, fmt.Sprint("all was sent: ", unknown), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 9)
			b.Target.Parallel = 3
			until := time.Now().Add(12 * time.Hour)
			b.Target.Fault = func([]byte) (fault migratetest.Fault) {
				if time.Now().Before(until) {
					fault.Err = breaking(unknown)
				}
				return fault
			}
			w.Settle(t)
			w.CheckExact(t, b)
		})
	}
}
