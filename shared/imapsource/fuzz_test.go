package imapsource

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// tape is a connection that plays what a server says, some octets at a time, and then ends.
type tape struct {
	net.Conn
	mu     sync.Mutex
	text   *bytes.Reader
	chunk  int
	closed bool
}

func (c *tape) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	return c.text.Read(p[:min(len(p), c.chunk)])
}

func (c *tape) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

func (c *tape) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
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
		conn := &tape{text: bytes.NewReader(text), chunk: int(chunk) + 1}
		w := newWire(conn, conn, time.Minute)
		w.in.out = []byte("* PREAUTH [CAPABILITY IMAP4rev1] -\r\n")
		s := &source{wire: w, logger: slog.New(slog.DiscardHandler), caps: imap.CapSet{}}
		s.client = imapclient.New(w, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
			Expunge: func(uint32) { s.expunged.Add(1) },
		}})
		// Every call ends when the tape does.
		if err := s.client.WaitGreeting(); err != nil {
			t.Fatal(err)
		}
		_, _ = s.Folders(t.Context())
		_, _ = s.Open(t.Context(), "INBOX")
		_, _ = s.UIDs(t.Context(), 1, 9)
		_ = s.Describe(t.Context(), migrate.UIDsOf(1, 2, 3), func(migrate.MessageInfo) error { return nil })
		_ = s.Fetch(t.Context(), migrate.UIDsOf(1, 2, 3), func(_ migrate.MessageInfo, octets int64, body io.Reader) error {
			if n, err := io.Copy(io.Discard, body); err == nil && n != octets {
				t.Errorf("%d octets of %d without an error", n, octets)
			}
			return nil
		})
		s.Close()
		<-s.client.Closed()
	})
}
