package imapsource

import (
	"fmt"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

func short(uid migrate.UID) string { return fmt.Sprintf("Subject: %d\r\n\r\n", uid) }

// One message that ends the connection is found among many and given with the server's words; every
// other one comes (T12). What ends it: the server itself, as Dovecot does when a message has fewer
// octets than its cache says, or a response that cannot be read.
func TestMessageThatEndsTheConnectionIsFound(t *testing.T) {
	const bad = 147
	ways := map[string]struct {
		body func(p *peer) bool
		word string
	}{
		"server ends it":           {func(p *peer) bool { return false }, "the connection broke"},
		"server says BYE":          {func(p *peer) bool { p.send("* BYE Internal error occurred.\r\n"); return false }, "Internal error occurred."},
		"response beyond a MiB":    {func(p *peer) bool { p.send("* 1 FETCH (FLAGS (%s))\r\n", strings.Repeat("x", maxLine)); return true }, "longer than 1 MiB"},
		"literal without end":      {func(p *peer) bool { p.send("* 1 FETCH (X {%d}\r\n", int64(1)<<40); return true }, "longer than 1 MiB"},
		"connection ends mid-line": {func(p *peer) bool { p.send("* 1 FETCH (UID 147 FLAGS ("); return false }, "the connection broke"},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			shelf := newShelf(300, short)
			shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
				if uid == bad {
					return way.body(p)
				}
				return shelf.answer(p, "", uid, seq)
			}
			got, refused, err := sorted(t, shelf.open(t), shelf.all())
			if err != nil || len(got) != 299 {
				t.Fatalf("%d messages came: %v", len(got), err)
			}
			if len(refused) != 1 || !strings.Contains(fmt.Sprint(refused[bad]), way.word) || !strings.Contains(fmt.Sprint(refused[bad]), `"INBOX" (UID 147)`) {
				t.Errorf("refused: %v, want UID %d with %q", refused, bad, way.word)
			}
			if n := shelf.connections(); n > 15 {
				t.Errorf("it took %d connections", n)
			}
		})
	}
}

// Several such messages side by side, at the beginning and at the end.
func TestSeveralMessagesThatEndTheConnection(t *testing.T) {
	bad := migrate.UIDsOf(10, 50, 51, 52, 109)
	shelf := newShelf(100, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		return !bad.Contains(uid) && shelf.answer(p, "", uid, seq)
	}
	got, refused, err := sorted(t, shelf.open(t), shelf.all())
	if err != nil || len(got) != 95 || len(refused) != 5 {
		t.Fatalf("%d messages came, refused: %v: %v", len(got), refused, err)
	}
	for uid := range refused {
		if !bad.Contains(uid) {
			t.Errorf("UID %d is refused", uid)
		}
	}
}

// A server that answers nothing is ill; no message is to blame.
func TestIllServerBlamesNoMessage(t *testing.T) {
	shelf := newShelf(20, short)
	shelf.body = func(*peer, migrate.UID, int) bool { return false }
	got, refused, err := sorted(t, shelf.open(t), shelf.all())
	wantKind(t, err, migrate.Unreachable)
	if len(got)+len(refused) != 0 {
		t.Errorf("came %v, refused %v", got, refused)
	}
	shelf = newShelf(1, short)
	shelf.body = func(*peer, migrate.UID, int) bool { return false }
	_, _, err = sorted(t, shelf.open(t), shelf.all())
	wantKind(t, err, migrate.Unreachable)
	if !strings.Contains(fmt.Sprint(err), "UID 10") {
		t.Errorf("the error %v does not name the message, so that nobody can count", err)
	}
}

