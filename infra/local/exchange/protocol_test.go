package exchange

import (
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"mailferry/infra/local/exchange/token"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// TestCapabilities compares with the lines that Exchange Online was seen to send
// (go-style.md 2.1; MailKit issues 849 and 1282): neither CONDSTORE nor
// MULTIAPPEND, APPENDLIMIT, QUOTA, SPECIAL-USE or OAUTHBEARER.
func TestCapabilities(t *testing.T) {
	s := start(t, Options{})
	w := dialWire(t, s, "")
	w.talk("a CAPABILITY",
		"* CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+",
		"a OK CAPABILITY completed.")
	w = dialWire(t, s, anna)
	w.talk("a CAPABILITY",
		"* CAPABILITY IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES "+
			"CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE NAMESPACE LITERAL+",
		"a OK CAPABILITY completed.")
	for _, line := range []string{
		"b ENABLE CONDSTORE", "b SORT (DATE) UTF-8 ALL", "b GETQUOTAROOT INBOX", `b XLIST "" *`, "b AUTHENTICATE OAUTHBEARER x",
	} {
		w.send(line + "\r\n")
		if got := w.line(); !strings.HasPrefix(got, "b BAD ") {
			t.Errorf("%s: got %q", line, got)
		}
	}
}

// TestSelectReplies shows the permanent flags without "\*" (node-imap issue 602;
// graph.md 1d) and nothing of CONDSTORE.
func TestSelectReplies(t *testing.T) {
	w := dialWire(t, start(t, Options{}), anna)
	w.talk("a SELECT Inbox",
		"* 0 EXISTS", "* 0 RECENT", `* FLAGS (\Seen \Answered \Flagged \Deleted \Draft $MDNSent)`,
		`* OK [PERMANENTFLAGS (\Seen \Answered \Flagged \Deleted \Draft $MDNSent)] Permanent flags`,
		"* OK [UIDVALIDITY 2] UIDVALIDITY value", "* OK [UIDNEXT 1] The next unique identifier value",
		"a OK [READ-WRITE] SELECT completed.")
	w.talk("b STORE 1:* +FLAGS ($Forwarded)", "b BAD Command Argument Error. 11")
	w.talk("c FETCH 1:* (FLAGS MODSEQ)", "c BAD Command Argument Error. 11")
}

// TestTokenExpires ends a session whose access token is over with its next
// command, or in IDLE, without a tagged reply (aioimaplib issue 83, imapsync
// issue 250). A new connection with the old token is refused.
func TestTokenExpires(t *testing.T) {
	c := newClock()
	s := start(t, Options{Now: c.Now, TokenLifetime: time.Hour})
	old := fetchToken(t, s, token.Outlook+"/.default")
	idle, busy := dialWire(t, s, anna), dialWire(t, s, anna)
	idle.talk("a IDLE", "+ IDLE accepted, awaiting DONE command.")
	c.advance(time.Hour - time.Second)
	busy.talk("a NOOP", "a OK NOOP completed.")
	c.advance(time.Second)
	busy.send("b APPEND INBOX {5}\r\n")
	busy.expect("* BYE Session invalidated - AccessTokenExpired")
	busy.ends()
	put(t, login(t, s, olaf), "INBOX", letter)
	m, _ := s.Mailbox(anna)
	if err := m.FillQuota(-1); err != nil { // any change wakes IDLE
		t.Fatal(err)
	}
	if _, err := m.CreateFolder(1, "New", "IPF.Note"); err != nil {
		t.Fatal(err)
	}
	idle.expect("* BYE Session invalidated - AccessTokenExpired")
	idle.ends()
	w := dialWire(t, s, "")
	w.send("a AUTHENTICATE XOAUTH2 " + base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "user=%s\x01auth=Bearer %s\x01\x01", anna, old)) + "\r\n")
	if got := w.line(); !strings.HasPrefix(got, "+ ") {
		t.Errorf("got %q, want a challenge that says why", got)
	}
	w.talk("", "a NO AUTHENTICATE failed.")
}

