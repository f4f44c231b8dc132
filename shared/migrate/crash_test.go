package migrate_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

var received = time.Date(2018, 2, 5, 9, 0, 0, 0, time.UTC)

// twoMailboxes has several folders, identical twins in one folder and across two, and messages
// without a Message-ID.
func twoMailboxes(t testing.TB, w *migratetest.World) {
	for _, login := range []string{"ann", "bob"} {
		b := w.AddMailbox(t, login)
		b.Target.Parallel = 2
		b.Target.Latency = 200 * time.Millisecond
		inbox := b.Source.Folder("INBOX")
		for i := range 6 {
			inbox.Add(migratetest.Message(fmt.Sprintf("%s-%d", login, i), fmt.Sprintf("letter %d", i), 300+i), received.Add(time.Duration(i)*time.Hour), migrate.Seen)
		}
		sent := b.Source.AddFolder(migrate.UseSent, "Sent")
		deep := b.Source.AddFolder("", "Projects", "2018")
		for range 3 {
			inbox.Add(migratetest.Message("twin", "twin", 400), received)
			sent.Add(migratetest.Message("", "no id", 200), received, migrate.Flagged)
			deep.Add(migratetest.Message("twin", "twin", 400), received)
		}
		sent.Add(migratetest.Message("", "no id either", 200), received, migrate.Seen, migrate.Answered)
		deep.Add(migratetest.Message("draft", "to be written", 2000), received, migrate.Draft)
		b.Source.AddFolder("", "Empty")
	}
}

// TestKilledAtEverySideEffect kills the process after its first, second, ... side effect, up to the
// end of the work. Every message is brought over once all the same.
func TestKilledAtEverySideEffect(t *testing.T) {
	total := 0
	synctest.Test(t, func(t *testing.T) {
		w := migratetest.NewWorld()
		twoMailboxes(t, w)
		w.Settle(t)
		total = w.Effects()
		for _, b := range w.Boxes {
			w.CheckExact(t, b)
		}
	})
	if total < 50 {
		t.Fatalf("only %d side effects", total)
	}
	for k := 1; k <= total; k++ {
		t.Run(fmt.Sprint(k), func(t *testing.T) { killed(t, k) })
		if k%3 == 0 { // and its successor, too
			t.Run(fmt.Sprintf("%d and %d", k, 5+k%13), func(t *testing.T) { killed(t, k, 5+k%13) })
		}
	}
}

func killed(t *testing.T, kills ...int) {
	synctest.Test(t, func(t *testing.T) {
		w := migratetest.NewWorld()
		w.Kills = kills
		twoMailboxes(t, w)
		w.Settle(t)
		for id, b := range w.Boxes {
			if c := w.Checkpoint(t, id); c.State != migrate.Synced {
				t.Errorf("%s is %s: %+v", b.Mailbox.Login, c.State, c.Problem)
			}
			w.CheckExact(t, b)
		}
	})
}
