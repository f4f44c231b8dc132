package migrate_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// lateTwin has the answer for a message get lost, and the request act after that time.
func lateTwin(b *migratetest.Box, after time.Duration) {
	left := 1
	b.Target.Fault = func(content []byte) migratetest.Fault {
		if left == 0 || !bytes.Contains(content, []byte("Subject: letter 2\r\n")) {
			return migratetest.Fault{}
		}
		left--
		return migratetest.Fault{Do: after > 0, After: after, Err: &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("the answer is lost")}}
	}
}

// TestRequestThatActsVeryLate has a request act after the longest request time, when its message was
// written again: a second look-up finds out, by the next sync or before the completion.
func TestRequestThatActsVeryLate(t *testing.T) {
	for name, after := range map[string]time.Duration{"very late": 100 * time.Second, "in time": 30 * time.Second, "never": 0} {
		for _, sync := range []bool{true, false} {
			bubble(t, fmt.Sprint(name, ", a sync comes: ", sync), func(t *testing.T, w *migratetest.World) {
				b := oneMailbox(t, w, 6)
				lateTwin(b, after)
				doubled := 0
				if name == "very late" {
					doubled = 1
				}
				if sync {
					w.Settle(t)
					if m := b.Target.Messages()[0]; true { // a user's own copy elsewhere is no double
						b.Target.Copy(m, "elsewhere")
					}
					w.Sync(t)
					if c := wantState(t, w, b, migrate.Synced); c.Folders[0].Doubled.Len() != doubled || len(c.Again) != 0 {
						t.Errorf("doubled: %s, to be looked up again: %+v", c.Folders[0].Doubled, c.Again)
					}
				}
				w.Complete(t)
				c := w.Checkpoint(t, b.Mailbox.ID)
				if c.Folders[0].Doubled.Len() != doubled || c.Verified.Doubles != doubled || len(c.Again) != 0 {
					t.Errorf("doubled: %s, to be looked up again: %+v, verification %+v", c.Folders[0].Doubled, c.Again, c.Verified)
				}
				r := readReport(t, w, b)
				if len(r.Exceptions) != doubled || doubled == 1 && !strings.Contains(r.Exceptions[0].Reason, "twice") {
					t.Errorf("exceptions %+v", r.Exceptions)
				}
			})
		}
	}
}

// TestRequestThatActsVeryLateKilled kills the processes that find out.
func TestRequestThatActsVeryLateKilled(t *testing.T) {
	for k := range 80 {
		bubble(t, fmt.Sprint(k), func(t *testing.T, w *migratetest.World) {
			w.Kills = []int{0, k / 2, k/4 + 2}
			if k%2 == 1 {
				w.Kills = w.Kills[1:]
			}
			b := oneMailbox(t, w, 6)
			lateTwin(b, 100*time.Second)
			w.Settle(t)
			w.Restart()
			w.Complete(t)
			doubles := len(b.Target.Messages()) - 6 // none if the death delayed the look-up so long
			if c := w.Checkpoint(t, b.Mailbox.ID); c.Folders[0].Doubled.Len() != doubles || c.Verified.Doubles != doubles || c.Verified.Present != 6 {
				t.Errorf("doubled: %s, %d at the target, verification %+v", c.Folders[0].Doubled, 6+doubles, c.Verified)
			}
		})
	}
}
