package imapsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// collect fetches and returns the bodies by UID.
func collect(t *testing.T, s migrate.Source, uids migrate.UIDSet) (map[migrate.UID]string, error) {
	t.Helper()
	got := map[migrate.UID]string{}
	err := s.Fetch(t.Context(), uids, func(info migrate.MessageInfo, octets int64, body io.Reader) error {
		text, err := io.ReadAll(body)
		if err == nil && int64(len(text)) != octets {
			t.Errorf("UID %d: %d octets announced, %d read without an error", info.UID, octets, len(text))
		}
		if _, twice := got[info.UID]; twice {
			t.Errorf("UID %d was yielded twice", info.UID)
		}
		got[info.UID] = string(text)
		return err
	})
	return got, err
}

const meta = `FLAGS (\Seen) INTERNALDATE "01-Feb-2020 03:04:05 +0100" RFC822.SIZE 5`

func isFetch(command string) bool { return strings.HasPrefix(command, "UID FETCH") }
func isBodyFetch(command string) bool {
	return strings.Contains(command, "FETCH") && strings.Contains(command, "BODY.PEEK[")
}

// A connection that ends within a literal must never look like the end of a message (T1, T2).
func TestCutWithinALiteralIsNoEndOfMessage(t *testing.T) {
	for range 50 {
		s := opened(t, func(p *peer, tag, command string) bool {
			if isFetch(command) {
				p.send("* 1 FETCH (UID 7 %s BODY[] {100000}\r\n%s", meta, strings.Repeat("x", 30000))
				p.Close()
			}
			return isFetch(command)
		})
		var read error
		err := s.Fetch(t.Context(), migrate.UIDsOf(7), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
			_, read = io.Copy(io.Discard, body)
			return nil
		})
		wantKind(t, read, migrate.Unreachable)
		wantKind(t, err, migrate.Unreachable)
		if !errors.Is(read, io.ErrUnexpectedEOF) {
			t.Fatalf("reading gave %v", read)
		}
	}
}

// A silent server is given up on after the stall, and the reason is kept (T3, T6).
func TestSilentServerIsGivenUpOn(t *testing.T) {
	e := scripted(t, hello, func(_ *peer, _, command string) bool { return strings.HasPrefix(command, "EXAMINE") })
	s := dialStall(t, e, 100*time.Millisecond)
	_, err := s.Open(t.Context(), "INBOX")
	wantKind(t, err, migrate.Unreachable)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the error %v does not tell that time ran out", err)
	}
}

// A literal may take longer than any deadline while it makes progress (T4).
func TestSlowLiteralIsNoStall(t *testing.T) {
	const octets = 40
	e := scripted(t, hello, func(p *peer, tag, command string) bool {
		if isFetch(command) {
			p.send("* 1 FETCH (UID 7 %s BODY[] {%d}\r\n", meta, octets)
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for range octets {
				<-tick.C
				p.send("x")
			}
			p.send(")\r\n%s OK done\r\n", tag)
		}
		return isFetch(command)
	})
	s := dialStall(t, e, 400*time.Millisecond)
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	got, err := collect(t, s, migrate.UIDsOf(7))
	if err != nil || len(got[7]) != octets {
		t.Errorf("got %d octets: %v", len(got[7]), err)
	}
}

// Cancelling and closing end a call although a literal is unread (T5).
func TestCancelAndCloseEndAnUnreadLiteral(t *testing.T) {
	endless := func(p *peer, tag, command string) bool {
		if isFetch(command) {
			p.send("* 1 FETCH (UID 7 %s BODY[] {1000000}\r\nx", meta)
		}
		return isFetch(command)
	}
	t.Run("cancel", func(t *testing.T) {
		s := opened(t, endless)
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		err := s.Fetch(ctx, migrate.UIDsOf(7), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
			cancel(reason)
			_, err := io.Copy(io.Discard, body)
			return err
		})
		if !errors.Is(err, reason) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("close", func(t *testing.T) {
		s := opened(t, endless)
		err := s.Fetch(t.Context(), migrate.UIDsOf(7), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
			return s.Close()
		})
		wantKind(t, err, migrate.Unreachable)
	})
	t.Run("error of yield", func(t *testing.T) {
		s := opened(t, endless)
		want := errors.New("no")
		err := s.Fetch(t.Context(), migrate.UIDsOf(7), func(migrate.MessageInfo, int64, io.Reader) error { return want })
		if err != want {
			t.Errorf("the error is %v", err)
		}
		_, err = s.Open(t.Context(), "INBOX")
		wantKind(t, err, migrate.Unreachable)
	})
}

