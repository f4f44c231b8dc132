package exchange

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	goimap "github.com/emersion/go-imap/v2"

	"mailferry/infra/local/exchange/token"
)

func TestRestart(t *testing.T) {
	dir := t.TempDir()
	s := start(t, Options{Dir: dir})
	c := login(t, s, anna)
	put(t, c, "INBOX", letter, goimap.FlagFlagged)
	if err := c.Create("Alt/Älter", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	put(t, c, "Alt/Älter", letter)
	put(t, c, "INBOX", letter)
	m, _ := s.Mailbox(anna)
	before, user, ca := m.Messages(), m.User(), string(s.CA())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	// A killed process may leave the start of a record.
	j, err := os.OpenFile(filepath.Join(dir, "journal"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.WriteString(`{"op":"item","m":0,"it`); err != nil {
		t.Fatal(err)
	}
	j.Close()

	s = start(t, Options{Dir: dir})
	m, _ = s.Mailbox(anna)
	if got := m.Messages(); !reflect.DeepEqual(got, before) {
		t.Errorf("got %+v, want %+v", got, before)
	}
	if m.User().ID != user.ID || m.User().MailboxGUID != user.MailboxGUID || string(s.CA()) != ca {
		t.Error("ids or certificate changed")
	}
	c = login(t, s, anna)
	if data := put(t, c, "INBOX", letter); data.UID != 3 {
		t.Errorf("got UID %d, want 3", data.UID)
	}
	if n := m.Stats(); n.Messages != 4 || n.Appends != 1 {
		t.Errorf("got %+v", n)
	}
}

// wire is a raw IMAP connection.
type wire struct {
	t *testing.T
	*tls.Conn
	br *bufio.Reader
}

func dialRaw(t *testing.T, s *Server) *wire {
	t.Helper()
	c, err := tls.Dial("tcp", s.IMAPAddr(), trust(t, s))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &wire{t, c, bufio.NewReader(c)}
}

func dialWire(t *testing.T, s *Server, user string) *wire {
	t.Helper()
	w := dialRaw(t, s)
	w.line()
	if user != "" {
		raw := fmt.Sprintf("user=%s\x01auth=Bearer %s\x01\x01", user, fetchToken(t, s, token.Outlook+"/.default"))
		w.send("a AUTHENTICATE XOAUTH2\r\n")
		w.expect("+ ")
		w.send(base64.StdEncoding.EncodeToString([]byte(raw)) + "\r\n")
		w.expect("a OK AUTHENTICATE completed.")
	}
	return w
}

func (w *wire) send(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w, s); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) line() string {
	w.t.Helper()
	line, err := w.br.ReadString('\n')
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimRight(line, "\r\n")
}

func (w *wire) expect(want string) {
	w.t.Helper()
	if got := w.line(); got != want {
		w.t.Fatalf("got %q, want %q", got, want)
	}
}

func TestWire(t *testing.T) {
	s := start(t, Options{})
	tests := []struct{ name, send, want string }{
		{"long command", "b LIST \"\" \"" + strings.Repeat("x", 10240) + "\"\r\n", "b BAD Command Error. 10"},
		{"unknown", "b FROBNICATE\r\n", "b BAD Command Error. 12"},
		{"no folder selected", "b FETCH 1 FLAGS\r\n", "b BAD Command received in Invalid state."},
		{"basic authentication", "b LOGIN x y\r\n", "b NO LOGIN failed."},
		{"unasked literal", "b APPEND INBOX {5+}\r\nhello\r\n", "b OK [APPENDUID 2 1] APPEND completed."},
		{"literal name", "b APPEND {5+}\r\ninbox {5+}\r\nhello\r\n", "b OK [APPENDUID 2 2] APPEND completed."},
		{"two messages", "b APPEND INBOX {5+}\r\nhello {5+}\r\nthere\r\n", "b BAD Command Argument Error. 11"},
		{"bad date", "b APPEND INBOX \"yesterday\" {5+}\r\nhello\r\n", "b BAD Command Argument Error. 11"},
		{"huge literal for a name", "b SELECT {20000}\r\n", "b BAD Command Error. 10"},
		{"no UTF-7", "b SELECT \"M\xc3\xbcll\"\r\n", "b BAD Command Argument Error. 11"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := dialWire(t, s, anna)
			w.send(tt.send)
			w.expect(tt.want)
			if tt.name != "two messages" {
				w.send("c NOOP\r\n")
				w.expect("c OK NOOP completed.")
			}
		})
	}
	t.Run("refused token", func(t *testing.T) {
		w := dialWire(t, s, "")
		w.send("a AUTHENTICATE XOAUTH2 " + base64.StdEncoding.EncodeToString([]byte("user="+anna+"\x01auth=Bearer x.y.z\x01\x01")) + "\r\n")
		challenge, ok := strings.CutPrefix(w.line(), "+ ")
		text, err := base64.StdEncoding.DecodeString(challenge)
		if !ok || err != nil || !strings.HasPrefix(string(text), `{"status":"401",`) {
			t.Errorf("got %q, %v", text, err)
		}
		w.send("\r\n")
		w.expect("a NO AUTHENTICATE failed.")
	})
	t.Run("ten errors", func(t *testing.T) {
		w := dialWire(t, s, anna)
		for range 10 {
			w.send("b NONSENSE\r\n")
			w.expect("b BAD Command Error. 12")
		}
		w.expect("* BYE Connection closed. 14")
		if _, err := w.br.ReadByte(); err != io.EOF {
			t.Errorf("got %v, want the end", err)
		}
	})
}

// TestInterruptedLiteral shows that half a message leaves nothing.
func TestInterruptedLiteral(t *testing.T) {
	s := start(t, Options{})
	w := dialWire(t, s, anna)
	w.send("b APPEND INBOX {100}\r\n")
	w.expect("+ Ready for additional command text.")
	w.send("From: half")
	w.Close()
	put(t, login(t, s, anna), "INBOX", letter)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m, _ := s.Mailbox(anna)
	if all := m.Messages(); len(all) != 1 || all[0].UID != 1 {
		t.Errorf("got %+v", all)
	}
}

// TestIdle shows that a client learns of mail that another one appends.
func TestIdle(t *testing.T) {
	s := start(t, Options{})
	w := dialWire(t, s, anna)
	w.send("b SELECT INBOX\r\n")
	for w.line() != "b OK [READ-WRITE] SELECT completed." {
	}
	w.send("c IDLE\r\n")
	w.expect("+ IDLE accepted, awaiting DONE command.")
	put(t, login(t, s, anna), "INBOX", letter)
	w.expect("* 1 EXISTS")
	w.send("DONE\r\n")
	w.expect("c OK IDLE completed.")
}

// TestManyAppends keeps 20,000 pipelined messages apart.
func TestManyAppends(t *testing.T) {
	const n = 20000
	s := start(t, Options{})
	w := dialWire(t, s, anna)
	sent := make(chan error, 1)
	go func() {
		bw := bufio.NewWriter(w)
		for i := range n {
			msg := fmt.Sprintf("Message-ID: <%d@contoso.test>\r\nSubject: %d\r\n\r\nbody\r\n", i, i)
			fmt.Fprintf(bw, "b APPEND INBOX (\\Seen) \"04-Mar-2019 10:11:12 +0000\" {%d+}\r\n%s\r\n", len(msg), msg)
		}
		sent <- bw.Flush()
	}()
	for i := range n {
		w.expect(fmt.Sprintf("b OK [APPENDUID 2 %d] APPEND completed.", i+1))
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	m, _ := s.Mailbox(anna)
	for i, msg := range m.Messages() {
		if want := fmt.Sprintf("<%d@contoso.test>", i); msg.MessageID != want || msg.UID != uint32(i+1) {
			t.Fatalf("got %s with UID %d, want %s", msg.MessageID, msg.UID, want)
		}
	}
	if got := m.Stats().Messages; got != n {
		t.Errorf("got %d messages", got)
	}
}
