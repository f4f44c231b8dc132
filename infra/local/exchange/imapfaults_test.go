package exchange

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	goimap "github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/infra/local/faults"
)

// tryPut appends letter to Inbox and returns what the client was told.
func tryPut(c *imapclient.Client) (*goimap.AppendData, error) {
	cmd := c.Append("INBOX", int64(len(letter)), &goimap.AppendOptions{Time: received})
	_, _ = cmd.Write([]byte(letter)) // Wait tells what went wrong
	_ = cmd.Close()
	return cmd.Wait()
}

// await returns when Inbox of anna holds n messages.
func await(t *testing.T, s *Server, n int) {
	t.Helper()
	m, _ := s.Mailbox(anna)
	for {
		changed := m.Changed()
		if m.Stats().Messages >= n {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("got %d messages, want %d", m.Stats().Messages, n)
		}
	}
}

// TestIMAPFaults shows what a client and the mailbox see of each fault at an
// APPEND (issue 3, "Faults on demand").
func TestIMAPFaults(t *testing.T) {
	const cut = ""
	tests := []struct {
		name   string
		rule   faults.Rule
		answer string // a part of the error; cut is a dead connection, "OK" is success
		stored int    // messages when the client learns of it
		later  int    // messages in the end
	}{
		{"delay", faults.Rule{Do: faults.Delay, After: time.Millisecond}, "OK", 1, 1},
		{"answer late", faults.Rule{Do: faults.AnswerLate, After: time.Millisecond}, "OK", 1, 1},
		{"throttle", faults.Rule{Do: faults.Throttle, After: 5 * time.Minute},
			"BAD Request is throttled. Suggested Backoff Time: 300000 milliseconds", 0, 0},
		{"throttle unset", faults.Rule{Do: faults.Throttle}, "Suggested Backoff Time: 299609 milliseconds", 0, 0},
		{"cut", faults.Rule{Do: faults.Cut}, cut, 0, 0},
		{"cut in the literal", faults.Rule{Do: faults.CutAfter, Bytes: 100}, cut, 0, 0},
		{"cut before the literal", faults.Rule{Do: faults.CutAfter}, cut, 0, 0},
		{"lose answer", faults.Rule{Do: faults.LoseAnswer}, cut, 1, 1},
		{"work late", faults.Rule{Do: faults.WorkLate, After: 2 * time.Second}, cut, 0, 1},
		{"refuse", faults.Rule{Do: faults.Answer}, "NO Server Unavailable. 15", 0, 0},
		{"refuse as bad", faults.Rule{Do: faults.Answer, Status: 400}, "BAD Command Argument Error. 11", 0, 0},
		{"expire", faults.Rule{Do: faults.Expire}, cut, 0, 0},
		{"answer twice", faults.Rule{Do: faults.AnswerTwice}, "OK", 1, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plan := faults.New()
			s := start(t, Options{Faults: plan})
			c := login(t, s, anna)
			tt.rule.At, tt.rule.Match, tt.rule.Times = "imap.APPEND", "anna@contoso.test INBOX", 1
			id := plan.Add(tt.rule)
			_, err := tryPut(c)
			m, _ := s.Mailbox(anna)
			stored := m.Stats().Messages
			var e *goimap.Error
			switch {
			case tt.answer == "OK" && err != nil:
				t.Errorf("got %v", err)
			case tt.answer == cut && (err == nil || errors.As(err, &e)):
				t.Errorf("got %v, want a dead connection", err)
			case tt.answer != "OK" && tt.answer != cut && (err == nil || !strings.Contains(err.Error(), tt.answer)):
				t.Errorf("got %v, want %s", err, tt.answer)
			}
			if stored != tt.stored && tt.rule.Do != faults.LoseAnswer {
				t.Errorf("%d messages at once, want %d", stored, tt.stored)
			}
			await(t, s, tt.later)
			if plan.Taken(id) != 1 {
				t.Errorf("struck %d times", plan.Taken(id))
			}
			if _, err := tryPut(login(t, s, anna)); err != nil {
				t.Errorf("the next one: %v", err)
			}
		})
	}
}

// TestThrottleEndsTheConnection shows the farewell behind the reply
// (email-oauth2-proxy issue 191).
func TestThrottleEndsTheConnection(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	w := dialWire(t, s, anna)
	plan.Add(faults.Rule{At: "imap.*", Match: anna, Do: faults.Throttle, After: 89117 * time.Millisecond})
	w.send("a APPEND INBOX {5+}\r\nhello\r\n")
	w.expect("a BAD Request is throttled. Suggested Backoff Time: 89117 milliseconds")
	w.expect("* BYE Connection closed. 14")
	w.ends()
}

