package imapsource

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// standsStill answers nothing until the client has enough.
func standsStill(p *peer) bool {
	_, _, err := p.read()
	return err == nil
}

// stillAt has messages of which one does not come, from its first octet on or from within.
func stillAt(n int, bad migrate.UID, begun bool) *shelf {
	shelf := newShelf(n, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		if uid != bad {
			return shelf.answer(p, "", uid, seq)
		}
		if begun {
			p.send("* %d FETCH (UID %d %s BODY[] {2000}\r\n%s", seq, uid, meta, strings.Repeat("z", 1000))
		}
		return standsStill(p)
	}
	return shelf
}

// A message at which the server stands still is found out within a run of the default four minutes, wherever it
// lies; the others come.
func TestMessageAtWhichTheServerStandsStill(t *testing.T) {
	for _, begun := range []bool{false, true} {
		for _, bad := range []migrate.UID{11, 147, 209} {
			t.Run(fmt.Sprint(bad, begun), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					shelf := stillAt(200, bad, begun)
					d := inMemory(t, hello, shelf.hook)
					d.Stall = defaultStall
					s := dialBy(t, d, clearly)
					if _, err := s.Open(t.Context(), "INBOX"); err != nil {
						t.Fatal(err)
					}
					start := time.Now()
					got, refused, err := sorted(t, s, shelf.all())
					if err != nil || len(got) != 199 || !strings.Contains(fmt.Sprint(refused[bad]), "made no progress") {
						t.Errorf("%d came, refused %v: %v", len(got), refused, err)
					}
					if took := time.Since(start); took > 230*time.Second {
						t.Errorf("it took %s", took)
					}
				})
			})
		}
	}
}

// A mailbox with such a message is synced in the end, and says which one did not come.
func TestMigrationAtWhichTheServerStandsStill(t *testing.T) {
	for _, n := range []int{1, 20} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shelf := stillAt(n, 10, false)
				d := inMemory(t, hello, shelf.hook)
				d.Stall = defaultStall
				w := migratetest.NewWorld()
				w.Limits.WindowMessages = 200
				box := w.AddMailbox(t, "u")
				box.Dial = func(ctx context.Context, _ migrate.Endpoint, mailbox migrate.Mailbox) (migrate.Source, error) {
					return d.Dial(ctx, clearly, mailbox)
				}
				w.Settle(t)
				if c := w.Checkpoint(t, box.Mailbox.ID).Counts(); c.Migrated != n-1 || c.Failed != 1 {
					t.Errorf("counts %+v", c)
				}
			})
		})
	}
}