// The server's last word decides what a broken connection means (T6).
func TestByeIsClassified(t *testing.T) {
	for text, kind := range map[string]migrate.Kind{
		"[UNAVAILABLE] Too many connections":            migrate.Throttled,
		"[LIMIT] bandwidth":                             migrate.Throttled,
		"Server shutting down":                          migrate.Unreachable,
		"Account exceeded command or bandwidth limits.": migrate.Throttled,
	} {
		s := dial(t, scripted(t, hello, func(p *peer, _, command string) bool {
			if strings.HasPrefix(command, "EXAMINE") {
				p.send("* BYE %s\r\n", text)
				p.Close()
				return true
			}
			return false
		}))
		_, err := s.Open(t.Context(), "INBOX")
		wantKind(t, err, kind)
		if err != nil && !strings.Contains(err.Error(), strings.TrimSuffix(text, ".")) {
			t.Errorf("the error %v does not hold %q", err, text)
		}
	}
}

// An empty set is no command; flags that the library dislikes are left out (T8, T12).
func TestEmptySetAsksNothing(t *testing.T) {
	s := opened(t, func(_ *peer, _, command string) bool {
		if isFetch(command) {
			t.Errorf("the server was asked %q", command)
		}
		return false
	})
	none := migrate.UIDSet{}
	if got, err := collect(t, s, none); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
	if err := s.Describe(t.Context(), none, func(migrate.MessageInfo) error { return nil }); err != nil {
		t.Error(err)
	}
	if uids, err := s.UIDs(t.Context(), 9, 8); err != nil || !uids.Empty() {
		t.Errorf("%v, %v", uids, err)
	}
}

// A UID behind the literal hides the message from the library; it is found by its number (T9).
func TestUIDBehindTheLiteral(t *testing.T) {
	s := opened(t, func(p *peer, tag, command string) bool {
		switch {
		case isBodyFetch(command):
			p.send("* 3 FETCH (FLAGS () BODY[] {5}\r\nhello UID 7)\r\n%s OK done\r\n", tag)
		case isFetch(command):
			p.send("* 3 FETCH (UID 7 %s)\r\n%s OK done\r\n", meta, tag)
		default:
			return false
		}
		return true
	})
	got, err := collect(t, s, migrate.UIDsOf(7))
	if err != nil || got[7] != "hello" {
		t.Errorf("got %v: %v", got, err)
	}
}

// News of a flag before the answer takes its place in the library (T10).
func TestFlagNewsBeforeTheAnswer(t *testing.T) {
	asked := 0
	s := opened(t, func(p *peer, tag, command string) bool {
		if !isFetch(command) {
			return false
		}
		if asked++; asked <= 2 {
			p.send("* 3 FETCH (UID 7 FLAGS (\\Seen))\r\n")
		}
		body := ""
		if isBodyFetch(command) {
			body = " BODY[] {5}\r\nhello"
		}
		p.send("* 3 FETCH (UID 7 %s%s)\r\n%s OK done\r\n", meta, body, tag)
		return true
	})
	got, err := collect(t, s, migrate.UIDsOf(7))
	if err != nil || got[7] != "hello" {
		t.Errorf("got %v: %v", got, err)
	}
}

