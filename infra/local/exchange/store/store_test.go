package store

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestAddUser(t *testing.T) {
	s := open(t, t.TempDir())
	first := User{UserPrincipalName: "a@x.test", ProxyAddresses: []string{"SMTP:a@x.test", "smtp:b@x.test", "x500:/o=x"}, Licensed: true}
	if err := s.AddUser(first); err != nil {
		t.Fatal(err)
	}
	m, _ := s.Mailbox("B@X.test")
	id := m.User().ID
	first.UserPrincipalName, first.ProxyAddresses, first.Language = "A@X.test", []string{"SMTP:c@x.test"}, "de"
	if err := s.AddUser(first); err != nil {
		t.Fatal(err)
	}
	if got, ok := s.Mailbox("c@x.test"); !ok || got != m || got.User().ID != id {
		t.Error("a second AddUser made another mailbox")
	}
	if _, ok := s.Mailbox("b@x.test"); ok {
		t.Error("an address that was taken away is still known")
	}
	if f, _ := m.Folder(SentItemsID); f.Name != "Gesendete Elemente" {
		t.Errorf("got %q", f.Name)
	}
	if err := s.AddUser(User{UserPrincipalName: "d@x.test", Mail: "C@x.test"}); err == nil {
		t.Error("an address was given away twice")
	}
}

// TestReceiveSideBySide shows that bodies written at once do not mix.
func TestReceiveSideBySide(t *testing.T) {
	s := open(t, t.TempDir())
	const n = 50
	bodies := make([]Body, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			text := strings.Repeat(string(rune('A'+i)), 1000*i+1)
			b, err := s.Receive(strings.NewReader(text+"surplus"), int64(len(text)))
			if err != nil {
				t.Error(err)
			}
			bodies[i] = b
		})
	}
	wg.Wait()
	for i, b := range bodies {
		got, err := io.ReadAll(s.Open(b))
		if want := strings.Repeat(string(rune('A'+i)), 1000*i+1); err != nil || string(got) != want {
			t.Errorf("body %d: got %d octets, want %d, %v", i, len(got), len(want), err)
		}
	}
	if _, err := s.Receive(strings.NewReader("half"), 8); err == nil {
		t.Error("half a body was taken for whole")
	}
}

func TestHeaderSize(t *testing.T) {
	s := open(t, t.TempDir())
	long := "Subject: x\r\n" + strings.Repeat(" folded\r\n", 2000)
	for _, tt := range []struct {
		message string
		want    int
	}{
		{"A: b\r\n\r\nbody\r\n\r\n", 8},
		{"A: b\n\nbody", 6},
		{"\r\nbody", 2},
		{"A: b\r\nno end", 12},
		{long + "\r\nbody", len(long) + 2},
	} {
		b, err := s.Receive(strings.NewReader(tt.message), int64(len(tt.message)))
		if err != nil || b.HeaderSize != tt.want {
			t.Errorf("%.20q: got %d, %v, want %d", tt.message, b.HeaderSize, err, tt.want)
		}
	}
}

// TestBrokenJournal shows that damage before the last line is not passed over.
func TestBrokenJournal(t *testing.T) {
	dir := t.TempDir()
	text := "{\"op\":\"nonsense\"}\n"
	if err := os.WriteFile(filepath.Join(dir, "journal"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := Open(Options{Dir: dir}); err == nil {
		s.Close()
		t.Error("a broken journal was opened")
	}
}

// FuzzHeader checks that fields cover what was given and decode to UTF-8.
func FuzzHeader(f *testing.F) {
	f.Add("Subject: =?utf-8?q?a?=\r\n b\r\nFrom: x <a@b>\r\n\r\nbody")
	f.Add("From: =?iso-2022-jp?B?x?=, <@>\nDate: Mon, 4 Mar 2019 11:11:00 +0100\n")
	f.Fuzz(func(t *testing.T, s string) {
		h := ParseHeader([]byte(s))
		total := 0
		for _, field := range h {
			total += len(field.Raw)
			if field.Name == "" {
				continue
			}
			if text := h.Text(field.Name); strings.ToValidUTF8(text, "") != text {
				t.Fatalf("%q is no UTF-8", text)
			}
			h.Addresses(field.Name)
		}
		if total > len(s) {
			t.Fatalf("fields have %d octets of %d", total, len(s))
		}
		h.Date()
	})
}
