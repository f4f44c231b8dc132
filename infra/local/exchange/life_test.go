package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"

	"mailferry/infra/local/exchange/life"
	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/faults"
)

// folders lists where the messages of anna are, in the order of Messages.
func folders(s *Server) []string {
	m, _ := s.Mailbox(anna)
	var out []string
	for _, msg := range m.Messages() {
		out = append(out, strings.Join(msg.FolderPath, "/"))
	}
	return out
}

// TestDelivered compares Exchange's own copy of a mail with the one that is
// moved (issue 3, "mail delivered by SMTP that is also synced"): same Message-ID,
// other octets, received now, unread.
func TestDelivered(t *testing.T) {
	c := newClock()
	s := start(t, Options{Now: c.Now})
	put(t, login(t, s, anna), "INBOX", letter)
	if _, err := s.Life().Deliver(anna, []byte(letter)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Life().Deliver(anna, []byte("Subject: no id\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	m, _ := s.Mailbox(anna)
	all := m.Messages()
	if len(all) != 3 {
		t.Fatalf("got %d messages", len(all))
	}
	moved, own := all[0], all[1]
	if own.MessageID != moved.MessageID || own.SHA256 == moved.SHA256 || !own.Received.Equal(c.Now()) || own.IsRead || own.IsDraft {
		t.Errorf("got %+v", own)
	}
	if all[2].MessageID == "" {
		t.Error("Exchange gave no Message-ID")
	}
	it := m.ItemsByMessageID(own.MessageID)[1]
	raw, err := m.Store().Header(it.Body)
	if err != nil || bytes.Count(raw, []byte("Received: ")) != 2 {
		t.Errorf("got header %q, %v", raw, err)
	}
}

// TestInboxRules shows that rules move what is delivered, and nothing else.
func TestInboxRules(t *testing.T) {
	s := start(t, Options{})
	l := s.Life()
	err := l.SetRules(anna, life.Rule{From: "NEWS", MoveTo: "Archive", Read: true}, life.Rule{Subject: "spam", Delete: true},
		life.Rule{Subject: "both", Forward: []string{"else@example.net"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, head := range []string{"From: News <news@example.net>", "Subject: more Spam", "Subject: for both of us", "Subject: none"} {
		if _, err := l.Deliver(anna, []byte(head+"\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
	}
	put(t, login(t, s, anna), "INBOX", "Subject: spam\r\n\r\n")
	if got, want := folders(s), []string{"Inbox", "Inbox", "Inbox", "Deleted Items", "Archive"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if d := s.Departures(); len(d) != 1 || d[0].Kind != store.Mail || !slices.Equal(d[0].To, []string{"else@example.net"}) {
		t.Errorf("got %+v, want what the rule forwarded", d)
	}
}

// TestUsers shows users reading, flagging, moving and deleting while a session
// has the folder open.
func TestUsers(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, anna)
	for i := range 4 {
		put(t, c, "INBOX", strings.Replace(letter, "<one@", fmt.Sprintf("<%d@", i), 1))
	}
	w := dialWire(t, s, anna)
	w.send("a SELECT INBOX\r\n")
	for w.line() != "a OK [READ-WRITE] SELECT completed." {
	}
	l := s.Life()
	pick := func(i int) life.Pick { return life.Pick{MessageID: fmt.Sprintf("<%d@contoso.test>", i)} }
	_, err1 := l.Read(anna, pick(0))
	_, err2 := l.Flag(anna, pick(0))
	_, err3 := l.Move(anna, pick(1), "Archive")
	_, err4 := l.Delete(anna, pick(2))
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		t.Fatal(err)
	}
	w.talk("b FETCH 1 FLAGS", `* 1 FETCH (FLAGS (\Seen \Flagged))`, "b OK FETCH completed.") // no EXPUNGE while FETCH runs
	w.talk("c NOOP", "* 2 EXPUNGE", "* 2 EXPUNGE", "c OK NOOP completed.")
	if got, want := folders(s), []string{"Inbox", "Inbox", "Deleted Items", "Archive"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if n, err := l.Delete(anna, life.Pick{Folder: "deleteditems"}); n != 1 || err != nil {
		t.Errorf("emptied %d, %v", n, err)
	}
	m, _ := s.Mailbox(anna)
	if n := m.Stats().Messages; n != 3 {
		t.Errorf("%d messages are left, want 3", n)
	}
	if f, err := m.Folder(store.RecoverableID); err != nil || f.Total != 1 {
		t.Errorf("got %+v, %v, want one recoverable item", f, err)
	}
}

// TestRetention shows that age counts from the received date, so that retention
// takes old mail as soon as it was moved in.
func TestRetention(t *testing.T) {
	c := newClock()
	s := start(t, Options{Now: c.Now})
	put(t, login(t, s, anna), "INBOX", letter) // of 2019
	if _, err := s.Life().Deliver(anna, []byte(letter)); err != nil {
		t.Fatal(err)
	}
	const year = 365 * 24 * time.Hour
	if n, err := s.Life().Retain(anna, 3*year); n != 1 || err != nil {
		t.Errorf("removed %d, %v, want 1", n, err)
	}
	c.advance(3*year + time.Hour)
	if n, err := s.Life().Retain(anna, 3*year); n != 1 || err != nil {
		t.Errorf("removed %d later, %v, want 1", n, err)
	}
}

// TestReadReceipts shows which ways of moving mail send receipts (graph.md 2;
// imapsync, FAQ.Office365.txt, "read receipts are all resent again after sync").
func TestReadReceipts(t *testing.T) {
	const request = "Disposition-Notification-To: Joe <joe@example.net>\r\n" + letter
	tests := []struct {
		name  string
		flags []goimap.Flag
		then  func(s *Server, m *Mailbox) error
		sent  int
	}{
		{"unread", nil, nil, 0},
		{"appended as read", []goimap.Flag{goimap.FlagSeen}, nil, 1},
		{"appended with $MDNSent", []goimap.Flag{goimap.FlagSeen, "$MDNSent"}, nil, 0},
		{"a draft", []goimap.Flag{goimap.FlagSeen, goimap.FlagDraft}, nil, 0},
		{"read later, and again", nil, func(s *Server, m *Mailbox) error {
			_, err := s.Life().Read(anna, life.Pick{})
			for range 2 {
				_, err2 := m.Update(1, func(it *store.Item) { it.Flags ^= store.Seen })
				err = errors.Join(err, err2)
			}
			return err
		}, 1},
		{"request taken back", nil, func(s *Server, m *Mailbox) error {
			_, err := m.Update(1, func(it *store.Item) { it.Properties = map[string]string{"Boolean 0x29": "false"} })
			_, err2 := s.Life().Read(anna, life.Pick{})
			return errors.Join(err, err2)
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := start(t, Options{})
			put(t, login(t, s, anna), "INBOX", request, tt.flags...)
			m, _ := s.Mailbox(anna)
			if tt.then != nil {
				if err := tt.then(s, m); err != nil {
					t.Fatal(err)
				}
			}
			d := s.Departures()
			if len(d) != tt.sent {
				t.Fatalf("got %+v, want %d receipts", d, tt.sent)
			}
			if tt.sent > 0 && (d[0].Kind != store.ReadReceipt || d[0].Mailbox != anna || !slices.Equal(d[0].To, []string{"joe@example.net"})) {
				t.Errorf("got %+v", d[0])
			}
		})
	}
}

// TestLifeIsDeterministic shows that a seed decides everything.
func TestLifeIsDeterministic(t *testing.T) {
	run := func(seed uint64) (acts []string, all []Message) {
		s := start(t, Options{Now: newClock().Now, LifeSeed: seed})
		for range 200 {
			act, err := s.Life().Step(anna)
			if err != nil {
				t.Fatal(err)
			}
			acts = append(acts, act)
		}
		m, _ := s.Mailbox(anna)
		return acts, m.Messages()
	}
	acts, all := run(1)
	again, same := run(1)
	other, _ := run(2)
	if !slices.Equal(acts, again) || fmt.Sprint(all) != fmt.Sprint(same) {
		t.Error("the same seed gave another life")
	}
	if slices.Equal(acts, other) {
		t.Error("another seed gave the same life")
	}
	for _, act := range []string{"deliver", "read", "flag", "move", "delete"} {
		if !slices.Contains(acts, act) {
			t.Errorf("nobody did %s", act)
		}
	}
}

// TestVerbs does over HTTP what a demo asks for, and restarts in between.
func TestVerbs(t *testing.T) {
	plan := faults.New()
	c := newClock()
	s := start(t, Options{Dir: t.TempDir(), Faults: plan, Now: c.Now})
	control := httptest.NewServer(plan)
	defer control.Close()
	do := func(verb string, args map[string]any) {
		t.Helper()
		body, err := json.Marshal(args)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Post(control.URL+"/do/"+verb, "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode/100 != 2 {
			t.Errorf("%s: got %s", verb, res.Status)
		}
	}
	do("rules", map[string]any{"mailbox": anna, "rules": []life.Rule{{Subject: "rule", MoveTo: "archive"}}})
	do("deliver", map[string]any{"mailbox": anna, "message": "Message-ID: <a@b>\r\nSubject: rule\r\n\r\n"})
	do("deliver", map[string]any{"mailbox": anna, "message": letter})
	do("user-moves", map[string]any{"mailbox": anna, "messageId": "<one@contoso.test>", "to": "Drafts"})
	do("user-reads", map[string]any{"mailbox": anna, "folder": "archive"})
	do("user-flags", map[string]any{"mailbox": anna, "limit": 1})
	before, addr := folders(s), s.IMAPAddr()
	open := dialWire(t, s, anna)
	do("restart", nil)
	if _, err := open.br.ReadByte(); err == nil {
		t.Error("a connection outlived the restart")
	}
	if got := folders(s); !slices.Equal(got, before) || !slices.Equal(got, []string{"Drafts", "Archive"}) {
		t.Errorf("got %q after the restart, %q before", got, before)
	}
	if s.IMAPAddr() != addr {
		t.Errorf("address changed from %s to %s", addr, s.IMAPAddr())
	}
	do("user-deletes", map[string]any{"mailbox": anna, "messageId": "<a@b>"})
	do("fill-quota", map[string]any{"mailbox": anna})
	if _, err := tryPut(login(t, s, anna)); err == nil {
		t.Error("a full mailbox took a message")
	}
	c.advance(48 * time.Hour)
	do("retention", map[string]any{"mailbox": anna, "age": "24h"})
	if got := folders(s); len(got) != 0 {
		t.Errorf("retention left %q", got)
	}
	do("expire-tokens", nil)
	put(t, login(t, s, anna), "INBOX", "X: y\r\n\r\n") // with a new token
}

// TestExpireTokensEndsSessions shows that a token that is taken back ends the
// sessions it opened.
func TestExpireTokensEndsSessions(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	w := dialWire(t, s, anna)
	control := httptest.NewServer(plan)
	defer control.Close()
	res, err := http.Post(control.URL+"/do/expire-tokens", "application/json", nil)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	w.talk("a NOOP", "* BYE Session invalidated - AccessTokenExpired")
	w.ends()
}