// ends fails the test unless the server closes the connection now.
func (w *wire) ends() {
	w.t.Helper()
	if rest, err := io.ReadAll(w.br); err != nil || len(rest) > 0 {
		w.t.Fatalf("got %q, %v, want the end", rest, err)
	}
}

// TestLongLines shows the limit of a line of a message (graph.md 2, "lines >
// ~10,500 chars rejected"; imapsync, FAQ.Office365.txt) beside that of a command.
func TestLongLines(t *testing.T) {
	s := start(t, Options{})
	w := dialWire(t, s, anna)
	for i, tt := range []struct{ message, want string }{
		{"Subject: a\r\n\r\n" + strings.Repeat("x", 10500) + "\r\nshort", "b OK [APPENDUID 2 1] APPEND completed."},
		{"Subject: a\r\n\r\n" + strings.Repeat("x", 10501) + "\r\nshort", "b BAD Command Argument Error. 11"},
		{"Subject: a\r\n\r\nshort\n" + strings.Repeat("x", 10501), "b BAD Command Argument Error. 11"},
		{"Subject: " + strings.Repeat("x", 10500) + "\r\n\r\nbody", "b BAD Command Argument Error. 11"},
	} {
		w.send(fmt.Sprintf("b APPEND INBOX {%d+}\r\n%s\r\n", len(tt.message), tt.message))
		if got := w.line(); got != tt.want {
			t.Errorf("message %d: got %q, want %q", i, got, tt.want)
		}
	}
	w.talk("c NOOP", "c OK NOOP completed.")
	w.send("d UID SEARCH UID " + strings.Repeat("1,", 5200) + "1\r\n")
	w.expect("d BAD Command Error. 10") // nextcloud/mail issue 6038
}

// TestSizeLimit shows MaxReceiveSize: 36 MB unless set, at most 150 MB
// (graph.md 1d; Set-Mailbox -MaxReceiveSize). The literal is not asked for.
func TestSizeLimit(t *testing.T) {
	s := start(t, Options{})
	w := dialWire(t, s, anna)
	const tooLarge = "a NO Maximum size of appendable message has been exceeded."
	w.talk(fmt.Sprintf("a APPEND INBOX {%d}", DefaultMaxMessageSize+1), tooLarge)
	if err := s.AddUser(User{UserPrincipalName: anna, Licensed: true, MaxReceiveSize: 300 << 20}); err != nil {
		t.Fatal(err)
	}
	w.talk(fmt.Sprintf("a APPEND INBOX {%d}", 150<<20+1), tooLarge)
	w.talk(fmt.Sprintf("a APPEND INBOX {%d}", 150<<20), "+ Ready for additional command text.")
}

// TestQuota refuses what does not fit (graph.md 2; imapsync, FAQ.Office365.txt,
// "Quota reached") until there is room again.
func TestQuota(t *testing.T) {
	s := start(t, Options{MaxItemsPerFolder: 3})
	c := login(t, s, anna)
	put(t, c, "INBOX", letter)
	m, _ := s.Mailbox(anna)
	if err := m.FillQuota(int64(len(letter)) - 1); err != nil {
		t.Fatal(err)
	}
	w := dialWire(t, s, anna)
	send := func() { w.send(fmt.Sprintf("a APPEND INBOX {%d+}\r\n%s\r\n", len(letter), letter)) }
	send()
	w.expect("a BAD Command Argument Error. 11")
	if err := m.FillQuota(int64(len(letter))); err != nil {
		t.Fatal(err)
	}
	send()
	w.expect("a OK [APPENDUID 2 2] APPEND completed.")
	send()
	w.expect("a BAD Command Argument Error. 11")
	// Recoverable items count elsewhere.
	if err := m.Delete(m.NewestFirst(2)[0].ID); err != nil {
		t.Fatal(err)
	}
	send()
	w.expect("a OK [APPENDUID 2 3] APPEND completed.")
	if err := m.FillQuota(-1); err != nil {
		t.Fatal(err)
	}
	send()
	w.expect("a OK [APPENDUID 2 4] APPEND completed.")
	send()
	w.expect("a NO APPEND failed.") // one item too many in the folder
}

