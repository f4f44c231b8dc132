package imap

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/exchange/store"
)

// pipeServer is a Server that listens nowhere, with one mailbox that holds two
// messages.
func pipeServer(t testing.TB) *Server {
	t.Helper()
	db, err := store.Open(store.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := db.AddUser(store.User{UserPrincipalName: "a@x.test", Licensed: true}); err != nil {
		t.Fatal(err)
	}
	m, _ := db.Mailbox("a@x.test")
	for _, text := range []string{"Subject: one\r\n\r\nbody\r\n", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"} {
		b, err := db.Receive(strings.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Add(store.InboxID, store.NewItem{Body: b}); err != nil {
			t.Fatal(err)
		}
	}
	return &Server{
		o: Options{
			Store: db, MaxMessageSize: 1000, MaxConnectionsPerMailbox: 4, Logger: slog.New(slog.DiscardHandler), Now: time.Now,
			Check: func(token string) (time.Time, error) {
				if token != "good" {
					return time.Time{}, errors.New("no good token")
				}
				return time.Now().Add(time.Hour), nil
			},
		},
		ctx: t.Context(), open: map[*store.Mailbox]int{},
	}
}

// converse sends input to a session and returns all it answers.
func converse(t testing.TB, s *Server, input string) string {
	t.Helper()
	client, server := net.Pipe()
	ses, err := newSession(s, server)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		ses.serve()
		server.Close()
	}()
	go func() {
		_, _ = io.WriteString(client, input) // the session may have ended
		_, _ = io.WriteString(client, "\r\nz LOGOUT\r\n")
		_ = client.SetReadDeadline(time.Now().Add(patience)) // it may wait for more of a literal
	}()
	var out bytes.Buffer
	_, _ = out.ReadFrom(client) // ends with the session
	client.Close()
	<-served
	return out.String()
}

// patience is how long a client waits that has nothing more to say.
const patience = 500 * time.Millisecond

const signIn = "a AUTHENTICATE XOAUTH2 dXNlcj1hQHgudGVzdAFhdXRoPUJlYXJlciBnb29kAQE=\r\n"

// FuzzSession throws anything at a session: it has to end, and must not answer
// anything but lines of IMAP.
func FuzzSession(f *testing.F) {
	for _, s := range []string{
		"b SELECT INBOX\r\nc UID FETCH 1:* (FLAGS BODY[] BODY.PEEK[TEXT]<1.3> ENVELOPE)\r\nd UID SEARCH OR SUBJECT one NOT (UID 2 SEEN)\r\n",
		"b APPEND INBOX (\\Seen) \" 4-Mar-2019 10:11:12 +0000\" {5+}\r\nhe\x00lo\r\nc IDLE\r\nDONE\r\n",
		"b CREATE A/B\r\nc RENAME A \"&AOQ-\"\r\nd LIST \"\" \"*%\"\r\ne DELETE \"&AOQ-\"\r\nf STATUS INBOX (MESSAGES UIDNEXT)\r\n",
		"b SELECT INBOX\r\nc STORE 1 +FLAGS (\\Deleted)\r\nd MOVE 2 Archive\r\ne COPY 1 Archive\r\nf EXPUNGE\r\ng CLOSE\r\n",
		"b APPEND INBOX {99999999999999999+}\r\n", "b SELECT {3+}\r\nabc\r\n", "b ((((((((((((((((((((((\r\n", "b UID\r\nc UID UID\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, input string) {
		s := pipeServer(t)
		done := time.AfterFunc(2*time.Minute, func() { panic("session does not end: " + input) })
		defer done.Stop()
		out := converse(t, s, signIn+input)
		if !strings.HasPrefix(out, "* OK The Microsoft Exchange IMAP4 service is ready. [") {
			t.Fatalf("got %q", out)
		}
		if len(s.open) != 0 {
			t.Fatal("the session is still counted")
		}
	})
}

