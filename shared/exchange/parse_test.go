package exchange

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

func TestFolderName(t *testing.T) {
	for _, test := range []struct {
		name, want string
		top        bool
	}{
		{"Work", "Work", true},
		{" a/b\\c ", "a_b_c", false},
		{"tab\tnew\r\nline\x00", "tabnewline", false},
		{"", "_", true},
		{" \t ", "_", true},
		{"files", "files_", true},
		{"files", "files", false},
		{"bad\xffutf", "bad_utf", false},
		{strings.Repeat("x", 300), strings.Repeat("x", 255), true},
		{strings.Repeat("😀", 200), strings.Repeat("😀", 127), true},
	} {
		if got := folderName(test.name, test.top); got != test.want {
			t.Errorf("%q: got %q, want %q", test.name, got, test.want)
		}
	}
}

func FuzzFolderName(f *testing.F) {
	f.Add("Work", true)
	f.Add(" a/\\b\x00\xff", false)
	f.Add(strings.Repeat("😀", 130), true)
	f.Add(strings.Repeat("x", 254)+" y", true)
	f.Add(strings.Repeat(" ", 300)+"files", true)
	f.Fuzz(func(t *testing.T, name string, top bool) {
		got := folderName(name, top)
		if got == "" || !utf8.ValidString(got) || strings.ContainsAny(got, "/\\\x00\r\n") || strings.TrimSpace(got) != got {
			t.Errorf("%q gives %q", name, got)
		}
		if units := len(utf16.Encode([]rune(got))); units > maxFolderName {
			t.Errorf("%q gives %d units", name, units)
		}
		if again := folderName(got, top); again != got {
			t.Errorf("%q gives %q, then %q", name, got, again)
		}
	})
}

func TestBackoff(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"Request is throttled. Suggested Backoff Time: 299609 milliseconds": 299609 * time.Millisecond,
		"suggested backoff time:0 milliseconds":                             0,
		"Suggested Backoff Time: 99999999999999999 milliseconds":            24 * time.Hour,
	} {
		if got, ok := backoff(text); !ok || got != want {
			t.Errorf("%q: got %v, %v", text, got, ok)
		}
	}
	for _, text := range []string{"", "Request is throttled.", "Suggested Backoff Time: -5 milliseconds", "Suggested Backoff Time: 99999999999999999999 milliseconds"} {
		if got, ok := backoff(text); ok {
			t.Errorf("%q: got %v", text, got)
		}
	}
}

func FuzzServerText(f *testing.F) {
	f.Add("Request is throttled. Suggested Backoff Time: 299609 milliseconds")
	f.Add("* OK hi\r\n* BYE Too many connections\r\n")
	f.Add("* bye")
	f.Add("MBX:0b@1")
	f.Add("120")
	f.Add("Fri, 31 Dec 1999 23:59:59 GMT")
	f.Fuzz(func(t *testing.T, text string) {
		const most = maxBackoffSeconds * time.Second
		if d, _ := backoff(text); d < 0 || d > most {
			t.Errorf("backoff of %q: %v", text, d)
		}
		if d, _ := retryAfter(text, time.Unix(0, 0)); d < 0 || d > most {
			t.Errorf("retry after %q: %v", text, d)
		}
		if bye := farewell([]byte(text)); strings.ContainsAny(bye, "\n") {
			t.Errorf("farewell of %q: %q", text, bye)
		}
		if guid, err := parseMailboxID(text); (guid == "") != (err != nil) {
			t.Errorf("mailbox id %q: %q, %v", text, guid, err)
		}
	})
}

func FuzzErrorBody(f *testing.F) {
	f.Add([]byte(`{"error":{"code":"ErrorItemNotFound","message":"m","innerError":{"code":"ErrorQuotaExceeded"}}}`))
	f.Add([]byte(`{"error":{"message":null,"innerError":{"innerError":{"code":"x"}}}}`))
	f.Add([]byte(`<html>`))
	f.Add([]byte(`{"error":"text"}`))
	f.Add([]byte(`{"error":{"message":"` + strings.Repeat("ä", 400) + `"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		code, message := parseErrorBody(body)
		if len(code) > maxErrorText+3 || len(message) > maxErrorText+3 {
			t.Errorf("%d and %d octets kept", len(code), len(message))
		}
		if !utf8.ValidString(code) || !utf8.ValidString(message) {
			t.Errorf("no UTF-8: %q, %q", code, message)
		}
	})
}

func TestFarewell(t *testing.T) {
	if got := farewell([]byte("* OK x\r\n* BYE one\r\nT1 NO x\r\n* bye [UNAVAILABLE] two\r\n")); got != "[UNAVAILABLE] two" {
		t.Errorf("got %q", got)
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"120":                           2 * time.Minute,
		"-1":                            0,
		"Fri, 02 Jan 2026 03:05:05 GMT": time.Minute,
		"Fri, 02 Jan 2026 03:00:00 GMT": 0,
		"99999999999":                   24 * time.Hour,
	} {
		if got, ok := retryAfter(value, now); !ok || got != want {
			t.Errorf("%q: got %v, %v", value, got, ok)
		}
	}
	for _, value := range []string{"", "soon"} {
		if got, ok := retryAfter(value, now); ok {
			t.Errorf("%q: got %v", value, got)
		}
	}
}

func TestTokens(t *testing.T) {
	now := time.Now()
	c := &credential{}
	k := &tokens{credential: c, scope: imapScope, now: func() time.Time { return now }}
	get := func(want string) {
		t.Helper()
		if got, err := k.get(t.Context()); err != nil || got != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	get("token-1")
	get("token-1")
	now = now.Add(time.Hour - tokenMargin + time.Second)
	get("token-2")
	k.drop("token-1") // an old one changes nothing
	k.token.ExpiresOn = now.Add(time.Hour)
	get("token-2")
	k.drop("token-2")
	get("token-3")
	k.token = azcore.AccessToken{Token: "old", ExpiresOn: now.Add(time.Hour), RefreshOn: now.Add(-time.Second)}
	get("token-4")
}

// What goes on slowly goes on; what stops ends, and stays ended.
func TestProgressConn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		const stall = time.Minute
		c := &progressConn{Conn: near, stall: stall}
		go func() {
			pause := time.NewTicker(stall / 4)
			defer pause.Stop()
			for range 8 {
				<-pause.C
				far.Write([]byte("x"))
			}
		}()
		b := make([]byte, 1)
		for i := range 8 {
			if _, err := c.Read(b); err != nil {
				t.Fatalf("octet %d: %v", i, err)
			}
		}
		_, err := c.Read(b)
		if e, ok := err.(net.Error); !ok || !e.Timeout() {
			t.Errorf("silence ends with %v", err)
		}
		if _, again := c.Write(b); again != err {
			t.Errorf("after that: %v", again)
		}
	})
}

// Nothing is due on a connection that rests, until something is written.
func TestProgressConnRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		near, far := net.Pipe()
		defer near.Close()
		defer far.Close()
		const stall = time.Minute
		c := &progressConn{Conn: near, stall: stall}
		failed := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			failed <- err
		}()
		c.Rest()
		select {
		case err := <-failed:
			t.Fatalf("a resting connection ended: %v", err)
		case <-time.After(3 * stall):
		}
		go far.Read(make([]byte, 1))
		c.Write([]byte("x"))
		if err := <-failed; err == nil {
			t.Error("silence after a write did not end the connection")
		}
	})
}
