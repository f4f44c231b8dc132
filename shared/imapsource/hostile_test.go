// What servers may say that nobody waits for, and must not be taken for something else.

package imapsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// TestSurveyHearsMuchOfTheOldFolder goes on although a server tells, before it answers EXAMINE, more of
// the folder that was open than the library holds.
func TestSurveyHearsMuchOfTheOldFolder(t *testing.T) {
	s := opened(t, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "EXAMINE New"), strings.HasPrefix(command, `EXAMINE "New"`):
			listTag, _, _ := p.read()
			for i := range 300 {
				p.send("* %d FETCH (UID %d FLAGS (\\Seen))\r\n", i+1, i+1000)
			}
			p.send("* 1 EXISTS\r\n* OK [UIDVALIDITY 9] -\r\n* OK [UIDNEXT 10] -\r\n%s OK [READ-ONLY] done\r\n", tag)
			p.send("* 1 FETCH (UID 4)\r\n%s OK done\r\n", listTag)
		default:
			return false
		}
		return true
	})
	done := make(chan error, 1)
	go func() {
		_, uids, _, err := s.Survey(t.Context(), "New", migrate.UIDSet{})
		if err == nil && !uids.Contains(4) {
			err = fmt.Errorf("it lists %s", uids)
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it waits for ever")
	}
}

// TestFlagsOfAnotherFolder takes what was said of a UID for its folder only, at a server that sends the
// flags behind the body.
func TestFlagsOfAnotherFolder(t *testing.T) {
	flags := `\Seen`
	s := opened(t, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "EXAMINE"):
			if strings.Contains(command, "Other") {
				flags = `\Flagged`
			}
			return false
		case isBodyFetch(command):
			p.send("* 1 FETCH (UID 4 INTERNALDATE \"01-Feb-2020 03:04:05 +0100\" RFC822.SIZE 2 BODY[] {2}\r\nhi FLAGS (%s))\r\n%s OK done\r\n", flags, tag)
		case isFetch(command):
			p.send("* 1 FETCH (UID 4 FLAGS (%s) INTERNALDATE \"01-Feb-2020 03:04:05 +0100\" RFC822.SIZE 2)\r\n%s OK done\r\n", flags, tag)
		default:
			return false
		}
		return true
	})
	if err := s.Describe(t.Context(), migrate.UIDsOf(4), func(migrate.MessageInfo) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "Other"); err != nil {
		t.Fatal(err)
	}
	if got := fetched(t, s, migrate.UIDsOf(4)); len(got) != 1 || len(got[0].Flags) != 1 || got[0].Flags[0] != `\Flagged` {
		t.Errorf("it comes as %v", got)
	}
}

// TestMessageWithoutFlagsOrDate comes although the server never says everything of it.
func TestMessageWithoutFlagsOrDate(t *testing.T) {
	for _, said := range []string{"FLAGS NIL " + `INTERNALDATE "01-Feb-2020 03:04:05 +0100"`, `FLAGS (\Seen)`} {
		s := opened(t, func(p *peer, tag, command string) bool {
			switch {
			case isBodyFetch(command):
				p.send("* 1 FETCH (UID 4 %s RFC822.SIZE 2 BODY[] {2}\r\nhi)\r\n%s OK done\r\n", said, tag)
			case isFetch(command):
				p.send("* 1 FETCH (UID 4 %s RFC822.SIZE 2)\r\n%s OK done\r\n", said, tag)
			default:
				return false
			}
			return true
		})
		described := 0
		err := s.Describe(t.Context(), migrate.UIDsOf(4, 5), func(m migrate.MessageInfo) error {
			if described++; m.UID != 4 || m.Size != 2 {
				t.Errorf("%s: described as %+v", said, m)
			}
			return nil
		})
		if got := fetched(t, s, migrate.UIDsOf(4, 5)); err != nil || described != 1 || len(got) != 1 {
			t.Errorf("%s: %d described, %v fetched: %v", said, described, got, err)
		}
	}
}

// TestStateOfARawName is that of the folder that is spelled so, not of one that reads the same.
func TestStateOfARawName(t *testing.T) {
	const raw, encoded = "Entwürfe", "Entw&APw-rfe"
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "LIST"):
			p.send("* LIST () \"/\" \"%s\"\r\n* LIST () \"/\" \"%s\"\r\n%s OK done\r\n", encoded, raw, tag)
		case strings.Contains(command, encoded):
			second, _, _ := p.read()
			p.send("* STATUS \"%s\" (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 3)\r\n* STATUS \"%s\" (MESSAGES 4 UIDNEXT 5 UIDVALIDITY 6)\r\n", encoded, raw)
			p.send("%s OK done\r\n%s OK done\r\n", tag, second)
		default:
			return false
		}
		return true
	}))
	if _, err := s.Folders(t.Context()); err != nil {
		t.Fatal(err)
	}
	states, err := s.States(t.Context(), []string{raw, raw + "~"})
	if err != nil || states[raw].UIDValidity != 3 || states[raw+"~"].UIDValidity != 6 {
		t.Errorf("states %v, %v", states, err)
	}
}

// TestNothingIsReadWithoutTheFolder reads nothing over a connection on which the folder is another one.
func TestNothingIsReadWithoutTheFolder(t *testing.T) {
	shelf := newShelf(1, func(migrate.UID) string { return "hello" })
	shelf.body = func(*peer, migrate.UID, int) bool {
		shelf.validity, shelf.body = 10, nil
		return false
	}
	s := shelf.open(t)
	for range 2 {
		got, refused, err := sorted(t, s, shelf.all())
		if wantKind(t, err, migrate.Unreachable); len(got)+len(refused) != 0 {
			t.Errorf("it yields %v, %v", got, refused)
		}
	}
}