// FuzzSet checks sequence sets against a slow reading of them.
func FuzzSet(f *testing.F) {
	for _, s := range []string{"1", "1:*", "*", "3:1,2", "9,9,1:4", "4294967295", "2:4294967295", "*:1"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, set string, byUID bool) {
		v := &view{uids: []uint32{2, 3, 5, 8, 4294967295}}
		picked, err := v.resolve(set, byUID)
		if err != nil {
			return
		}
		highest := uint32(len(v.uids))
		if byUID {
			highest = v.uids[len(v.uids)-1]
		}
		spans, err := parseSet(set, highest)
		if err != nil {
			t.Fatal(err)
		}
		var want []uint32
		for i, uid := range v.uids {
			n := uint32(i + 1)
			if byUID {
				n = uid
			}
			if slices.ContainsFunc(spans, func(s span) bool { return s.from <= n && n <= s.to }) {
				want = append(want, uid)
			}
		}
		if got := slices.Collect(picked.all()); !slices.Equal(got, want) {
			t.Fatalf("%q picks %d, want %d", set, got, want)
		}
		for _, uid := range v.uids {
			if picked.has(uid) != slices.Contains(want, uid) {
				t.Fatalf("%q: has(%d) is %t", set, uid, picked.has(uid))
			}
		}
	})
}

// FuzzXOAUTH2 checks that what is taken apart can be put together again.
func FuzzXOAUTH2(f *testing.F) {
	f.Add("user=a@x.test\x01auth=Bearer t\x01\x01")
	f.Add("user=\x01auth=Bearer \x01\x01")
	f.Fuzz(func(t *testing.T, s string) {
		user, token, err := parseXOAUTH2(base64.StdEncoding.EncodeToString([]byte(s)))
		if err == nil && !strings.EqualFold(s, "user="+user+"\x01auth=Bearer "+token+"\x01\x01") {
			t.Fatalf("%q became %q and %q", s, user, token)
		}
	})
}

// FuzzLineMeter compares with lines that are split in one go.
func FuzzLineMeter(f *testing.F) {
	f.Add("a\r\nbb\nccc", 2)
	f.Fuzz(func(t *testing.T, s string, size int) {
		if size < 1 || size > 64 {
			return
		}
		m := &lineMeter{r: strings.NewReader(s)}
		if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{m}, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
		want := 0
		for line := range strings.SplitSeq(s, "\n") {
			want = max(want, len(strings.TrimSuffix(line, "\r")))
		}
		if m.longest != want {
			t.Fatalf("longest line of %q has %d, want %d", s, m.longest, want)
		}
	})
}

// TestHostile shows that clients that mean ill get an answer or the end, and
// leave nothing that grows.
func TestHostile(t *testing.T) {
	tests := []struct{ name, input, want string }{
		{"before signing in", strings.Repeat("x", 1<<20), "* BAD Command Error. 10"},
		{"literals forever", "b SEARCH " + strings.Repeat("{5000+}\r\n"+strings.Repeat("x", 5000)+" ", 3), "b BAD Command Error. 10"},
		{"lists", signIn + "b FETCH 1 " + strings.Repeat("(", 5000) + "\r\n", "b BAD Command Error. 12"},
		{"ranges", signIn + "b SELECT INBOX\r\nc UID FETCH " + strings.Repeat("1:*,", 2500) + "1 FLAGS\r\n", "* 1 FETCH (UID 1 FLAGS ())\r\n* 2 FETCH (UID 2 FLAGS ())\r\nc OK UID FETCH completed."},
		{"huge message unasked", signIn + "b APPEND INBOX {2000+}\r\n" + strings.Repeat("x", 2000) + "\r\n", "b NO Maximum size of appendable message has been exceeded."},
		{"NULs", signIn + "b APPEND INBOX {3+}\r\n\x00\x00\x00\r\n", "b OK [APPENDUID 2 3] APPEND completed."},
		{"NULs in a command", signIn + "b SELECT \x00\r\n", "b BAD Command Error. 12"},
		{"8-bit name", signIn + "b SELECT \"\xff\xfe\"\r\n", "b BAD Command Argument Error. 11"},
		{"patterns", signIn + "b LIST \"\" \"" + strings.Repeat("*x", 2000) + "\"\r\n", "b OK LIST completed."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := converse(t, pipeServer(t), tt.input); !strings.Contains(got, tt.want) {
				t.Errorf("got %.300q, want %q in it", got, tt.want)
			}
		})
	}
}

// TestID answers who is there (RFC 2971).
func TestID(t *testing.T) {
	got := converse(t, pipeServer(t), "a ID NIL\r\n")
	if want := "* ID (\"name\" \"Microsoft.Exchange.Imap4.Imap4Server\" \"version\" \"15.20\")\r\na OK ID completed\r\n"; !strings.Contains(got, want) {
		t.Errorf("got %q, want %q in it", got, want)
	}
}
