package imapsource

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// tape is a connection that plays what a server says, some octets at a time, and then ends. It waits
// for a command before each part.
type tape struct {
	net.Conn
	chunk    int
	patience time.Duration // after which the next part comes without a command; 0: never
	commands chan struct{}
	done     chan struct{}
	close    sync.Once

	now   []byte // both owned by the reader
	parts [][]byte
}

func newTape(parts [][]byte, chunk int, patience time.Duration) *tape {
	return &tape{chunk: chunk, patience: patience, parts: parts, commands: make(chan struct{}, 100), done: make(chan struct{})}
}

func (c *tape) Read(p []byte) (int, error) {
	for len(c.now) == 0 {
		if len(c.parts) == 0 {
			return 0, io.EOF
		}
		var impatient <-chan time.Time
		if c.patience > 0 {
			impatient = time.After(c.patience)
		}
		select {
		case <-c.commands:
		case <-impatient:
		case <-c.done:
			return 0, net.ErrClosed
		}
		c.now, c.parts = c.parts[0], c.parts[1:]
	}
	n := copy(p[:min(len(p), c.chunk)], c.now)
	c.now = c.now[n:]
	return n, nil
}

func (c *tape) Write(p []byte) (int, error) {
	select {
	case <-c.done:
		return 0, net.ErrClosed
	case c.commands <- struct{}{}:
	default: // more commands than parts
	}
	return len(p), nil
}

func (c *tape) Close() error {
	c.close.Do(func() { close(c.done) })
	return nil
}

func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzResponses plays octets as a server's side of a whole pass: nothing may hang or panic, and no
// message may be given whose octets did not all come.
func FuzzResponses(f *testing.F) {
	f.Add([]byte("* LIST () \"/\" INBOX\r\nT1 OK done\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 1] -\r\nT2 OK [READ-ONLY] done\r\n"+
		"* 1 FETCH (UID 1)\r\nT3 OK done\r\n* 1 FETCH (UID 1 "+meta+")\r\nT4 OK done\r\n* 1 FETCH (UID 1 "+meta+" BODY[] {5}\r\nhello)\r\nT5 OK done\r\n"), byte(255))
	f.Add([]byte("* LIST (\\Sent) NIL {3}\r\nR&D\r\nT1 OK\r\n* BYE [UNAVAILABLE]\r\n"), byte(1))
	f.Add([]byte("T1 NO x\r\n* 2 FETCH (BODY[] {3}\r\nabc UID 1)\r\nT2 OK\r\n"), byte(3))
	f.Add([]byte("T1 OK\r\nT2 OK [UIDVALIDITY 5]\r\n* 1 FETCH (X {2}\r\nab BODY[]<0> \"a\" ((\"{1}\r\n"), byte(7))
	f.Fuzz(func(t *testing.T, text []byte, chunk byte) {
		s := played(newTape(inParts(text), int(chunk)+1, time.Millisecond))
		// Every call ends when the tape does.
		_, _ = s.Folders(t.Context())
		_, _ = s.States(t.Context(), []string{"A", "INBOX"})
		_, _ = s.Open(t.Context(), "INBOX")
		_, _ = s.UIDs(t.Context(), 1, 9)
		_ = s.Describe(t.Context(), migrate.UIDsOf(1, 2, 3), func(migrate.MessageInfo) error { return nil })
		_ = s.Fetch(t.Context(), migrate.UIDsOf(1, 2, 3), func(_ migrate.MessageInfo, octets int64, body io.Reader) error {
			if n, err := io.Copy(io.Discard, body); err == nil && n != octets {
				t.Errorf("%d octets of %d without an error", n, octets)
			}
			return nil
		})
		s.Aim("A", 5, nil)
		_ = s.Fetch(t.Context(), migrate.UIDsOf(1, 2), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			if s.folder != "A" || s.unopened || !s.selected() {
				t.Errorf("a message came of a folder that is not open")
			}
			return err
		})
		_, _, _, _ = s.Survey(t.Context(), "B", migrate.EveryUID())
		if found, _ := s.SurveyNew(t.Context(), []string{"C", "D"}); len(found) > 0 && found[0].UIDs.Len() != found[0].State.Messages {
			t.Errorf("not all of a folder is told: %+v", found[0])
		}
		s.Close()
		<-s.client.Closed()
	})
}

// inParts cuts what a server says behind each tagged response.
func inParts(text []byte) [][]byte {
	parts := [][]byte{nil}
	for line := range bytes.Lines(text) {
		last := len(parts) - 1
		parts[last] = append(parts[last], line...)
		if line[0] == 'T' {
			parts = append(parts, nil)
		}
	}
	return parts
}

// played returns a signed-in source that hears a tape.
func played(conn *tape) *source {
	w := newWire(conn, conn, time.Minute)
	w.in.out = []byte("* PREAUTH [CAPABILITY IMAP4rev1] -\r\n")
	s := newSource(w, slog.New(slog.DiscardHandler))
	s.caps = imap.CapSet{}
	s.start()
	return s
}

// FuzzOddLine plays one untagged line before the end of a command: whatever it is, the connection
// must go on.
func FuzzOddLine(f *testing.F) {
	for _, line := range []string{
		`LIST (\Sent) "/" "R&D"`, `LIST () NIL B&APw-ro`, `OK [UIDNEXT 4294967296] x`, `OK [CAPABILITY  A ]`,
		`1 FETCH (UID 1 FLAGS (a]b \ ) INTERNALDATE "x" BODY[] "a")`, `CAPABILITY a  b`, `XLIST (`, `FLAGS (\`, `3 EXISTS`,
		`NO [ALERT] [x`, `OK [PERMANENTFLAGS (\*)]`, `NAMESPACE (("" "/")("#mh/" NIL "X" ("Y"))) NIL ((x`, `OK [HIGHESTMODSEQ 99999999999999999999]`,
		`STATUS INBOX (MESSAGES 1 UIDNEXT 4294967296 UIDVALIDITY 0 )`, `STATUS "R&D" (X (Y) MESSAGES  3`, `STATUS "(" ()`,
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if _, _, literal := cutLiteral(line); literal || strings.ContainsAny(line, "\r\n") {
			return // a literal needs its octets
		}
		for _, text := range []string{"* " + line + "\r\nT1 OK done\r\n", "T1 OK " + line + "\r\n"} {
			s := played(newTape([][]byte{[]byte(text)}, 4096, 0))
			if _, err := s.list("*"); err != nil {
				t.Errorf("%q ended the connection: %v", text, err)
			}
			s.Close()
			<-s.client.Closed()
		}
	})
}
