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

// TestRefusedMessage has the source refuse one message: its outcome holds the server's words, and
// the others arrive.
func TestRefusedMessage(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 12)
		refused := b.Source.Folder("INBOX").Add(migratetest.Message("r", "refused", 300), received)
		refused.Refused = "NO [SERVERBUG] cannot open 1234.eml"
		empty := b.Source.Folder("INBOX").Add(nil, received)
		w.Settle(t)
		c := wantState(t, w, b, migrate.Synced)
		if n := c.Counts(); n.Migrated != 13 || n.Failed != 1 || c.Passes == 0 {
			t.Errorf("counts %+v", n)
		}
		for _, r := range w.Records(t, b.Mailbox.ID, c.Folders[0]) {
			if r.UID == refused.UID && (r.Outcome != migrate.NotMigrated || !strings.Contains(r.Reason, refused.Refused) || !strings.Contains(r.Reason, `"INBOX" (UID 13)`)) {
				t.Errorf("the record is %+v", r)
			}
			if r.UID == empty.UID && (r.Outcome != migrate.Migrated || r.Octets != 0) {
				t.Errorf("the record of the empty message is %+v", r)
			}
		}
	})
}

// TestMessageThatBreaksTheSource has one message end the connection before its first octet, again and
// again: after so many times it is given up, and the others arrive.
func TestMessageThatBreaksTheSource(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 6)
		b.Source.Before = func(_, _ string, uid migrate.UID) error {
			if uid == 3 {
				return &migrate.Error{Op: "fetch", UID: uid, Kind: migrate.Unreachable, Err: errors.New("BYE internal error")}
			}
			return nil
		}
		w.Settle(t)
		c := wantState(t, w, b, migrate.Synced)
		if n := c.Counts(); n.Migrated != 5 || n.Failed != 1 {
			t.Errorf("counts %+v", n)
		}
		for _, r := range w.Records(t, b.Mailbox.ID, c.Folders[0]) {
			if r.UID == 3 && !strings.Contains(r.Reason, "BYE internal error") {
				t.Errorf("the record is %+v", r)
			}
		}
	})
}

// TestMessagesThatChange has every message be another one when its connection breaks, once: each is
// begun again within the run. One that does so always is given up, and the others arrive.
func TestMessagesThatChange(t *testing.T) {
	for always, failed := range map[bool]int{false: 0, true: 1} {
		bubble(t, fmt.Sprint(always), func(t *testing.T, w *migratetest.World) {
			b := w.AddMailbox(t, "ann")
			dials := 0
			b.Source.Connected = func(n int) { dials += max(n, 0) }
			for i := range 30 {
				m := b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(i), fmt.Sprint(i), 300), received)
				if m.Changed = 1; always && i == 7 {
					m.Changed = -1
				}
			}
			w.Settle(t)
			c := wantState(t, w, b, migrate.Synced)
			if n := c.Counts(); n.Migrated != 30-failed || n.Failed != failed {
				t.Errorf("counts %+v", n)
			}
			if !always && (dials > 3 || c.Failures != 0) {
				t.Errorf("%d connections were made, %d runs failed", dials, c.Failures)
			}
		})
	}
}

// TestRefusedMessageInDoubt has an answer get lost and the source refuse the header that is to be
// looked up with: nothing is written twice.
func TestRefusedMessageInDoubt(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 3)
		odd := b.Source.Folder("INBOX").Add(migratetest.Message("o", "odd", 300), received)
		lost := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("lost")}
		b.Target.Fault = func(content []byte) migratetest.Fault {
			if strings.Contains(string(content), "Subject: odd") {
				odd.Refused = "NO gone bad"
				return migratetest.Fault{Do: true, Err: lost}
			}
			return migratetest.Fault{}
		}
		w.Settle(t)
		c := wantState(t, w, b, migrate.Synced)
		if n := c.Counts(); n.Migrated+n.Found != 3 || n.Failed != 1 || len(b.Target.Messages()) != 4 {
			t.Errorf("counts %+v, %d at the target", n, len(b.Target.Messages()))
		}
	})
}

// TestMarkedDeleted has messages that are marked \\Deleted and not expunged.
func TestMarkedDeleted(t *testing.T) {
	for rule, want := range map[migrate.DeletedRule]migrate.Counts{
		migrate.UnflagDeleted: {Migrated: 3}, migrate.SkipDeleted: {Migrated: 1, Skipped: 2},
	} {
		bubble(t, string(rule), func(t *testing.T, w *migratetest.World) {
			w.Endpoint = func(e *migrate.Endpoint) { e.Deleted = rule }
			b := oneMailbox(t, w, 1)
			b.Source.Folder("INBOX").Add(migratetest.Message("d", "deleted", 300), received, migrate.Seen, migrate.Deleted)
			b.Source.Folder("INBOX").Add(migratetest.Message("e", "deleted", 300), received, `\DELETED`)
			w.Settle(t)
			n := wantState(t, w, b, migrate.Synced).Counts()
			if n.Octets = 0; n != want {
				t.Errorf("counts %+v, want %+v", n, want)
			}
			for _, m := range b.Target.Messages() {
				if migrate.HasFlag(m.Flags, migrate.Deleted) {
					t.Errorf("a message has the flags %v at the target", m.Flags)
				}
			}
			w.Complete(t)
			wantState(t, w, b, migrate.Completed)
		})
	}
}

