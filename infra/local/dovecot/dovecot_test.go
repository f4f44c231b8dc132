package dovecot

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t *testing.T, s *Server, login, password string) *imapclient.Client {
	t.Helper()
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.CA()) {
		t.Fatal("the CA is no PEM certificate")
	}
	host, port := s.TLSAddr()
	c, err := imapclient.DialTLS(net.JoinHostPort(host, strconv.Itoa(port)), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Login(login, password).Wait(); err != nil {
		t.Fatal(err)
	}
	return c
}

var everything = &imap.FetchOptions{
	UID: true, Flags: true, InternalDate: true, RFC822Size: true,
	BodySection: []*imap.FetchItemBodySection{{Peek: true}},
}

func TestFilledMailIsServed(t *testing.T) {
	s := start(t, Options{})
	if err := s.AddUser("anna@example.test", "secret pass"); err != nil {
		t.Fatal(err)
	}
	received := time.Date(2019, 3, 4, 5, 6, 7, 0, time.UTC)
	first, second := []byte("Subject: one\r\n\r\none\r\n"), []byte("Subject: two\n\ntwo\n")
	if err := s.Deliver(t.Context(), "anna@example.test", "Büro/R&D", first, received, `\Seen`, `\Flagged`); err != nil {
		t.Fatal(err)
	}
	c := connect(t, s, "anna@example.test", "secret pass")
	if _, err := c.Select("Büro/R&D", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(t.Context(), "anna@example.test", "Büro/R&D", second, received.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := c.Noop().Wait(); err != nil {
		t.Fatal(err)
	}
	got, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: 2}}, everything).Collect()
	if err != nil || len(got) != 2 {
		t.Fatalf("fetched %d messages: %v", len(got), err)
	}
	body := got[0].FindBodySection(everything.BodySection[0])
	if !bytes.Equal(body, first) || !got[0].InternalDate.Equal(received) || got[0].RFC822Size != int64(len(first)) {
		t.Errorf("the first is %q of %s, %d octets", body, got[0].InternalDate, got[0].RFC822Size)
	}
	if !slices.Contains(got[0].Flags, imap.FlagSeen) || !slices.Contains(got[0].Flags, imap.FlagFlagged) || slices.Contains(got[0].Flags, imap.FlagDraft) {
		t.Errorf("its flags are %v", got[0].Flags)
	}
	if want := "Subject: two\r\n\r\ntwo\r\n"; string(got[1].FindBodySection(everything.BodySection[0])) != want || got[1].RFC822Size != int64(len(want)) {
		t.Errorf("the second, delivered while the folder was open, has %d octets", got[1].RFC822Size)
	}
}

func TestBulkFillIsQuickAndKeepsItsOrder(t *testing.T) {
	s := start(t, Options{})
	if err := s.AddUser("bulk", "p"); err != nil {
		t.Fatal(err)
	}
	const n = 20000
	items := make([]Item, n)
	for i := range items {
		items[i] = Item{Message: fmt.Appendf(nil, "Subject: %d\r\n\r\n%d\r\n", i, i), Received: time.Unix(int64(1e9-i), 0)}
	}
	began := time.Now()
	if err := s.Fill(t.Context(), "bulk", items); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Minute { // seconds, where nothing else runs
		t.Errorf("filling took %s", took)
	}
	c := connect(t, s, "bulk", "p")
	if data, err := c.Select("INBOX", nil).Wait(); err != nil || data.NumMessages != n {
		t.Fatalf("INBOX: %+v, %v", data, err)
	}
	got, err := c.Fetch(imap.UIDSet{{Start: 1, Stop: n}}, everything).Collect()
	if err != nil || len(got) != n {
		t.Fatalf("fetched %d messages: %v", len(got), err)
	}
	for i, m := range got {
		if int(m.UID) != i+1 || !m.InternalDate.Equal(items[i].Received) || !bytes.Equal(m.FindBodySection(everything.BodySection[0]), items[i].Message) {
			t.Fatalf("message %d has UID %d and date %s", i, m.UID, m.InternalDate)
		}
	}
}

func TestConnectionsAreCounted(t *testing.T) {
	s := start(t, Options{})
	if err := s.AddUser("u", "p"); err != nil {
		t.Fatal(err)
	}
	a, b := connect(t, s, "u", "p"), connect(t, s, "u", "p")
	if now, peak, total := s.Connections(); now != 2 || peak != 2 || total != 2 {
		t.Fatalf("%d now, %d peak, %d total", now, peak, total)
	}
	s.CutConnections()
	<-a.Closed()
	<-b.Closed()
	for now := -1; now != 0; now, _, _ = s.Connections() {
		if t.Context().Err() != nil {
			t.Fatal("the connections stay counted")
		}
	}
	s.ResetPeak()
	connect(t, s, "u", "p")
	if _, peak, total := s.Connections(); peak != 1 || total != 3 {
		t.Fatalf("%d peak, %d total", peak, total)
	}
}

func TestAFolderIsPickedUpAgainAndATemporaryOneRemoved(t *testing.T) {
	// Not t.TempDir, which lies in a folder that only its owner may enter.
	dir, err := os.MkdirTemp("", "dovecot-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	first, err := Start(t.Context(), Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.AddUser("u", "old"); err != nil {
		t.Fatal(err)
	}
	if err := first.Deliver(t.Context(), "u", "", []byte("Subject: x\r\n\r\n"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	again := start(t, Options{Dir: dir})
	if !bytes.Equal(first.CA(), again.CA()) {
		t.Error("the certificate authority changed")
	}
	if err := again.AddUser("u", "new"); err != nil {
		t.Fatal(err)
	}
	if data, err := connect(t, again, "u", "new").Select("INBOX", nil).Wait(); err != nil || data.NumMessages != 1 {
		t.Errorf("INBOX: %+v, %v", data, err)
	}
	temp, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := temp.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(temp.dir); !os.IsNotExist(err) {
		t.Errorf("the temporary folder stays: %v", err)
	}
}

func TestAPrivateFolderIsRefusedForRoot(t *testing.T) {
	private := t.TempDir()
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := Start(t.Context(), Options{Dir: filepath.Join(private, "mail")})
	if os.Geteuid() == 0 && err == nil {
		t.Error("a folder that mail's owner cannot reach was taken")
	}
	if err == nil {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Start(ctx, Options{}); err == nil {
		t.Fatal("a server started with an ended context", s.Stop())
	}
}

func TestLoginsThatTheUsersFileCannotHoldAreRefused(t *testing.T) {
	s := start(t, Options{})
	for _, bad := range [][2]string{{"", "p"}, {"a:b", "p"}, {"../x", "p"}, {"a", "p:q"}, {"a", "p\nq"}} {
		if err := s.AddUser(bad[0], bad[1]); err == nil {
			t.Errorf("%q with %q was taken", bad[0], bad[1])
		}
	}
}
