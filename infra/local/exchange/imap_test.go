package exchange

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/infra/local/exchange/token"
)

const letter = "From: =?utf-8?q?J=C3=BCrgen?= <j@contoso.test>\r\nTo: Anna <anna@contoso.test>\r\n" +
	"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Mon, 4 Mar 2019 11:11:00 +0100\r\n" +
	"Message-ID: <one@contoso.test>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\nHello\r\n"

var received = time.Date(2019, 3, 4, 10, 11, 12, 0, time.UTC)

func put(t *testing.T, c *imapclient.Client, folder, message string, flags ...goimap.Flag) *goimap.AppendData {
	t.Helper()
	cmd := c.Append(folder, int64(len(message)), &goimap.AppendOptions{Flags: flags, Time: received})
	if _, err := cmd.Write([]byte(message)); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Close(); err != nil {
		t.Fatal(err)
	}
	data, err := cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// refused returns the text of a reply that is no OK.
func refused(t *testing.T, err error, typ goimap.StatusResponseType) string {
	t.Helper()
	var e *goimap.Error
	if !errors.As(err, &e) || e.Type != typ {
		t.Fatalf("got %v, want a %s reply", err, typ)
	}
	return e.Text
}

func TestAppendIsKept(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, anna)
	data := put(t, c, "INBOX", letter, goimap.FlagSeen, goimap.FlagFlagged)
	if data.UID != 1 || data.UIDValidity == 0 {
		t.Errorf("got %+v, want UID 1 and a UIDVALIDITY", data)
	}
	m, _ := s.Mailbox("a.ALIAS@contoso.test")
	sum := sha256.Sum256([]byte(letter))
	all := m.Messages()
	if len(all) != 1 {
		t.Fatalf("got %d messages, want 1", len(all))
	}
	got := all[0]
	if got.SHA256 != hex.EncodeToString(sum[:]) || got.Size != int64(len(letter)) || !got.Received.Equal(received) ||
		got.Subject != "Grüße" || got.MessageID != "<one@contoso.test>" || !got.IsRead || got.IsDraft ||
		!slices.Equal(got.FolderPath, []string{"Inbox"}) || got.Folder != "inbox" ||
		!slices.Equal(got.Flags, []string{`\Seen`, `\Flagged`}) {
		t.Errorf("got %+v", got)
	}
	if st := m.Stats(); st != (Stats{Messages: 1, Bytes: int64(len(letter)), Appends: 1}) {
		t.Errorf("got %+v", st)
	}
}

func TestFetchRebuilds(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, anna)
	put(t, c, "INBOX", letter)
	sel, err := c.Select("inbox", nil).Wait()
	if err != nil {
		t.Fatal(err)
	}
	if sel.NumMessages != 1 || slices.Contains(sel.PermanentFlags, goimap.FlagWildcard) || len(sel.PermanentFlags) != 6 {
		t.Errorf("got %+v", sel)
	}
	head := &goimap.FetchItemBodySection{Specifier: goimap.PartSpecifierHeader, HeaderFields: []string{"Message-ID"}, Peek: true}
	whole := &goimap.FetchItemBodySection{}
	got, err := c.Fetch(goimap.UIDSetNum(1), &goimap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true, Envelope: true,
		BodySection: []*goimap.FetchItemBodySection{head, whole},
	}).Collect()
	if err != nil || len(got) != 1 {
		t.Fatalf("got %d messages, %v", len(got), err)
	}
	m := got[0]
	body := string(m.FindBodySection(whole))
	if body == letter || !strings.HasSuffix(body, "\r\n\r\nHello\r\n") || !strings.Contains(body, "Message-ID: <one@contoso.test>\r\n") {
		t.Errorf("got body %q", body)
	}
	if h := string(m.FindBodySection(head)); h != "Message-ID: <one@contoso.test>\r\n\r\n" {
		t.Errorf("got header %q", h)
	}
	if m.RFC822Size == int64(len(body)) || !m.InternalDate.Equal(received) || m.Envelope.Subject != "Grüße" {
		t.Errorf("got %+v", m)
	}
	mailbox, _ := s.Mailbox(anna)
	if !mailbox.Messages()[0].IsRead {
		t.Error("BODY[] left the message unread")
	}
}