// What does not exist, or is refused even alone, is left out without an error.
func TestMissingMessagesAreLeftOut(t *testing.T) {
	s := opened(t, func(p *peer, tag, command string) bool {
		switch {
		case isBodyFetch(command) && strings.Contains(command, "5:8"):
			p.send("* 1 FETCH (UID 5 %s BODY[] {5}\r\nhello)\r\n%s NO some messages cannot be read\r\n", meta, tag)
		case isBodyFetch(command) && strings.Contains(command, "FETCH 8"):
			p.send("* 4 FETCH (UID 8 %s BODY[] {5}\r\nworld)\r\n%s OK done\r\n", meta, tag)
		case isBodyFetch(command):
			p.send("%s NO this message cannot be read\r\n", tag)
		case isFetch(command):
			p.send("* 2 FETCH (UID 6 %s)\r\n* 4 FETCH (UID 8 %s)\r\n%s OK done\r\n", meta, meta, tag)
		default:
			return false
		}
		return true
	})
	got, err := collect(t, s, migrate.UIDsOf(5, 6, 7, 8))
	if err != nil || fmt.Sprint(got) != "map[5:hello 8:world]" {
		t.Errorf("got %v: %v", got, err)
	}
}

// Responses of old and careless servers that the library would end the connection for (T11, T12).
func TestOddResponses(t *testing.T) {
	var examined []string
	s := dial(t, scripted(t, "* OK  [CAPABILITY  IMAP4rev1 AUTH=PLAIN  ]", func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "AUTHENTICATE"):
			p.send("+\r\n") // no SASL-IR
			if _, _, err := p.read(); err != nil {
				t.Error(err)
			}
			return false
		case strings.HasPrefix(command, "LIST"):
			p.send("* XGWEXTRA (1) {3}\r\nabc foo\r\n* LSUB () \"/\" x\r\n")
			p.send("* LIST (\\HasNoChildren \\bad]attr)  \"/\" INBOX\r\n* LIST () \"/\" R&D\r\n* LIST () \"/\" \"M\xfcll/Caf\xe9\"\r\n")
			p.send("* LIST () \"/\" \"B&APw-ro\"\r\n* LIST () NIL {5}\r\na \"b\\\r\n%s OK done\r\n", tag)
		case strings.HasPrefix(command, "EXAMINE"):
			examined = append(examined, strings.TrimPrefix(command, "EXAMINE "))
			p.send("* FLAGS (a]b \\)\r\n* OK [PERMANENTFLAGS (\\* x]y)] -\r\n* 3 EXISTS\r\n* 1 RECENT\r\n")
			p.send("* OK [UIDVALIDITY 4294967295]\r\n* OK [UIDNEXT 4294967296] -\r\n* OK [UNSEEN x\r\n%s OK\r\n", tag)
		case strings.HasPrefix(command, "FETCH 3 "):
			p.send("* 3 FETCH (UID 4294967294)\r\n%s OK done\r\n", tag)
		case isFetch(command):
			p.send("* 4 EXISTS\r\n*  3  fetch  (uid 7  FLAGS (\\Seen  bad]flag \\ $MDNSent \\Recent)  X-GM-LABELS (\"a)b\" {2}\r\nxx)\r\n")
			p.send("* 1 FETCH (MODSEQ (12) X-ODD {3}\r\na)b UID 8 INTERNALDATE \"00-Jan-2020 00:00:00 +0000\" FLAGS () RFC822.SIZE -1 BODY[] \"q\\\"\")\r\n")
			p.send("* 2 FETCH (UID 9 %s BODY[]<0> {2}\r\nok X-LAST NIL)\r\n%s OK done\r\n", meta, tag)
		default:
			return false
		}
		return true
	}))
	folders, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range folders {
		names = append(names, f.Name)
	}
	if got := strings.Join(names, "|"); got != `INBOX|a "b\|Büro|Müll/Café|R&D` {
		t.Errorf("folders: %s", got)
	}
	for _, name := range names {
		state, err := s.Open(t.Context(), name)
		if err != nil || state.UIDValidity != 4294967295 || state.UIDNext != 4294967295 || state.Messages != 3 {
			t.Fatalf("open %q: %+v, %v", name, state, err)
		}
	}
	if got, want := strings.Join(examined, " "), `INBOX "a \"b\\" "B&APw-ro" "M`+"\xfcll/Caf\xe9"+`" "R&D"`; got != want {
		t.Errorf("examined %q, want %q", got, want)
	}
	var infos []string
	err = s.Describe(t.Context(), migrate.UIDsOf(7, 8), func(info migrate.MessageInfo) error {
		infos = append(infos, fmt.Sprintf("%d %v %v", info.UID, info.Flags, info.Received.IsZero()))
		return nil
	})
	if want := `[8 [] true]`; err != nil || fmt.Sprint(infos) != want {
		t.Errorf("described %v, %v; want %s", infos, err, want)
	}
	got, err := collect(t, s, migrate.UIDsOf(8, 9))
	if err != nil || got[8] != `q"` || got[9] != "ok" {
		t.Errorf("got %v: %v", got, err)
	}
}

