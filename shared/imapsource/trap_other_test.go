package imapsource

import (
	"io"
	"strings"
	"sync"
	"testing"

	"mailferry/shared/migrate"
)

// A whole pass sends nothing that could change the mailbox, so that traps of APPEND (T7, T8) and of
// STATUS with RECENT (T15) are out of reach, and no item that the library cannot read (T12).
func TestOnlyReadingCommands(t *testing.T) {
	shelf := newShelf(5, short)
	var mu sync.Mutex
	var commands []string
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		mu.Lock()
		commands = append(commands, command)
		mu.Unlock()
		if strings.HasPrefix(command, "LIST") {
			p.send("* LIST () \"/\" INBOX\r\n%s OK done\r\n", tag)
			return true
		}
		return shelf.hook(p, tag, command)
	}))
	if _, err := s.Folders(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := s.Survey(t.Context(), "INBOX", migrate.UIDSet{}); err != nil {
		t.Fatal(err)
	}
	if err := s.Describe(t.Context(), shelf.all(), func(migrate.MessageInfo) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if _, err := collect(t, s, shelf.all()); err != nil {
		t.Fatal(err)
	}
	_ = s.Headers(t.Context(), shelf.all(), func(migrate.MessageInfo, []byte) error { return nil })
	mu.Lock()
	defer mu.Unlock()
	for _, command := range commands {
		word, rest, _ := strings.Cut(command, " ")
		switch word {
		case "CAPABILITY", "AUTHENTICATE", "LIST", "EXAMINE", "NOOP":
		case "UID", "FETCH":
			items := rest[strings.IndexByte(rest, '('):]
			for _, forbidden := range []string{"BODY[", "RFC822)", "RFC822 ", "ENVELOPE", "BODYSTRUCTURE", "STORE", "COPY", "MOVE", "EXPUNGE"} {
				if strings.Contains(command, forbidden) {
					t.Errorf("the source sends %q", command)
				}
			}
			if !strings.Contains(items, "UID") {
				t.Errorf("the source asks without UID: %q", command)
			}
		default:
			t.Errorf("the source sends %q", command)
		}
	}
}

// A panic of a yield passes through, and the source can still be closed (T17).
func TestPanicOfAYieldPassesThrough(t *testing.T) {
	shelf := newShelf(3, long)
	s := shelf.open(t)
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic did not pass through")
			}
		}()
		_ = s.Fetch(t.Context(), shelf.all(), func(migrate.MessageInfo, int64, io.Reader) error { panic("boom") })
	}()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Describe(t.Context(), shelf.all(), func(migrate.MessageInfo) error { return nil }); err == nil {
		t.Error("a closed source describes messages")
	}
}

// Each call of the library is waited for once, also where a call ends early (T13): what remains of a
// session after an error says so, every time.
func TestSourceStaysEndedAfterAnError(t *testing.T) {
	shelf := newShelf(3, long)
	s := shelf.open(t)
	s.(*source).redial = nil
	_ = s.Fetch(t.Context(), shelf.all(), func(migrate.MessageInfo, int64, io.Reader) error { return io.ErrShortBuffer })
	for range 3 {
		if _, err := s.UIDs(t.Context(), 1, 9); err == nil {
			t.Error("an ended connection lists messages")
		}
		if _, err := collect(t, s, shelf.all()); err == nil {
			t.Error("an ended connection fetches messages")
		}
	}
}