func TestFoldersByLanguage(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, olaf)
	if err := c.Create("Projekte/Übersicht", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	refused(t, c.Create("PROJEKTE/übersicht", nil).Wait(), goimap.StatusResponseTypeNo)
	list, err := c.List("", "*", nil).Collect()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range list {
		names = append(names, l.Mailbox)
	}
	want := []string{"INBOX", "Entwürfe", "Gesendete Elemente", "Gelöschte Elemente", "Junk-E-Mail", "Archiv", "Postausgang",
		"Aufgezeichnete Unterhaltungen", "Projekte", "Projekte/Übersicht"}
	if !slices.Equal(names, want) {
		t.Errorf("got %q", names)
	}
	top, err := c.List("", "%", nil).Collect()
	if err != nil || len(top) != len(want)-1 {
		t.Errorf("got %d folders at the top, %v", len(top), err)
	}
	put(t, c, "gesendete elemente", letter)
	put(t, c, "projekte/Übersicht", letter)
	m, _ := s.Mailbox(olaf)
	all := m.Messages()
	if !slices.Equal(all[0].FolderPath, []string{"Sent Items"}) || all[1].FolderClass != "IPF.Imap" {
		t.Errorf("got %+v", all)
	}
}

// TestAppendRefused uses a connection for each case, as the client drops one
// whose literal was not asked for.
func TestAppendRefused(t *testing.T) {
	s := start(t, Options{})
	tests := []struct {
		name, folder, message string
		flags                 []goimap.Flag
		typ                   goimap.StatusResponseType
		code                  goimap.ResponseCode
		text                  string
	}{
		{"too big", "INBOX", strings.Repeat("x", 2001), nil, goimap.StatusResponseTypeBad, "", "Command Argument Error. 11"},
		{"too big, asked for", "INBOX", strings.Repeat("x", 5000), nil, goimap.StatusResponseTypeBad, "", "Command Argument Error. 11"},
		{"empty", "INBOX", "", nil, goimap.StatusResponseTypeBad, "", "Command Argument Error. 11"},
		{"keyword", "INBOX", letter, []goimap.Flag{"$Forwarded"}, goimap.StatusResponseTypeBad, "", "Command Argument Error. 11"},
		{"no folder", "Nowhere", letter, nil, goimap.StatusResponseTypeNo, goimap.ResponseCodeTryCreate, "Mailbox doesn't exist."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cmd := login(t, s, olaf).Append(tt.folder, int64(len(tt.message)), &goimap.AppendOptions{Flags: tt.flags})
			_, _ = cmd.Write([]byte(tt.message)) // Wait tells what went wrong
			_ = cmd.Close()
			_, err := cmd.Wait()
			var e *goimap.Error
			if !errors.As(err, &e) || e.Type != tt.typ || e.Code != tt.code || e.Text != tt.text {
				t.Errorf("got %v", err)
			}
		})
	}
	m, _ := s.Mailbox(olaf)
	if n := m.Stats().Messages; n != 0 {
		t.Errorf("%d refused messages were stored", n)
	}
}

func TestAuthenticateRefused(t *testing.T) {
	s := start(t, Options{MaxConnectionsPerMailbox: 1})
	login(t, s, olaf)
	outlook, graph := fetchToken(t, s, token.Outlook+"/.default"), fetchToken(t, s, token.Graph+"/.default")
	tests := []struct {
		name, user, token string
		typ               goimap.StatusResponseType
		text              string
	}{
		{"second connection", olaf, outlook, goimap.StatusResponseTypeBad, "User is authenticated but not connected."},
		{"no mailbox", "nobox@contoso.test", outlook, goimap.StatusResponseTypeBad, "User is authenticated but not connected."},
		{"token for Graph", anna, graph, goimap.StatusResponseTypeNo, "AUTHENTICATE failed."},
		{"no such user", "nobody@contoso.test", outlook, goimap.StatusResponseTypeNo, "AUTHENTICATE failed."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if text := refused(t, dial(t, s).Authenticate(xoauth2{tt.user, tt.token}), tt.typ); text != tt.text {
				t.Errorf("got %q, want %q", text, tt.text)
			}
		})
	}
	refused(t, dial(t, s).Login(anna, "secret").Wait(), goimap.StatusResponseTypeNo)
}