// TestDateLost plays an Exchange that stamps the time of import instead of the
// date-time of APPEND (graph.md 1d and 7, item 2).
func TestDateLost(t *testing.T) {
	c := newClock()
	s := start(t, Options{Now: c.Now})
	if err := s.AddUser(User{UserPrincipalName: anna, Licensed: true, AppendLosesDate: true}); err != nil {
		t.Fatal(err)
	}
	put(t, login(t, s, anna), "INBOX", letter)
	m, _ := s.Mailbox(anna)
	if got := m.Messages()[0].Received; !got.Equal(c.Now()) {
		t.Errorf("got %s, want now, %s", got, c.Now())
	}
}

// TestFolderNames shows names that Exchange reserves, and those it takes for one
// (graph.md 2; imapsync, FAQ.Office365.txt), and that a "/" in a name puts a
// folder out of reach (node-imap issue 553).
func TestFolderNames(t *testing.T) {
	s := start(t, Options{})
	m, _ := s.Mailbox(anna)
	parent, err := m.CreateFolder(1, "Sales/Marketing", "IPF.Note")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := m.CreateFolder(parent.ID, "Below", "IPF.Note"); err != nil {
		t.Fatal(err)
	}
	w := dialWire(t, s, anna)
	w.talk("a CREATE files", "a NO Folder name is reserved.")
	w.talk("a CREATE trash", "a OK CREATE completed.")
	w.talk("a CREATE Trash", "a NO Mailbox already exists.")
	w.talk("a CREATE inbox", "a NO Mailbox already exists.")
	w.talk("a CREATE Archive/Files", "a OK CREATE completed.")
	w.talk("a STATUS Sales/Marketing (MESSAGES)", "a NO Mailbox doesn't exist.")
	w.talk("a STATUS Sales&AC8-Marketing (MESSAGES)", "a BAD Command Argument Error. 11")
	w.talk("a STATUS iNbOx (MESSAGES)", "* STATUS iNbOx (MESSAGES 0)", "a OK STATUS completed.")
	list, err := login(t, s, anna).List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(list, func(l *goimap.ListData) bool { return strings.Contains(l.Mailbox, "Marketing") }) {
		t.Error("a folder with / in its name was listed")
	}
}

// TestMDNSentIsACategory shows what users see of $MDNSent (graph.md 1d).
func TestMDNSentIsACategory(t *testing.T) {
	s := start(t, Options{})
	put(t, login(t, s, anna), "INBOX", letter, goimap.FlagSeen, "$MDNSent")
	m, _ := s.Mailbox(anna)
	if got := m.Messages()[0]; !slices.Equal(got.Categories, []string{"$MDNSent"}) || !slices.Contains(got.Flags, "$MDNSent") {
		t.Errorf("got %+v", got)
	}
}

// TestUIDValidity shows that a folder made again is another one, and that a
// renamed one keeps its UIDs (RFC 3501, section 2.3.1.1).
func TestUIDValidity(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, anna)
	validity := func(folder string) uint32 {
		t.Helper()
		st, err := c.Status(folder, &goimap.StatusOptions{UIDValidity: true}).Wait()
		if err != nil {
			t.Fatal(err)
		}
		return st.UIDValidity
	}
	if err := c.Create("A", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	first := validity("A")
	put(t, c, "A", letter)
	if err := c.Rename("A", "B", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if got := validity("B"); got != first {
		t.Errorf("RENAME changed UIDVALIDITY from %d to %d", first, got)
	}
	if err := c.Delete("B").Wait(); err != nil {
		t.Fatal(err)
	}
	if err := c.Create("A", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if got := validity("A"); got <= first {
		t.Errorf("a new folder has UIDVALIDITY %d, the old one had %d", got, first)
	}
}