// A command that is refused for the sake of one message is narrowed down without losing connections.
func TestRefusedCommandIsNarrowedDown(t *testing.T) {
	shelf := newShelf(200, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool { return shelf.answer(p, "", uid, seq) }
	s := opened(t, func(p *peer, tag, command string) bool {
		words := strings.Fields(command)
		if isBodyFetch(command) && words[0] == "UID" {
			if set, err := migrate.ParseUIDSet(words[2]); err != nil || set.Contains(33) {
				p.send("%s NO FETCH failed\r\n", tag)
				return true
			}
		}
		if isBodyFetch(command) && words[0] == "FETCH" {
			p.send("%s NO FETCH failed again\r\n", tag)
			return true
		}
		return shelf.hook(p, tag, command)
	})
	got, refused, err := sorted(t, s, shelf.all())
	if err != nil || len(got) != 199 || !strings.Contains(fmt.Sprint(refused[33]), "FETCH failed again") || shelf.connections() != 1 {
		t.Errorf("%d came, refused %v, %d connections: %v", len(got), refused, shelf.connections(), err)
	}
}

// A message whose description ends the connection does not keep the others from being described.
func TestDescriptionThatEndsTheConnection(t *testing.T) {
	shelf := newShelf(50, short)
	s := opened(t, func(p *peer, tag, command string) bool {
		if isFetch(command) && !isBodyFetch(command) {
			if set, err := migrate.ParseUIDSet(strings.Fields(command)[2]); err != nil || set.Contains(20) {
				p.Close()
				return true
			}
		}
		return shelf.hook(p, tag, command)
	})
	var got migrate.UIDSet
	err := s.Describe(t.Context(), shelf.all(), func(info migrate.MessageInfo) error { got.Add(info.UID); return nil })
	if err != nil || got.String() != "10:19,21:59" {
		t.Errorf("described %s: %v", got, err)
	}
}

// Headers narrow down too, and leave out what does not come.
func TestHeaderThatEndsTheConnection(t *testing.T) {
	shelf := newShelf(30, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		p.send("* %d FETCH (UID %d %s BODY[HEADER] {15}\r\nSubject: ", seq, uid, meta)
		if uid == 12 {
			return false
		}
		p.send("%2d\r\n\r\n)\r\n", uid)
		return true
	}
	var got migrate.UIDSet
	err := shelf.open(t).Headers(t.Context(), shelf.all(), func(info migrate.MessageInfo, header []byte) error {
		if string(header) != fmt.Sprintf("Subject: %2d\r\n\r\n", info.UID) {
			t.Errorf("UID %d has the header %q", info.UID, header)
		}
		got.Add(info.UID)
		return nil
	})
	if err != nil || got.String() != "10:11,13:39" {
		t.Errorf("headers of %s: %v", got, err)
	}
}

// A folder whose UIDs were given anew while the connection was lost ends the call.
func TestNewUIDValidityEndsTheCall(t *testing.T) {
	shelf := newShelf(10, short)
	shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
		shelf.validity = 10
		return false
	}
	_, _, err := sorted(t, shelf.open(t), shelf.all())
	wantKind(t, err, migrate.Unreachable)
	if !strings.Contains(fmt.Sprint(err), "UIDVALIDITY changed from 9 to 10") {
		t.Errorf("the error is %v", err)
	}
}

// A message that ends the connection whatever is asked of it is not taken for one that is gone.
func TestMessageThatEndsTheConnectionWithItsDescription(t *testing.T) {
	shelf := newShelf(50, short)
	s := opened(t, func(p *peer, tag, command string) bool {
		if isFetch(command) {
			if set, err := migrate.ParseUIDSet(strings.Fields(command)[2]); err != nil || set.Contains(20) {
				p.send("* BYE index is corrupted\r\n")
				p.Close()
				return true
			}
		}
		return shelf.hook(p, tag, command)
	})
	got, refused, err := sorted(t, s, shelf.all())
	if err != nil || len(got) != 49 || !strings.Contains(fmt.Sprint(refused[20]), "index is corrupted") {
		t.Errorf("%d came, refused %v: %v", len(got), refused, err)
	}
}
