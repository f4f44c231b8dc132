package imapsource

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
)

// realServer starts a Dovecot with a user.
func realServer(t *testing.T, login string) *dovecot.Server {
	t.Helper()
	s, err := dovecot.Start(t.Context(), dovecot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := s.AddUser(login, "pw"); err != nil {
		t.Fatal(err)
	}
	return s
}

func endpoint(s *dovecot.Server, security migrate.Security) migrate.Endpoint {
	host, port := s.PlainAddr()
	if security == migrate.SecurityTLS {
		host, port = s.TLSAddr()
	}
	return migrate.Endpoint{Host: host, Port: port, Security: security, Auth: "auto", CA: string(s.CA())}
}

// sample is mail of every kind that a server stores: CRLF, 8 bit, long lines, none of a header. With
// CRLF throughout, what comes is what was put in.
func sample() []dovecot.Item {
	received := time.Date(2015, 7, 1, 12, 0, 0, 0, time.UTC)
	body := func(i int, text string) []byte {
		return fmt.Appendf(nil, "Message-ID: <%d@example.test>\r\nSubject: %d\r\n\r\n%s\r\n", i, i, text)
	}
	return []dovecot.Item{
		{Folder: "INBOX", Message: body(1, "plain"), Received: received, Flags: []string{`\Seen`}},
		{Folder: "INBOX", Message: body(2, "8 bit: \xff\xfe\xe4"), Received: received.Add(time.Hour), Flags: []string{`\Answered`, `\Flagged`}},
		{Folder: "INBOX", Message: body(3, strings.Repeat("long", 50000)), Received: received.Add(-10 * 365 * 24 * time.Hour)},
		{Folder: "INBOX", Message: []byte("no header at all\r\n"), Received: received},
		{Folder: "INBOX", Message: body(4, "a)b {5}\r\n* 1 EXPUNGE\r\na1 OK done\r\n)"), Received: received, Flags: []string{`\Draft`, `\Deleted`}},
		{Folder: "Büro/R&D/日本語 😀", Message: body(5, "deep"), Received: received},
		{Folder: "Sent", Message: body(6, "sent"), Received: received},
		{Folder: "Papierkorb", Message: body(7, "gone"), Received: received},
	}
}

// fingerprints describes a mailbox as the source shows it.
func fingerprints(t *testing.T, s migrate.Source) []string {
	t.Helper()
	folders, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range folders {
		if !f.Selectable {
			continue
		}
		state, err := s.Open(t.Context(), f.Name)
		if err != nil {
			t.Fatal(err)
		}
		uids, err := s.UIDs(t.Context(), 1, state.UIDNext)
		if err != nil || uids.Len() != state.Messages || state.UIDValidity == 0 || state.HighestModSeq == 0 {
			t.Fatalf("%s: %+v, UIDs %s, %v", f.Name, state, uids, err)
		}
		err = s.Fetch(t.Context(), uids, func(info migrate.MessageInfo, octets int64, body io.Reader) error {
			h := sha256.New()
			n, err := io.Copy(h, body)
			if n != octets || info.Size != octets {
				t.Errorf("UID %d: %d octets announced, %d read, size %d", info.UID, octets, n, info.Size)
			}
			slices.Sort(info.Flags)
			out = append(out, fmt.Sprintf("%s %s %v %s %x", strings.Join(f.Path, "/"), f.Use, info.Flags, info.Received.UTC().Format(time.RFC3339), h.Sum(nil)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func TestDovecotOverEverySecurity(t *testing.T) {
	server := realServer(t, "u")
	items := sample()
	if err := server.Fill(t.Context(), "u", items); err != nil {
		t.Fatal(err)
	}
	uses := map[string]string{"INBOX": "inbox", "Sent": "sent", "Papierkorb": "trash"}
	want := make([]string, 0, len(items))
	for _, item := range items {
		slices.Sort(item.Flags)
		want = append(want, fmt.Sprintf("%s %s %v %s %x", item.Folder, uses[item.Folder], item.Flags,
			item.Received.Format(time.RFC3339), sha256.Sum256(item.Message)))
	}
	slices.Sort(want)
	before := maildirState(t, server, items)
	for _, security := range []migrate.Security{migrate.SecurityTLS, migrate.SecuritySTARTTLS, migrate.SecurityNone} {
		for _, auth := range []string{"plain", "login"} {
			e := endpoint(server, security)
			e.Auth = auth
			got := fingerprints(t, dial(t, e))
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: got\n%s\nwant\n%s", security, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
	if after := maildirState(t, server, items); after != before {
		t.Errorf("the source changed the mailbox from\n%s\nto\n%s", before, after)
	}
}

// maildirState tells what a write to the mailbox would change: UIDs, and the names of the files,
// which hold the flags.
func maildirState(t *testing.T, server *dovecot.Server, items []dovecot.Item) string {
	t.Helper()
	s := dial(t, endpoint(server, migrate.SecurityTLS))
	var out strings.Builder
	for _, item := range items {
		state, err := s.Open(t.Context(), item.Folder)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "%s: %+v\n", item.Folder, state)
	}
	names, err := filepath.Glob(filepath.Join(server.MailDir("u"), "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob(filepath.Join(server.MailDir("u"), ".*", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(names, more...) {
		if dir := filepath.Base(filepath.Dir(name)); dir == "cur" || dir == "new" {
			fmt.Fprintln(&out, name)
		}
	}
	return out.String()
}

func TestDovecotDescribesAndGivesHeaders(t *testing.T) {
	server := realServer(t, "u")
	if err := server.Fill(t.Context(), "u", sample()); err != nil {
		t.Fatal(err)
	}
	s := dial(t, endpoint(server, migrate.SecurityTLS))
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	var described []migrate.MessageInfo
	all := migrate.UIDsOf(1, 2, 3, 4, 5, 6, 7)
	err := s.Describe(t.Context(), all, func(info migrate.MessageInfo) error {
		described = append(described, info)
		return nil
	})
	if err != nil || len(described) != 5 || migrate.HasFlag(described[0].Flags, `\Recent`) || !migrate.HasFlag(described[0].Flags, migrate.Seen) {
		t.Fatalf("described %+v, %v", described, err)
	}
	var headers []string
	err = s.Headers(t.Context(), migrate.UIDsOf(2, 9), func(info migrate.MessageInfo, header []byte) error {
		slices.Sort(info.Flags)
		headers = append(headers, fmt.Sprintf("%d %v %s", info.UID, info.Flags, header))
		return nil
	})
	if want := "2 [\\Answered \\Flagged] Message-ID: <2@example.test>\r\nSubject: 2\r\n\r\n"; err != nil || len(headers) != 1 || headers[0] != want {
		t.Fatalf("headers %q, %v", headers, err)
	}
	// The connection goes on after what a yield left unread.
	if err := s.Fetch(t.Context(), all, func(migrate.MessageInfo, int64, io.Reader) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if uids, err := s.UIDs(t.Context(), 2, 4); err != nil || uids.String() != "2:4" {
		t.Fatalf("%s, %v", uids, err)
	}
}

func TestDovecotShowsNews(t *testing.T) {
	server := realServer(t, "u")
	s := dial(t, endpoint(server, migrate.SecurityTLS))
	first, err := s.Open(t.Context(), "INBOX")
	if err != nil || first.Messages != 0 {
		t.Fatalf("%+v, %v", first, err)
	}
	if err := server.Deliver(t.Context(), "u", "INBOX", []byte("Subject: new\r\n\r\n"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	second, err := s.Open(t.Context(), "INBOX")
	if err != nil || second.Messages != 1 || second.UIDNext != first.UIDNext+1 || second.UIDValidity != first.UIDValidity {
		t.Fatalf("%+v after %+v, %v", second, first, err)
	}
	_, err = s.Open(t.Context(), "no such folder")
	wantKind(t, err, migrate.NoFolder)
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Fatalf("a missing folder ended the connection: %v", err)
	}
}

// A large message streams: what is allocated does not grow with it.
func TestDovecotStreamsALargeMessage(t *testing.T) {
	server := realServer(t, "u")
	const octets = 150 << 20
	message := make([]byte, 0, octets+100)
	message = append(message, "Subject: large\r\n\r\n"...)
	line := bytes.Repeat([]byte("x"), 74)
	for r := rand.New(rand.NewPCG(1, 2)); len(message) < octets; {
		line[r.IntN(len(line))] = byte('a' + r.IntN(26))
		message = append(append(message, line...), '\r', '\n')
	}
	want := sha256.Sum256(message)
	if err := server.Deliver(t.Context(), "u", "INBOX", message, time.Now()); err != nil {
		t.Fatal(err)
	}
	size := int64(len(message))
	message = nil
	s := dial(t, endpoint(server, migrate.SecurityTLS))
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := s.Fetch(t.Context(), migrate.UIDsOf(1), func(_ migrate.MessageInfo, octets int64, body io.Reader) error {
		h := sha256.New()
		if n, err := io.Copy(h, body); err != nil || n != size || n != octets {
			t.Errorf("read %d octets of %d, %d announced: %v", n, size, octets, err)
		}
		if [32]byte(h.Sum(nil)) != want {
			t.Error("the octets differ")
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d MiB were allocated", used>>20)
	}
}

func TestDovecotRefusals(t *testing.T) {
	server := realServer(t, "u")
	try := func(e migrate.Endpoint, login, pass string) error {
		t.Helper()
		d := Dialer{Password: func(context.Context, migrate.Mailbox) (string, error) { return pass, nil }}
		s, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: login})
		if err == nil {
			s.Close()
		}
		return err
	}
	tls := endpoint(server, migrate.SecurityTLS)
	for _, auth := range []string{"plain", "login"} {
		tls.Auth = auth
		wantKind(t, try(tls, "u", "wrong"), migrate.SignIn)
		wantKind(t, try(tls, "nobody", "pw"), migrate.SignIn)
		if err := try(tls, "u", "pw"); err != nil {
			t.Error(err)
		}
	}
	for _, security := range []migrate.Security{migrate.SecurityTLS, migrate.SecuritySTARTTLS} {
		e := endpoint(server, security)
		e.CA = ""
		err := try(e, "u", "pw")
		wantKind(t, err, migrate.Configuration)
		if text := fmt.Sprint(err); !strings.Contains(text, "CN=localhost") || !strings.Contains(text, "CN=Mailferry local source CA") || !strings.Contains(text, "SHA-256") {
			t.Errorf("the error %v does not describe the certificate", err)
		}
	}
	file := endpoint(server, migrate.SecurityTLS)
	file.CA, file.CAFile = "", filepath.Join(t.TempDir(), "ca.pem")
	wantKind(t, try(file, "u", "pw"), migrate.Configuration)
	if err := os.WriteFile(file.CAFile, server.CA(), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := try(file, "u", "pw"); err != nil {
		t.Error(err)
	}
	crossed := endpoint(server, migrate.SecurityTLS)
	_, crossed.Port = server.PlainAddr()
	wantKind(t, try(crossed, "u", "pw"), migrate.Configuration)

	s := dial(t, endpoint(server, migrate.SecurityTLS))
	server.CutConnections()
	_, err := s.Open(t.Context(), "INBOX")
	wantKind(t, err, migrate.Unreachable)
}
