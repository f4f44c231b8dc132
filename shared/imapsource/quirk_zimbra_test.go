package imapsource

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

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

// ImapHandler.java:4204-4268 (fetchStub): a message that another session expunged is answered like an
// empty one of 1970, until the UID command's end tells of it (:4187, sendNotifications :4727-4757). What
// tells of it later must not be misunderstood either.
func TestZimbraStubOfAnExpungedMessage(t *testing.T) {
	for _, later := range []bool{false, true} {
		shelf := newShelf(10, short)
		gone := false
		tell := func(p *peer) {
			if gone && len(shelf.uids) == 10 {
				p.send("* 5 EXPUNGE\r\n* 9 EXISTS\r\n")
				shelf.uids = append(shelf.uids[:4:4], shelf.uids[5:]...)
			}
		}
		shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
			if uid == 14 {
				p.send("* %d FETCH (UID 14 INTERNALDATE \"01-Jan-1970 00:00:00 +0000\" RFC822.SIZE 0 BODY[] \"\" FLAGS ())\r\n", seq)
				gone = true
				return true
			}
			zimbra(p, seq, uid, len(short(uid)), short(uid))
			if uid == 19 && !later {
				tell(p)
			}
			return true
		}
		s := opened(t, func(p *peer, tag, command string) bool {
			if isFetch(command) {
				tell(p)
			}
			return shelf.hook(p, tag, command)
		})
		got, refused, err := sorted(t, s, shelf.all())
		if err != nil || len(got) != 9 || len(refused) != 0 {
			t.Errorf("later %v: came %v, refused %v: %v", later, got, refused, err)
		}
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
		"shorter": short(12)[:5], "longer by two words and a parenthesis": short(12) + "two words", "longer": short(12) + "more\r\n", "empty": "", "much longer": short(12) + strings.Repeat("more)\r\n", 100),
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

// What the message that is too short swallows may end within a line of the next one that looks like items.
func TestZimbraShortMessageBeforeWordsInParentheses(t *testing.T) {
	const header = "Received: by mx (with two words)\r\nSubject: 13\r\n\r\n"
	swallowed := fmt.Sprintf(" FLAGS (\\Seen))\r\n* 4 FETCH (UID 13 INTERNALDATE \"01-Feb-2020 03:04:05 +0000\" RFC822.SIZE %d BODY[] {%[1]d}\r\n%s",
		len(header), header[:strings.Index(header, "two words")])
	shelf := newShelf(6, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		body, octets := short(uid), len(short(uid))
		switch uid {
		case 12:
			octets += len(swallowed)
		case 13:
			body, octets = header, len(header)
		}
		zimbra(p, seq, uid, octets, body)
		return true
	}
	synctest.Test(t, func(t *testing.T) { // asked for alone, it has the server stand still
		s := dialBy(t, inMemory(t, hello, shelf.hook), clearly)
		if _, err := s.Open(t.Context(), "INBOX"); err != nil {
			t.Fatal(err)
		}
		got, refused, err := sorted(t, s, shelf.all())
		if err != nil || len(got) != 5 || got[13] != header || refused[12] == nil {
			t.Errorf("came %v, refused %v: %v", got, refused, err)
		}
	})
}

// zimbraCloses is what Zimbra says when it ends the connection: ImapHandler.java:4820 (sendBYE) and
// ServerConfig.java:90-111.
const zimbraCloses = "* BYE mail.example Zimbra IMAP4rev1 server closing connection\r\n"

// ImapHandler.java:4157-4178: whatever happens, the response is ended with ")". Of a blob that is missing
// (MailItem.java:1387, NO_SUCH_BLOB) the body is left out, and the next message follows. One that cannot be
// opened or read, which is an IOException, ends the connection (fetchException; NioImapHandler.java:132-134,
// 224-235), also in the middle of the literal, whose last octets then are the server's words.
func TestZimbraMessageThatCannotBeRead(t *testing.T) {
	const begun = "* 3 FETCH (UID 12 INTERNALDATE \"01-Feb-2020 03:04:05 +0000\" RFC822.SIZE 14 "
	text := "Subject: x\r\n\r\n" + strings.Repeat("what is on the disk\r\n", 200)
	words := ")\r\n" + zimbraCloses
	for name, bad := range map[string]func(p *peer, command string) bool{
		"missing":                           func(p *peer, _ string) bool { p.send("%s)\r\n", begun); return true },
		"cannot be opened":                  func(p *peer, _ string) bool { p.send("%s%s", begun, words); return false },
		"breaks at once":                    zimbraBreaks(text, 0),
		"breaks":                            zimbraBreaks(text, 1000),
		"breaks, and the words fill it":     zimbraBreaks(text, len(text)-len(words)),
		"breaks, and the words overflow it": zimbraBreaks(text, len(text)-10),
		"breaks at the last octet":          zimbraBreaks(text, len(text)-1),
	} {
		t.Run(name, func(t *testing.T) {
			shelf := newShelf(40, short)
			shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
				if uid == 12 {
					return bad(p, shelf.commands[len(shelf.commands)-1])
				}
				return shelf.answer(p, shelf.commands[len(shelf.commands)-1], uid, seq)
			}
			got, refused, err := sorted(t, shelf.open(t), shelf.all())
			if err != nil || len(got) != 39 || refused[12] == nil {
				t.Errorf("%d came, refused %v: %v", len(got), refused, err)
			}
		})
	}
}