// TestMarkIsTakenAway un-deletes a message that was skipped for its mark: the next sync brings it, also
// where the server's states do not change. The body of a marked one is not asked for.
func TestMarkIsTakenAway(t *testing.T) {
	for k := range 25 {
		bubble(t, fmt.Sprint("killed at ", k), func(t *testing.T, w *migratetest.World) {
			w.Endpoint = func(e *migrate.Endpoint) { e.Deleted = migrate.SkipDeleted }
			b := oneMailbox(t, w, 3)
			inbox := b.Source.Folder("INBOX")
			one := inbox.Add(migratetest.Message("d", "deleted", 300), received, migrate.Seen, migrate.Deleted)
			two := inbox.Add(migratetest.Message("e", "deleted too", 300), received, migrate.Deleted)
			b.Source.Before = func(op, _ string, uid migrate.UID) error {
				if op == "fetch" && uid == two.UID || op == "fetch" && uid == one.UID && migrate.HasFlag(one.Flags, migrate.Deleted) {
					t.Errorf("the body of UID %d is asked for", uid)
				}
				return nil
			}
			w.Settle(t)
			w.Sync(t)
			if n := wantState(t, w, b, migrate.Synced).Counts(); n.Migrated != 3 || n.Skipped != 2 {
				t.Errorf("counts %+v", n)
			}
			one.Flags = []migrate.Flag{migrate.Seen}
			w.Kills = []int{0, 0, k}
			w.Sync(t)
			w.Settle(t)
			c := wantState(t, w, b, migrate.Synced)
			if n := c.Counts(); n.Migrated+n.Found != 4 || n.Skipped != 1 || c.Folders[0].Marked.String() != "5" {
				t.Errorf("counts %+v, marked %s", n, c.Folders[0].Marked)
			}
			wantContents(t, b, "(inbox): deleted letter 0 letter 1 letter 2")
			if k > 0 {
				return
			}
			setEndpoint(t, w, func(*migrate.Endpoint) {})
			b.Source.Before = nil
			w.Complete(t)
			wantContents(t, b, "(inbox): deleted deleted too letter 0 letter 1 letter 2")
			if n := wantState(t, w, b, migrate.Completed).Counts(); n.Skipped != 0 {
				t.Errorf("counts %+v", n)
			}
		})
	}
}

// TestReceivedFromTheHeader writes messages with the date of their header, and finds them by it.
func TestReceivedFromTheHeader(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Endpoint = func(e *migrate.Endpoint) { e.Received = migrate.ReceivedOrder{migrate.FromDateHeader} }
		b := w.AddMailbox(t, "user")
		date := time.Date(2011, 1, 2, 3, 4, 5, 0, time.UTC)
		for _, subject := range []string{"one", "two", "three"} {
			content := "Message-ID: <" + subject + ">\r\nDate: " + date.Format(time.RFC1123Z) + "\r\nSubject: " + subject + "\r\n\r\nbody"
			b.Source.Folder("INBOX").Add([]byte(content), received)
		}
		lost := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("lost")}
		b.Target.Fault = func(content []byte) migratetest.Fault {
			return migratetest.Fault{Do: true, Err: lost}
		}
		w.Settle(t)
		if n := wantState(t, w, b, migrate.Synced).Counts(); n.Found != 3 {
			t.Errorf("counts %+v", n)
		}
		for _, m := range b.Target.Messages() {
			if !m.Received.Equal(date) {
				t.Errorf("a message was received at %s", m.Received)
			}
		}
		if n := len(b.Target.Messages()); n != 3 {
			t.Errorf("%d messages", n)
		}
	})
}

// TestRemovedAndDeliveredWhileListing has users delete and get mail between EXAMINE and the list of
// UIDs: what is there in the end has an outcome, and nothing is waited for that is gone.
func TestRemovedAndDeliveredWhileListing(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 10)
		inbox := b.Source.Folder("INBOX")
		n := 0
		b.Source.Before = func(op, _ string, _ migrate.UID) error {
			if op != "list messages" {
				return nil
			}
			if n++; n <= 2 {
				inbox.Remove(migrate.UID(n))
			}
			if n == 3 {
				inbox.Add(migratetest.Message("new", "new", 300), received)
			}
			return nil
		}
		w.Settle(t)
		if c := wantState(t, w, b, migrate.Synced).Counts(); c.Migrated != 9 || c.Failed != 0 || n < 3 {
			t.Errorf("counts %+v after %d lists", c, n)
		}
	})
}

// TestServerForgetsUIDs has a server name fewer UIDs than it says there are messages: that is never
// taken for an empty folder.
func TestServerForgetsUIDs(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 5)
		inbox := b.Source.Folder("INBOX")
		lists := 0
		b.Source.Before = func(op, _ string, _ migrate.UID) error {
			if op == "list messages" && lists < 3 {
				lists++
				inbox.Remove(migrate.UID(lists)) // each list is one short of what EXAMINE said
				inbox.Add(migratetest.Message("again"+string(rune('0'+lists)), "again", 300), received)
				inbox.Remove(migrate.UID(5 + lists))
			}
			return nil
		}
		w.Settle(t)
		if c := wantState(t, w, b, migrate.Synced).Counts(); c.Migrated != 2 || lists != 3 {
			t.Errorf("counts %+v", c)
		}
	})
}
