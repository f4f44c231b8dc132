package imapsource

import (
	"fmt"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// The transcripts of Zimbra follow zm-mailbox at commit 2b7f9787, files in
// store/src/java/com/zimbra/cs/imap.

// zimbra sends one message as ImapHandler.java:4074-4175 (doFETCH) does: UID, INTERNALDATE,
// RFC822.SIZE, body, and the flags behind it.
func zimbra(p *peer, seq int, uid migrate.UID, octets int, body string) {
	p.send("* %d FETCH (UID %d INTERNALDATE \"01-Feb-2020 03:04:05 +0000\" RFC822.SIZE %d BODY[] {%d}\r\n%s FLAGS (\\Seen))\r\n",
		seq, uid, octets, octets, body)
}

func TestZimbraSendsFlagsBehindTheBody(t *testing.T) {
	shelf := newShelf(60, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		zimbra(p, seq, uid, len(short(uid)), short(uid))
		return true
	}
	s := shelf.open(t)
	for _, window := range []migrate.UIDSet{shelf.all().Newest(30), shelf.all().Minus(shelf.all().Newest(30))} {
		// As the run does it: sizes first, then the messages.
		if err := s.Describe(t.Context(), window, func(migrate.MessageInfo) error { return nil }); err != nil {
			t.Fatal(err)
		}
		got, refused, err := sorted(t, s, window)
		if err != nil || len(got) != 30 || len(refused) != 0 {
			t.Fatalf("%d came, refused %v: %v", len(got), refused, err)
		}
	}
	if n := len(shelf.commands); n != 5 { // one to learn UIDNEXT, then two for each window
		t.Errorf("it took %d commands: %q", n, shelf.commands)
	}
}

func TestZimbraFlagsBehindTheBodyWithoutADescription(t *testing.T) {
	shelf := newShelf(30, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		zimbra(p, seq, uid, len(short(uid)), short(uid))
		return true
	}
	s := shelf.open(t)
	for _, window := range []migrate.UIDSet{shelf.all().Newest(15), shelf.all().Minus(shelf.all().Newest(15))} {
		before := len(shelf.commands)
		got, _, err := sorted(t, s, window)
		if n := len(shelf.commands) - before; err != nil || len(got) != 15 || n != 2 {
			t.Fatalf("%d came with %d commands: %v", len(got), n, err)
		}
	}
}

// ImapHandler.java:4204-4263 (fetchStub): a message that another session expunged is answered like an
// empty one of 1970, until the UID command's end tells of it (line 4187).
func TestZimbraStubOfAnExpungedMessage(t *testing.T) {
	shelf := newShelf(10, short)
	gone := false
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		if uid == 14 {
			p.send("* %d FETCH (UID 14 INTERNALDATE \"01-Jan-1970 00:00:00 +0000\" RFC822.SIZE 0 BODY[] \"\" FLAGS ())\r\n", seq)
			gone = true
			return true
		}
		return shelf.answer(p, "", uid, seq)
	}
	s := opened(t, func(p *peer, tag, command string) bool {
		if gone && isFetch(command) && len(shelf.uids) == 10 {
			p.send("* 5 EXPUNGE\r\n")
			shelf.uids = append(shelf.uids[:4:4], shelf.uids[5:]...)
		}
		return shelf.hook(p, tag, command)
	})
	got, refused, err := sorted(t, s, shelf.all())
	if err != nil || len(got) != 9 || len(refused) != 0 {
		t.Errorf("came %v, refused %v: %v", got, refused, err)
	}
}

// A message that is really empty and of 1970 comes in the end: nobody says that it is gone.
func TestEmptyMessageOf1970(t *testing.T) {
	shelf := newShelf(3, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		if uid == 11 {
			p.send("* %d FETCH (UID 11 FLAGS () INTERNALDATE \"01-Jan-1970 00:00:00 +0000\" RFC822.SIZE 0 BODY[] {0}\r\n)\r\n", seq)
			return true
		}
		return shelf.answer(p, "", uid, seq)
	}
	got, refused, err := sorted(t, shelf.open(t), shelf.all())
	if text, came := got[11]; err != nil || len(got) != 3 || len(refused) != 0 || !came || text != "" {
		t.Errorf("came %v, refused %v: %v", got, refused, err)
	}
}

// ImapPartSpecifier.java:169-175: the size in the database is announced, and then whatever the file
// holds is copied; nothing but an assertion compares them. Neither message must hold what belongs to
// the other or to the protocol.
func TestZimbraMessageOfAnotherSizeThanAnnounced(t *testing.T) {
	for name, text := range map[string]string{
		"shorter": short(12)[:5], "longer": short(12) + "more\r\n", "empty": "", "much longer": short(12) + strings.Repeat("more)\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			shelf := newShelf(6, short)
			shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
				body := short(uid)
				if uid == 12 {
					body = text
				}
				zimbra(p, seq, uid, len(short(uid)), body)
				return true
			}
			got, refused, err := sorted(t, shelf.open(t), shelf.all())
			if err != nil || len(got) != 5 || !strings.Contains(fmt.Sprint(refused[12]), errTorn.Error()) {
				t.Errorf("came %v, refused %v: %v", got, refused, err)
			}
			for uid, text := range got {
				if text != short(uid) {
					t.Errorf("UID %d is %q", uid, text)
				}
			}
		})
	}
}

// ImapHandler.java:4193-4201 (fetchException): a blob that cannot be read closes the connection
// without a word. Lines 4160-4171: other errors end the response where it stands.
func TestZimbraMessageThatCannotBeRead(t *testing.T) {
	for name, bad := range map[string]func(p *peer) bool{
		"missing blob": func(*peer) bool { return false },
		"other error": func(p *peer) bool {
			p.send("* 3 FETCH (UID 12 INTERNALDATE \"01-Feb-2020 03:04:05 +0000\" RFC822.SIZE 14 )\r\n")
			return true
		},
	} {
		t.Run(name, func(t *testing.T) {
			shelf := newShelf(40, short)
			shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
				if uid == 12 {
					return bad(p)
				}
				zimbra(p, seq, uid, len(short(uid)), short(uid))
				return true
			}
			got, refused, err := sorted(t, shelf.open(t), shelf.all())
			if err != nil || len(got) != 39 || refused[12] == nil {
				t.Errorf("%d came, refused %v: %v", len(got), refused, err)
			}
		})
	}
}
