package imapsource

import (
	"fmt"
	"io"
	"strings"
	"testing"

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

// sorted is collect with the messages that do not come apart.
func sorted(t *testing.T, s migrate.Source, uids migrate.UIDSet) (got map[migrate.UID]string, refused map[migrate.UID]error, err error) {
	t.Helper()
	got, refused = map[migrate.UID]string{}, map[migrate.UID]error{}
	err = s.Fetch(t.Context(), uids, func(info migrate.MessageInfo, _ int64, body io.Reader) error {
		text, err := io.ReadAll(body)
		if _, twice := got[info.UID]; twice || refused[info.UID] != nil {
			t.Errorf("UID %d was yielded twice", info.UID)
		}
		if migrate.KindOf(err) == migrate.Unreadable {
			refused[info.UID] = err
			return nil
		}
		got[info.UID] = string(text)
		return err
	})
	return got, refused, err
}

const meta = `FLAGS (\Seen) INTERNALDATE "01-Feb-2020 03:04:05 +0100" RFC822.SIZE 5`

func isFetch(command string) bool { return strings.HasPrefix(command, "UID FETCH") }
func isBodyFetch(command string) bool {
	return strings.Contains(command, "FETCH") && strings.Contains(command, "BODY.PEEK[")
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

// A message that is removed ahead of the answer moves the numbers, which no server may do then (RFC 9051
// section 7.5.1): what comes is another message.
func TestUIDBehindTheLiteralAndNumbersThatMove(t *testing.T) {
	seq := 3
	s := opened(t, func(p *peer, tag, command string) bool {
		switch {
		case isBodyFetch(command) && strings.HasPrefix(command, "FETCH 3"):
			seq = 2
			p.send("* 1 EXPUNGE\r\n* 3 FETCH (FLAGS () BODY[] {5}\r\nother UID 8)\r\n%s OK done\r\n", tag)
		case isBodyFetch(command):
			p.send("* %d FETCH (FLAGS () BODY[] {5}\r\nhello UID 7)\r\n%s OK done\r\n", seq, tag)
		case isFetch(command):
			p.send("* %d FETCH (UID 7 %s)\r\n%s OK done\r\n", seq, meta, tag)
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

// What does not exist is left out; what is refused even alone is given with the server's words.
func TestRefusedMessageIsGivenWithTheServersWords(t *testing.T) {
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
	got, refused, err := sorted(t, s, migrate.UIDsOf(5, 6, 7, 8))
	if err != nil || fmt.Sprint(got) != "map[5:hello 8:world]" {
		t.Errorf("got %v: %v", got, err)
	}
	if len(refused) != 1 || !strings.Contains(refused[6].Error(), "UID 6") || !strings.Contains(refused[6].Error(), "this message cannot be read") {
		t.Errorf("refused: %v", refused)
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
