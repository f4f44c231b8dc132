package imapsource

import (
	"bufio"
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
)

// heap is what is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// A folder of a million messages costs a few octets for each UID, also when no two are neighbours,
// and no more while the list comes.
func TestMillionUIDs(t *testing.T) {
	const n = 1_000_000
	for name, step := range map[string]int{"neighbours": 1, "gaps everywhere": 3} {
		t.Run(name, func(t *testing.T) {
			s := opened(t, func(p *peer, tag, command string) bool {
				if !isFetch(command) {
					return false
				}
				w := bufio.NewWriterSize(p, 64<<10)
				for i := range n {
					fmt.Fprintf(w, "* %d FETCH (UID %d)\r\n", i+1, i*step+1)
				}
				fmt.Fprintf(w, "%s OK done\r\n", tag)
				return w.Flush() == nil
			})
			before := heap()
			most := make(chan uint64)
			done := make(chan struct{})
			go func() {
				var peak uint64
				tick := time.NewTicker(50 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						peak = max(peak, m.HeapInuse)
					case <-done:
						most <- peak
						return
					}
				}
			}()
			start := time.Now()
			uids, err := s.UIDs(t.Context(), 1, ^migrate.UID(0))
			took := time.Since(start)
			close(done)
			peak := <-most
			kept := int64(heap()) - int64(before)
			if err != nil || uids.Len() != n {
				t.Fatalf("%d UIDs: %v", uids.Len(), err)
			}
			t.Logf("%s: %.1f octets for each UID kept, %d MiB in use at most, %s", name, float64(kept)/n, peak>>20, took.Round(time.Millisecond))
			if kept > 20*n || peak > 128<<20 {
				t.Errorf("%d octets are kept, %d were in use", kept, peak)
			}
			runtime.KeepAlive(uids)
		})
	}
}

// What lies in a Maildir and no IMAP client could have put there: an empty file, NULs, no line end.
// Dovecot shows a NUL as 0x80 (IMAP has no NUL in a literal: RFC 9051 section 4.3).
func TestDovecotShowsWhatIsNoMail(t *testing.T) {
	server := realServer(t, "u")
	at := time.Date(2015, 7, 1, 12, 0, 0, 0, time.UTC)
	given := []string{"", "Subject: nul\r\n\r\na\x00b\x00\r\n", "\r\n", "x", "Subject: bare\n\nlines\n"}
	shown := []string{"", "Subject: nul\r\n\r\na\x80b\x80\r\n", "\r\n", "x", "Subject: bare\r\n\r\nlines\r\n"}
	var items []dovecot.Item
	for _, text := range given {
		items = append(items, dovecot.Item{Folder: "INBOX", Message: []byte(text), Received: at})
	}
	if err := server.Fill(t.Context(), "u", items); err != nil {
		t.Fatal(err)
	}
	s := dial(t, endpoint(server, migrate.SecurityTLS))
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	got, refused, err := sorted(t, s, migrate.UIDsOf(1, 2, 3, 4, 5))
	if err != nil || len(refused) != 0 {
		t.Fatalf("refused %v: %v", refused, err)
	}
	for i, want := range shown {
		if text, came := got[migrate.UID(i+1)]; !came || text != want {
			t.Errorf("%q is shown as %q (%v), want %q", given[i], text, came, want)
		}
	}
}

// A server that sends NULs all the same is taken by its word: what it announced is what comes.
func TestNULsPassThrough(t *testing.T) {
	text := "Subject: a\x00b\r\n\r\n\x00\x00" + strings.Repeat("\x00", 70_000)
	shelf := newShelf(2, func(migrate.UID) string { return text })
	got, err := collect(t, shelf.open(t), shelf.all())
	if err != nil || got[10] != text || got[11] != text {
		t.Errorf("%d messages: %v", len(got), err)
	}
}

// A message that has no header gives an empty one, or what the server takes for it.
func TestMessageWithoutHeader(t *testing.T) {
	for _, header := range []string{"{0}\r\n", "\"\"", "NIL", "{2}\r\n\r\n"} {
		shelf := newShelf(2, short)
		shelf.body = func(p *peer, uid migrate.UID, seq int) bool {
			p.send("* %d FETCH (UID %d %s BODY[HEADER] %s)\r\n", seq, uid, meta, header)
			return true
		}
		n := 0
		err := shelf.open(t).Headers(t.Context(), shelf.all(), func(_ migrate.MessageInfo, header []byte) error {
			if n++; len(bytes.TrimSpace(header)) != 0 {
				t.Errorf("the header is %q", header)
			}
			return nil
		})
		want := 2
		if header == "NIL" {
			want = 0 // no header is not an empty one
		}
		if err != nil || n != want {
			t.Errorf("%s: %d headers: %v", header, n, err)
		}
	}
}
