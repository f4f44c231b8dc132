package imapsource

import (
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// The transcripts of hMailServer follow its repository at commit 4d11f81d, files in
// hmailserver/source/Server/IMAP.
func TestHMailServer(t *testing.T) {
	s := dial(t, scripted(t, "* OK IMAPrev1", func(p *peer, tag, command string) bool {
		switch {
		case command == "CAPABILITY": // IMAPCommandCapability.cpp:19-45
			p.send("* CAPABILITY IMAP4 IMAP4rev1 CHILDREN IDLE QUOTA SORT ACL NAMESPACE RIGHTS=texk\r\n%s OK CAPABILITY completed\r\n", tag)
		case strings.HasPrefix(command, "EXAMINE") && strings.Contains(command, "gone"): // IMAPCommandExamine.cpp:39-40
			p.send("%s BAD Folder could not be found.\r\n", tag)
		case strings.HasPrefix(command, "EXAMINE"): // IMAPCommandExamine.cpp:58-80
			p.send("* 2 EXISTS\r\n* 0 RECENT\r\n* FLAGS (\\Deleted \\Seen \\Draft \\Answered \\Flagged)\r\n"+
				"* OK [UIDVALIDITY 1300000000] current uidvalidity\r\n* OK [UNSEEN 1] unseen messages\r\n* OK [UIDNEXT 9] next uid\r\n"+
				"* OK [PERMANENTFLAGS ()] limited\r\n%s OK [READ-ONLY] EXAMINE completed\r\n", tag)
		case isBodyFetch(command): // IMAPFetch.cpp:75-248, the empty part: 217-224
			p.send("* 1 FETCH (UID 5 RFC822.SIZE 15 FLAGS (\\Deleted \\Seen) INTERNALDATE \"01-Feb-2020 03:04:05 +0100\" BODY[] {15}\r\n%s)\r\n", short(12))
			p.send("* 2 FETCH (UID 8 RFC822.SIZE 0 FLAGS () INTERNALDATE \"01-Feb-2020 03:04:05 +0100\" BODY[] \"\")\r\n%s OK UID completed\r\n", tag)
		case isFetch(command):
			p.send("* 1 FETCH (UID 5)\r\n* 2 FETCH (UID 8)\r\n%s OK UID completed\r\n", tag)
		default:
			return false
		}
		return true
	}))
	state, err := s.Open(t.Context(), "INBOX")
	if err != nil || state.Messages != 2 || state.UIDNext != 9 || state.UIDValidity != 1300000000 || state.HighestModSeq != 0 {
		t.Fatalf("%+v, %v", state, err)
	}
	uids, err := s.UIDs(t.Context(), 1, ^migrate.UID(0))
	if err != nil || uids.String() != "5,8" {
		t.Fatalf("%s, %v", uids, err)
	}
	got, err := collect(t, s, uids)
	if text, came := got[8]; err != nil || got[5] != short(12) || !came || text != "" {
		t.Errorf("came %v: %v", got, err)
	}
	_, err = s.Open(t.Context(), "gone")
	wantKind(t, err, migrate.NoFolder)
}

// lostFile is what hMailServer gives in place of a message whose file is gone.
const lostFile = "From: Postmaster\r\nSubject: Message undeliverable\r\nDate: Tue, 14 Sep 2004 21:53:33 +0200\r\n\r\n" +
	"The mail server could not deliver the message to you since the file C:\\Program Files\\hMailServer\\Data\\example.com\\u\\1A\\{1A2B}.eml does not exist on the server.\r\n\r\n" +
	"The file may have been deleted by anti virus software running on the server.\r\n\r\nhMailServer\r\n"

// offering lets a scripted server offer capabilities as hMailServer does, and take any password.
func offering(caps string, hook func(p *peer, tag, command string) bool) func(p *peer, tag, command string) bool {
	return func(p *peer, tag, command string) bool {
		switch {
		case command == "CAPABILITY":
			p.send("* CAPABILITY IMAP4 IMAP4rev1 %s\r\n%s OK CAPABILITY completed\r\n", caps, tag)
		case strings.HasPrefix(command, "AUTHENTICATE"):
			p.send("%s OK LOGIN completed\r\n", tag)
		default:
			return hook(p, tag, command)
		}
		return true
	}
}

const hMailServerOffers = "CHILDREN IDLE QUOTA SORT ACL NAMESPACE RIGHTS=texk"

// hMailServer puts a message of its own in place of one whose file is gone: PersistentMessage.cpp:746-793, with the
// words of DBScripts/CreateTablesMYSQL.sql:510-512. Elsewhere the same text is a message, such as one that was
// brought from there.
func TestHMailServerLosesAFile(t *testing.T) {
	for caps, lost := range map[string]bool{hMailServerOffers: true, "ACL RIGHTS=texk NAMESPACE UIDPLUS": false} {
		shelf := newShelf(5, func(uid migrate.UID) string {
			switch uid {
			case 12:
				return lostFile
			case 13:
				return "From: Postmaster\r\nSubject: Message undeliverable\r\n\r\nThe mail server could not deliver the message to you.\r\n"
			}
			return short(uid)
		})
		s := opened(t, offering(caps, shelf.hook))
		got, refused, err := sorted(t, s, shelf.all())
		why, told := refused[12]
		if _, came := got[12]; err != nil || came == lost || told != lost || lost && !strings.Contains(fmt.Sprint(why), "lost the file") {
			t.Errorf("%s: came %v, refused %v: %v", caps, came, refused, err)
		}
		for uid, text := range got {
			if text != shelf.text(uid) {
				t.Errorf("%s: UID %d is %q", caps, uid, text)
			}
		}
	}
}

// Gmail answers OK without the message for some that it lists (mailcore2 issue 1279, which quotes
// "8 UID FETCH 59491 BODY.PEEK[]" and "8 OK Success"): it is asked for again, then reported.
func TestGmailLeavesAMessageOut(t *testing.T) {
	shelf := newShelf(25, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		return uid == 17 || shelf.answer(p, "", uid, seq)
	}
	s := shelf.open(t)
	got, refused, err := sorted(t, s, shelf.all())
	if err != nil || len(got) != 24 || !strings.Contains(fmt.Sprint(refused[17]), "answers OK without this message") {
		t.Errorf("%d came, refused %v: %v", len(got), refused, err)
	}
}

// Yahoo refuses FETCH when it has had enough (dovecot f28b5a92, imapc-mail-fetch.c:38-40): a pause is asked
// for, and no message is to blame.
func TestYahooLimitsFetching(t *testing.T) {
	shelf := newShelf(10, short)
	s := opened(t, func(p *peer, tag, command string) bool {
		if isBodyFetch(command) {
			p.send("%s NO [LIMIT] UID FETCH Rate limit hit.\r\n", tag)
			return true
		}
		return shelf.hook(p, tag, command)
	})
	got, refused, err := sorted(t, s, shelf.all())
	wantKind(t, err, migrate.Throttled)
	if len(got)+len(refused) != 0 {
		t.Errorf("came %v, refused %v", got, refused)
	}
}

// Dovecot ends the connection when a message cannot be read, since "many IMAP clients become
// confused" by NO (dovecot f28b5a92, cmd-fetch.c:253-266).
func TestDovecotSaysByeAtABrokenMessage(t *testing.T) {
	const words = "FETCH failed: Internal error occurred. Refer to server log for more information."
	shelf := newShelf(100, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		if uid == 77 {
			p.send("* BYE %s\r\n", words)
			return false
		}
		return shelf.answer(p, "", uid, seq)
	}
	got, refused, err := sorted(t, shelf.open(t), shelf.all())
	if err != nil || len(got) != 99 || !strings.Contains(fmt.Sprint(refused[77]), words) {
		t.Errorf("%d came, refused %v: %v", len(got), refused, err)
	}
}

// Dovecot tells of messages that went missing in the tagged OK (dovecot f28b5a92, cmd-fetch.c:209-212).
func TestDovecotExpungeIssued(t *testing.T) {
	shelf := newShelf(4, short)
	s := opened(t, func(p *peer, tag, command string) bool {
		if isFetch(command) && !isBodyFetch(command) {
			p.send("* 1 FETCH (UID 10)\r\n%s OK [EXPUNGEISSUED] Some messages were already expunged.\r\n", tag)
			return true
		}
		return shelf.hook(p, tag, command)
	})
	if uids, err := s.UIDs(t.Context(), 1, 100); err != nil || uids.String() != "10" {
		t.Errorf("%s, %v", uids, err)
	}
}

// What servers give for INTERNALDATE.
func TestOddInternalDates(t *testing.T) {
	at := func(month time.Month, day int) time.Time { return time.Date(2015, month, day, 5, 6, 7, 0, time.UTC) }
	for text, want := range map[string]time.Time{
		"17-Jul-2015 05:06:07 +0000":      at(7, 17),
		" 7-Jul-2015 07:06:07 +0200":      at(7, 7),
		"7-Jul-2015 05:06:07 +0000":       at(7, 7), // imap2maildir pull request 26
		"17-Jul-2015 05:06:07":            at(7, 17),
		"Fri, 17 Jul 2015 07:06:07 +0200": at(7, 17), // asimap pull request 458
		"00-Jan-0000 00:00:00 +0000":      {},        // Domino 10.0.1: MailKit issue 1236
		"00-Jul-2015 05:06:07 +0000":      {},
		"01-Jan-0000 00:00:00 +0000":      {},
		"31-Feb-2015 05:06:07 +0000":      {},
		"":                                {},
	} {
		shelf := newShelf(2, short)
		shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
			p.send("* %d FETCH (UID %d FLAGS () INTERNALDATE \"%s\" RFC822.SIZE 1 BODY[] {1}\r\nx)\r\n", seq, uid, text)
			return true
		}
		n := 0
		err := shelf.open(t).Fetch(t.Context(), shelf.all(), func(info migrate.MessageInfo, _ int64, _ io.Reader) error {
			if n++; !info.Received.Equal(want) {
				t.Errorf("%q is %s, want %s", text, info.Received, want)
			}
			return nil
		})
		if err != nil || n != 2 {
			t.Errorf("%q: %d messages: %v", text, n, err)
		}
	}
}

// RFC822.SIZE decides nothing: the octets of the literal do. Exchange gives the octets that the
// message takes in its store where it does not know better ([MS-STANOIMAP] 2.2.25).
func TestWrongSizeDecidesNothing(t *testing.T) {
	for _, size := range []string{"0", "1", "999999999", "18446744073709551616", "-5", "NIL"} {
		shelf := newShelf(2, short)
		shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
			p.send("* %d FETCH (UID %d FLAGS () INTERNALDATE \"01-Feb-2020 03:04:05 +0100\" RFC822.SIZE %s BODY[] {%d}\r\n%s)\r\n",
				seq, uid, size, len(short(uid)), short(uid))
			return true
		}
		got, err := collect(t, shelf.open(t), shelf.all())
		if err != nil || got[10] != short(10) || got[11] != short(11) {
			t.Errorf("size %s: came %v: %v", size, got, err)
		}
	}
}
