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
		"Aufgezeichnete Unterhaltungen", "Kalender", "Kontakte", "Aufgaben", "Notizen", "Journal", "Projekte", "Projekte/Übersicht"}
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
		{"too big", "INBOX", strings.Repeat("x", 2001), nil, goimap.StatusResponseTypeNo, "", "Maximum size of appendable message has been exceeded."},
		{"too big, asked for", "INBOX", strings.Repeat("x", 5000), nil, goimap.StatusResponseTypeNo, "", "Maximum size of appendable message has been exceeded."},
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
	s := start(t, Options{})
	outlook, graph := fetchToken(t, s, token.Outlook+"/.default"), fetchToken(t, s, token.Graph+"/.default")
	tests := []struct {
		name, user, token string
		typ               goimap.StatusResponseType
		text              string
	}{
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

// TestChangeMessages walks through STORE, SEARCH, COPY, MOVE and EXPUNGE.
func TestChangeMessages(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, anna)
	for _, id := range []string{"one", "two", "three"} {
		put(t, c, "INBOX", strings.Replace(letter, "<one@", "<"+id+"@", 1))
	}
	put(t, c, "INBOX", letter, goimap.FlagDraft)
	if _, err := c.Select("INBOX", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	store := func(uid goimap.UID, op goimap.StoreFlagsOp, flag goimap.Flag) error {
		return c.Store(goimap.UIDSetNum(uid), &goimap.StoreFlags{Op: op, Flags: []goimap.Flag{flag}}, nil).Close()
	}
	if err := errors.Join(store(1, goimap.StoreFlagsAdd, goimap.FlagAnswered), store(2, goimap.StoreFlagsAdd, goimap.FlagDeleted),
		store(4, goimap.StoreFlagsDel, goimap.FlagDraft)); err != nil {
		t.Fatal(err)
	}
	refused(t, store(1, goimap.StoreFlagsAdd, "Keyword"), goimap.StatusResponseTypeBad)

	day := time.Date(2019, 3, 4, 0, 0, 0, 0, time.UTC)
	tests := []struct {
		name     string
		criteria goimap.SearchCriteria
		want     string
	}{
		{"all", goimap.SearchCriteria{}, "1:4"},
		{"message id", goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Message-ID", Value: "<two@contoso.test>"}}}, "2"},
		{"subject", goimap.SearchCriteria{Header: []goimap.SearchCriteriaHeaderField{{Key: "Subject", Value: "nothing"}}}, ""},
		{"flag", goimap.SearchCriteria{Flag: []goimap.Flag{goimap.FlagAnswered}}, "1"},
		{"still a draft", goimap.SearchCriteria{Flag: []goimap.Flag{goimap.FlagDraft}}, "4"},
		{"since", goimap.SearchCriteria{Since: day, Before: day.AddDate(0, 0, 1)}, "1:4"},
		{"before", goimap.SearchCriteria{Before: day}, ""},
		{"uid", goimap.SearchCriteria{UID: []goimap.UIDSet{goimap.UIDSetNum(3, 9)}}, "3"},
	}
	for _, tt := range tests {
		got, err := c.UIDSearch(&tt.criteria, nil).Wait()
		if err != nil || got.All.String() != tt.want {
			t.Errorf("search %s: got %v, %v, want %s", tt.name, got.All, err, tt.want)
		}
	}
	copied, err := c.Copy(goimap.UIDSetNum(1, 3), "Archive").Wait()
	if err != nil || copied.SourceUIDs.String() != "1,3" || copied.DestUIDs.String() != "1:2" {
		t.Errorf("got %+v, %v", copied, err)
	}
	if _, err := c.Move(goimap.UIDSetNum(3), "Archive").Wait(); err != nil {
		t.Fatal(err)
	}
	if gone, err := c.Expunge().Collect(); err != nil || len(gone) != 1 || gone[0] != 2 {
		t.Errorf("got %v, %v", gone, err)
	}
	status, err := c.Status("Archive", &goimap.StatusOptions{NumMessages: true, UIDNext: true, NumUnseen: true}).Wait()
	if err != nil || *status.NumMessages != 3 || status.UIDNext != 4 || *status.NumUnseen != 3 {
		t.Errorf("got %+v, %v", status, err)
	}
	m, _ := s.Mailbox(anna)
	var got []string
	for _, msg := range m.Messages() {
		got = append(got, msg.Folder+msg.MessageID)
	}
	want := []string{"inbox<one@contoso.test>", "inbox<one@contoso.test>", "archive<one@contoso.test>", "archive<three@contoso.test>", "archive<three@contoso.test>"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestManageFolders(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, anna)
	if err := errors.Join(c.Create("A/B", nil).Wait(), c.Rename("A/B", "Archive/C", nil).Wait()); err != nil {
		t.Fatal(err)
	}
	put(t, c, "archive/c", letter)
	m, _ := s.Mailbox(anna)
	if got := m.Messages()[0].FolderPath; !slices.Equal(got, []string{"Archive", "C"}) {
		t.Errorf("got %q", got)
	}
	if err := errors.Join(c.Delete("A").Wait(), c.Delete("Archive/C").Wait()); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"well-known": c.Delete("Archive").Wait(), "gone": c.Delete("A").Wait(), "reserved": c.Create("files", nil).Wait(),
		"rename well-known": c.Rename("Drafts", "X", nil).Wait(),
	} {
		if text := refused(t, err, goimap.StatusResponseTypeNo); text == "" {
			t.Errorf("%s: no text", name)
		}
	}
	if n := m.Stats().Messages; n != 0 {
		t.Errorf("got %d messages", n)
	}
}