// A folder with an odd name can be opened before the folders were listed.
func TestOddNameIsLookedUp(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "LIST"):
			p.send("* LIST () \"/\" \"R&D\"\r\n%s OK done\r\n", tag)
		case strings.HasPrefix(command, "EXAMINE") && command != `EXAMINE "R&D"`:
			p.send("%s NO no such folder\r\n", tag)
		default:
			return false
		}
		return true
	}))
	if _, err := s.Open(t.Context(), "R&D"); err != nil {
		t.Error(err)
	}
	_, err := s.Open(t.Context(), "gone")
	wantKind(t, err, migrate.NoFolder)
}

// What the library would hold in memory is bounded (T16).
func TestBufferedTextIsBounded(t *testing.T) {
	for name, response := range map[string]string{
		"line":    "* OK " + strings.Repeat("x", maxLine+1) + "\r\n",
		"literal": fmt.Sprintf("* LIST () \"/\" {%d}\r\n", int64(1)<<40),
	} {
		t.Run(name, func(t *testing.T) {
			s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
				if strings.HasPrefix(command, "LIST") {
					p.send("%s", response)
					return true
				}
				return false
			}))
			_, err := s.Folders(t.Context())
			if !errors.Is(err, errTooLong) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

// The last message comes for a range above it; it is not in the range.
func TestUIDsKeepsToItsRange(t *testing.T) {
	s := opened(t, func(p *peer, tag, command string) bool {
		if isFetch(command) {
			p.send("* 3 FETCH (UID 9)\r\n%s OK done\r\n", tag)
		}
		return isFetch(command)
	})
	if uids, err := s.UIDs(t.Context(), 10, 4294967295); err != nil || !uids.Empty() {
		t.Errorf("%v, %v", uids, err)
	}
	if uids, err := s.UIDs(t.Context(), 1, 4294967295); err != nil || uids.String() != "9" {
		t.Errorf("%v, %v", uids, err)
	}
}

// Command lines stay below 8 KiB, whatever is asked for.
func TestLargeSetsAreSplit(t *testing.T) {
	var uids migrate.UIDSet
	for u := migrate.UID(4_000_000_001); uids.Len() < 5000; u += 3 {
		uids.Add(u)
	}
	var asked migrate.UIDSet
	s := opened(t, func(p *peer, tag, command string) bool {
		if !isFetch(command) {
			return false
		}
		if len(tag+" "+command+"\r\n") > 8192 {
			t.Errorf("a command line has %d octets", len(command))
		}
		set, err := migrate.ParseUIDSet(strings.Fields(command)[2])
		if err != nil {
			t.Error(err)
		}
		asked.Union(set)
		p.send("%s OK done\r\n", tag)
		return true
	})
	if err := s.Describe(t.Context(), uids, func(migrate.MessageInfo) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if asked.String() != uids.String() {
		t.Error("the server was asked for other UIDs")
	}
}