// TestNamesNobodyAskedFor ends the connection before they take the memory.
func TestNamesNobodyAskedFor(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "EXAMINE") {
			return false
		}
		for i := range 80 {
			p.send("* STATUS \"\xff%d%s\" (MESSAGES 1)\r\n", i, strings.Repeat("x", 1<<19))
		}
		p.send("%s OK done\r\n", tag)
		return true
	}))
	if _, err := s.Open(t.Context(), "INBOX"); err == nil || !strings.Contains(err.Error(), errTooMany.Error()) {
		t.Errorf("the error is %v", err)
	}
}

func TestEscapedSecretIsRedacted(t *testing.T) {
	err := &migrate.Error{Err: errors.New(`the server answers BAD what is LOGIN "u" "a\"b\\c"`)}
	if text := withoutSecrets(err, `a"b\c`).Error(); strings.Contains(text, "b") && strings.Contains(text, `a\"`) {
		t.Error(text)
	}
}

func fetched(t *testing.T, s migrate.Source, uids migrate.UIDSet) (got []migrate.MessageInfo) {
	t.Helper()
	texts, refused, err := sorted(t, recorder{s, &got}, uids)
	if err != nil || len(refused) != 0 || len(texts) != len(got) {
		t.Errorf("fetched %v, refused %v: %v", texts, refused, err)
	}
	return got
}

// recorder keeps what is said of the messages that are fetched.
type recorder struct {
	migrate.Source
	got *[]migrate.MessageInfo
}

func (r recorder) Fetch(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo, int64, io.Reader) error) error {
	return r.Source.Fetch(ctx, uids, func(info migrate.MessageInfo, octets int64, body io.Reader) error {
		*r.got = append(*r.got, info)
		return yield(info, octets, body)
	})
}

// TestRefusedSignInIsNotRepeated asks a source that was once refused no more, whatever is called.
func TestRefusedSignInIsNotRepeated(t *testing.T) {
	shelf := newShelf(1, func(migrate.UID) string { return "hello" })
	shelf.body = func(*peer, migrate.UID, int) bool { return false }
	signIns := 0
	s := opened(t, func(p *peer, tag, command string) bool {
		if strings.HasPrefix(command, "AUTHENTICATE") {
			if signIns++; signIns > 1 {
				p.send("%s NO [AUTHENTICATIONFAILED] no\r\n", tag)
				return true
			}
		}
		return shelf.hook(p, tag, command)
	})
	for range 3 {
		_, _, err := sorted(t, s, shelf.all())
		wantKind(t, err, migrate.SignIn)
	}
	if signIns != 2 {
		t.Errorf("%d sign-ins", signIns)
	}
}

// TestLongTextsAreShortened keeps an error fit for a log and a table.
func TestLongTextsAreShortened(t *testing.T) {
	long := strings.Repeat("no ", 100_000)
	for name, answer := range map[string]string{"greeting": "", "AUTHENTICATE": "%s NO " + long + "\r\n", "EXAMINE": "* NO " + long + "\r\n%s NO " + long + "\r\n"} {
		greeting := hello
		if name == "greeting" {
			greeting = "* BYE " + long
		}
		e := scripted(t, greeting, func(p *peer, tag, command string) bool {
			if !strings.HasPrefix(command, name) {
				return false
			}
			p.send(answer, tag)
			return true
		})
		s, err := Dialer{Password: password}.Dial(t.Context(), e, migrate.Mailbox{Login: "u"})
		if err == nil {
			_, err = s.Open(t.Context(), "INBOX")
			s.Close()
		}
		if err == nil || len(err.Error()) > 1000 {
			t.Errorf("%s: the error has %d octets", name, len(fmt.Sprint(err)))
		}
	}
}

// TestLibraryAsksForNothingItself sends what is asked for and nothing else, and names as IMAP4rev1 spells
// them: nobody enables IMAP4rev2 (RFC 9051 section 6.3.1, appendix A).
func TestLibraryAsksForNothingItself(t *testing.T) {
	for _, caps := range []string{"IMAP4rev1 LITERAL+ STARTTLS X=Y", "IMAP4rev1 IMAP4rev2", "IMAP4rev1"} {
		commands := make(chan string, 10)
		s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
			if strings.HasPrefix(command, "AUTHENTICATE") {
				p.send("%s OK [CAPABILITY %s] in\r\n", tag, caps)
				return true
			}
			commands <- command
			p.send("* CAPABILITY IMAP4rev2\r\n* CAPABILITY\r\n")
			return false
		}))
		for range 2 { // what the library asks comes behind the first
			if _, err := s.Open(t.Context(), "Entwürfe"); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			if command := <-commands; command != `EXAMINE "Entw&APw-rfe"` {
				t.Errorf("%s: %s", caps, command)
			}
		}
	}
}

// TestFolderIsAnotherWhenOpenedAgain says nothing of a message in whose place Courier gave one of its own, if
// the folder that is opened again for it has other UIDs now.
func TestFolderIsAnotherWhenOpenedAgain(t *testing.T) {
	shelf := newShelf(2, nil)
	shelf.text = func(uid migrate.UID) string {
		shelf.validity = 10
		if uid == 11 {
			return unavailable
		}
		return "hello"
	}
	got, refused, err := sorted(t, shelf.open(t), shelf.all())
	if wantKind(t, err, migrate.Unreachable); len(got) != 1 || len(refused) != 0 {
		t.Errorf("it yields %v, %v", got, refused)
	}
}