// zimbraBreaks answers for a message, or a part of it, that can be read up to an octet.
func zimbraBreaks(text string, at int) func(p *peer, command string) bool {
	return func(p *peer, command string) bool {
		section, from, n := "BODY[]", 0, len(text)
		if _, part, ok := strings.Cut(command, "]<"); ok {
			fmt.Sscanf(part, "%d.%d>", &from, &n)
			section = fmt.Sprintf("BODY[]<%d>", from)
		}
		end := min(from+n, len(text))
		p.send("* 3 FETCH (UID 12 INTERNALDATE \"01-Feb-2020 03:04:05 +0000\" RFC822.SIZE %d %s {%d}\r\n", len(text), section, end-from)
		if end <= at {
			p.send("%s)\r\n", text[from:end])
			return true
		}
		p.send("%s)\r\n%s", text[from:max(from, at)], zimbraCloses)
		return false
	}
}

// A search folder has no UIDNEXT, which is left out for it: ImapHandler.java:1869-1894 (EXAMINE),
// 2876-2894 (STATUS).
func TestZimbraSearchFolder(t *testing.T) {
	shelf := newShelf(3, short)
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "EXAMINE"):
			p.send("* 3 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 7] UIDs are valid for this mailbox\r\n"+
				"* FLAGS (\\Answered \\Deleted \\Draft \\Flagged \\Seen)\r\n* OK [PERMANENTFLAGS ()] junk-related flags are not permanent\r\n"+
				"* OK [NOMODSEQ] modseq not supported on search folders\r\n%s OK [READ-ONLY] EXAMINE completed\r\n", tag)
		case strings.HasPrefix(command, "STATUS"):
			p.send("* STATUS \"Starred mail\" (MESSAGES 3 UIDVALIDITY 7)\r\n%s OK STATUS completed\r\n", tag)
		default:
			return shelf.hook(p, tag, command)
		}
		return true
	}))
	if states, err := s.States(t.Context(), []string{"Starred mail"}); err != nil || len(states) != 0 {
		t.Errorf("states %v, %v", states, err)
	}
	state, err := s.Open(t.Context(), "Starred mail")
	if err != nil || state != (migrate.FolderState{UIDValidity: 7, UIDNext: 13, Messages: 3}) {
		t.Fatalf("%+v, %v", state, err)
	}
	if got, err := collect(t, s, shelf.all()); err != nil || len(got) != 3 {
		t.Errorf("came %v: %v", got, err)
	}
}