// TestMovedBeforeAnybodyLooks plays a rule or a user that is faster than the
// look-up of who appended.
func TestMovedBeforeAnybodyLooks(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	plan.Add(faults.Rule{At: "imap.APPEND", Do: faults.Move, To: "Archive", Times: 1})
	data, err := tryPut(login(t, s, anna))
	if err != nil || data.UID != 1 {
		t.Fatalf("got %+v, %v", data, err)
	}
	m, _ := s.Mailbox(anna)
	if all := m.Messages(); len(all) != 1 || all[0].Folder != "archive" {
		t.Errorf("got %+v", all)
	}
}

// TestFetchIsCut cuts in the middle of a literal of FETCH, and loses one.
func TestFetchIsCut(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	put(t, login(t, s, anna), "INBOX", letter)
	for _, rule := range []faults.Rule{{Do: faults.CutAfter, Bytes: 100}, {Do: faults.LoseAnswer}} {
		w := dialWire(t, s, anna)
		w.send("a EXAMINE INBOX\r\n")
		for w.line() != "a OK [READ-ONLY] EXAMINE completed." {
		}
		rule.At, rule.Match, rule.Times = "imap.FETCH", "anna@contoso.test INBOX", 1
		plan.Add(rule)
		w.send("b UID FETCH 1 BODY.PEEK[]\r\n")
		var got bytes.Buffer
		_, _ = got.ReadFrom(w.br) // it ends badly, which is the point
		if int64(got.Len()) != rule.Bytes {
			t.Errorf("%s: got %d octets, want %d: %q", rule.Do, got.Len(), rule.Bytes, got.String())
		}
	}
}

// TestOtherCommandsLate shows that also what is no APPEND takes effect after its
// connection died, and that its folder counts.
func TestOtherCommandsLate(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	plan.Add(faults.Rule{At: "imap.CREATE", Match: "Later", Do: faults.WorkLate, After: 50 * time.Millisecond})
	m, _ := s.Mailbox(anna)
	c := login(t, s, anna)
	if err := c.Create("Now", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	changed := m.Changed()
	if err := c.Create("Later", nil).Wait(); err == nil {
		t.Error("got an answer")
	}
	<-changed
	if _, err := m.FolderByPath([]string{"Later"}); err != nil {
		t.Error(err)
	}
}

// TestConnectFaults strikes before the greeting.
func TestConnectFaults(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	for _, tt := range []struct {
		rule  faults.Rule
		begin string
	}{
		{faults.Rule{Do: faults.Delay, After: time.Millisecond}, "* OK The Microsoft Exchange IMAP4 service is ready. ["},
		{faults.Rule{Do: faults.Cut}, ""},
		{faults.Rule{Do: faults.CutAfter, Bytes: 4}, "* OK"},
		{faults.Rule{Do: faults.Throttle}, "* BYE Request is throttled. Suggested Backoff Time: 299609 milliseconds"},
		{faults.Rule{Do: faults.Answer}, "* BYE Connection is closed. 13"},
	} {
		tt.rule.At, tt.rule.Times = "imap.connect", 1
		plan.Add(tt.rule)
		c := dialRaw(t, s)
		got := make([]byte, max(len(tt.begin), 1))
		n, _ := c.br.Read(got)
		if string(got[:n]) != tt.begin {
			t.Errorf("%s: got %q, want %q", tt.rule.Do, got[:n], tt.begin)
		}
	}
}

// TestFaultsOverHTTP adds a rule as a demo does.
func TestFaultsOverHTTP(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	control := httptest.NewServer(plan)
	defer control.Close()
	rule, err := json.Marshal(faults.Rule{At: "imap.APPEND", Do: faults.Answer, Times: 1})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(control.URL+"/faults", "application/json", bytes.NewReader(rule))
	if err != nil || res.StatusCode != http.StatusCreated {
		t.Fatalf("got %v, %v", res, err)
	}
	res.Body.Close()
	if _, err := tryPut(login(t, s, anna)); err == nil {
		t.Error("no fault struck")
	}
}

// TestClosedWhileLate shows that Close does not wait for work that is to come
// late, and that this work is not done.
func TestClosedWhileLate(t *testing.T) {
	plan := faults.New()
	dir := t.TempDir()
	s := start(t, Options{Dir: dir, Faults: plan})
	id := plan.Add(faults.Rule{At: "imap.APPEND", Do: faults.WorkLate, After: time.Hour})
	if _, err := tryPut(login(t, s, anna)); err == nil {
		t.Error("got an answer")
	}
	if err := plan.Wait(t.Context(), id, 1); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	m, _ := start(t, Options{Dir: dir}).Mailbox(anna)
	if got := m.Messages(); len(got) != 0 {
		t.Errorf("got %+v", got)
	}
}
