package exchange

import (
	"io"
	"slices"
	"testing"
)

// TestBarred plays what a client sees that signs in but gets no mailbox: no
// refusal of AUTHENTICATE, but one of each of two commands, then the end.
func TestBarred(t *testing.T) {
	s := start(t, Options{MaxConnectionsPerMailbox: 1})
	first := dialWire(t, s, anna)
	if err := s.AddUser(User{UserPrincipalName: "noimap@contoso.test", Licensed: true, NoIMAP: true}); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{anna, "nobox@contoso.test", "noimap@contoso.test"} {
		t.Run(user, func(t *testing.T) {
			w := dialWire(t, s, user)
			w.send("b NOOP\r\nc APPEND INBOX {5}\r\nd APPEND INBOX {5+}\r\nhello\r\n")
			w.expect("b OK NOOP completed.")
			w.expect("c BAD User is authenticated but not connected.")
			w.expect("d BAD User is authenticated but not connected.")
			w.expect("* BYE Connection closed. 14")
			if _, err := w.br.ReadByte(); err != io.EOF {
				t.Errorf("got %v, want the end", err)
			}
		})
	}
	first.send("b LOGOUT\r\n")
	for first.line() != "b OK LOGOUT completed." {
	}
	if _, err := first.br.ReadByte(); err != io.EOF {
		t.Fatalf("got %v, want the end", err)
	}
	dialWire(t, s, anna).talk("b NOOP", "b OK NOOP completed.")
	m, _ := s.Mailbox(anna)
	if n := m.Stats().Messages; n != 0 {
		t.Errorf("got %d messages", n)
	}
}

// talk sends a line and fails the test unless exactly these lines come back.
func (w *wire) talk(line string, want ...string) {
	w.t.Helper()
	w.send(line + "\r\n")
	var got []string
	for range want {
		got = append(got, w.line())
	}
	if !slices.Equal(got, want) {
		w.t.Fatalf("%s:\ngot  %q\nwant %q", line, got, want)
	}
}

// TestSelected walks through the commands of a selected folder.
func TestSelected(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, anna)
	for range 4 {
		put(t, c, "INBOX", letter)
	}
	w := dialWire(t, s, anna)
	w.talk("a NAMESPACE", `* NAMESPACE (("" "/")) NIL NIL`, "a OK NAMESPACE completed.")
	w.talk("a SUBSCRIBE Drafts", "a OK SUBSCRIBE completed.")
	w.send("a SELECT INBOX\r\n")
	for w.line() != "a OK [READ-WRITE] SELECT completed." {
	}
	for key, want := range map[string]string{
		"ALL": " 1 2 3 4", "1:2": " 1 2", "UID 4": " 4", "SEEN": "", "UNSEEN": " 1 2 3 4", "NOT UID 1,3": " 2 4",
		"OR UID 1 UID 2 UNFLAGGED": " 1 2", "(UID 1 UNSEEN)": " 1", "NEW": "", "ON 4-Mar-2019": " 1 2 3 4",
		"SINCE 5-Mar-2019": "", "BEFORE 5-Mar-2019 UID 3": " 3", "SENTON 4-Mar-2019 1": " 1", "LARGER 9999": "",
		`HEADER Message-ID "<ONE@contoso.test>"`: " 1 2 3 4", `SUBJECT "nothing"`: "",
	} {
		w.talk("b UID SEARCH "+key, "* SEARCH"+want, "b OK UID SEARCH completed.")
	}
	w.talk("b SEARCH NONSENSE 1", "b BAD Command Argument Error. 11")
	w.talk(`c STORE 1:3 +FLAGS.SILENT (\Deleted)`, "c OK STORE completed.")
	w.talk("d UID EXPUNGE 2", "* 2 EXPUNGE", "d OK UID EXPUNGE completed.")
	w.talk("e UNSELECT", "e OK UNSELECT completed.")
	if m, _ := s.Mailbox(anna); m.Stats().Messages != 3 {
		t.Errorf("UNSELECT left %d messages, want 3", m.Stats().Messages)
	}
	w.send("f SELECT INBOX\r\n")
	for w.line() != "f OK [READ-WRITE] SELECT completed." {
	}
	w.talk("g CLOSE", "g OK CLOSE completed.")
	if m, _ := s.Mailbox(anna); m.Stats().Messages != 1 || m.Messages()[0].UID != 4 {
		t.Errorf("CLOSE left %+v, want UID 4", m.Messages())
	}
}
