package graph

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"mailferry/infra/local/exchange/store"
)

// mailbox is an empty one.
func mailbox(tb testing.TB) *store.Mailbox {
	tb.Helper()
	s, err := store.Open(store.Options{Dir: tb.TempDir()})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	if err := s.AddUser(store.User{UserPrincipalName: "a@x.test", Licensed: true}); err != nil {
		tb.Fatal(err)
	}
	m, _ := s.Mailbox("a@x.test")
	return m
}

// refused fails the test unless err is something that a client is told.
func refused(t *testing.T, err error) {
	t.Helper()
	if r := told(err); r == nil || r.status < 400 || r.status >= 500 {
		t.Fatalf("got %v, want a refusal", err)
	}
}

// FuzzContentRange checks that a range which is taken lies within the file.
func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-2097151/3483322", "bytes 5-4/9", "bytes */9", "bytes 0-9/10", "bytes -1-9/10", "bytes 0-9223372036854775807/9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		from, to, total, err := parseContentRange(s)
		if err != nil {
			refused(t, err)
			return
		}
		if from < 0 || from > to || to >= total || to-from+1 <= 0 {
			t.Fatalf("%q: got %d-%d/%d", s, from, to, total)
		}
	})
}

// FuzzID checks that what is no id is refused, and that an id leads to what it was made of.
func FuzzID(f *testing.F) {
	m := mailbox(f)
	f.Add(folderID(m, store.InboxID))
	f.Add(id{messagePrefix, 2, 3, "key:with:colons"}.in(m))
	f.Add("AAMkAM" + base64.RawURLEncoding.EncodeToString([]byte("x:1:2:")))
	f.Add("AAMkAM=")
	f.Fuzz(func(t *testing.T, s string) {
		i, err := parseID(m, s)
		if err != nil {
			refused(t, err)
		} else if again, err := parseID(m, i.in(m)); err != nil || again != i {
			t.Fatalf("%q: got %v, then %v, %v", s, i, again, err)
		}
		if _, err := findMessage(m, s); err == nil {
			t.Fatalf("%q: found a message in an empty mailbox", s)
		}
		if _, err := findFolder(m, s); err != nil {
			refused(t, err)
		}
	})
}

// FuzzQuery checks that query options are taken or refused, and that page links lead where they say.
func FuzzQuery(f *testing.F) {
	for _, s := range []string{
		"$top=5&$skip=3&$select=id,subject&$count=true", "$filter=subject eq 'x'&$orderby=subject desc", "$skiptoken=AAAA",
		"$expand=attachments($select=id),singleValueExtendedProperties($filter=id eq 'Integer 0x1' or id eq 'a,b(')", "%zz", "$top=1;2",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		q, err := parseQuery(&url.URL{Path: "/v1.0/users/a/messages", RawQuery: s})
		if err != nil {
			refused(t, err)
			return
		}
		if n, err := q.openToken(q.token(42)); err != nil || n != 42 {
			t.Fatalf("got %d, %v", n, err)
		}
		if from, to := q.page(10, 25); from < 0 || from > to || to > 25 {
			t.Fatalf("got page %d to %d", from, to)
		}
	})
}

// FuzzBody checks that what is read from JSON is refused or makes a message that can be parsed.
func FuzzBody(f *testing.F) {
	for _, s := range []string{
		`{"subject":"x","body":{"contentType":"html","content":"<p>"},"from":{"emailAddress":{"name":"ä","address":"a@x"}}}`,
		`{"attachments":[{"@odata.type":"#microsoft.graph.fileAttachment","name":"a\r\nb","contentBytes":"eA=="}],"@odata.context":"x"}`,
		`{"internetMessageHeaders":[{"name":"x-a","value":"b"}],"isReadReceiptRequested":true,"receivedDateTime":"2020-01-01T00:00:00Z"}`,
		`{"singleValueExtendedProperties":[{"id":"Integer 0x0E07","value":"1"}]}`, `[]`, `{"a":{"a":{}}}`, `{"subject":1e999}`,
	} {
		f.Add(s)
	}
	m := mailbox(f)
	f.Fuzz(func(t *testing.T, s string) {
		var b messageBody
		err := decodeStrictly([]byte(s), &b, "message")
		if err == nil {
			err = b.checkHeaders()
		}
		var files []newAttachment
		for _, file := range b.Attachments {
			a, bad := file.attachment()
			files, err = append(files, a), errors.Join(err, bad)
		}
		if err != nil {
			if r := told(err); r == nil {
				t.Fatalf("got %v, want a refusal", err)
			}
			return
		}
		it := &store.Item{}
		raw := b.mime(it)
		body, err := m.Store().Receive(bytes.NewReader(raw), int64(len(raw)))
		for _, a := range files {
			if err == nil {
				body, err = attach(m.Store(), body, a)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		header, err := m.Store().Header(body)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range store.ParseHeader(header) {
			if !utf8Printable(field.Name) || strings.EqualFold(field.Name, "Bcc") && b.Bcc == nil {
				t.Fatalf("a field %q came into being of %q", field.Name, s)
			}
		}
	})
}

func utf8Printable(s string) bool { return s != "" && !strings.ContainsAny(s, " \r\n\t:") }

// FuzzEncoder checks the length and contents of base64 in lines.
func FuzzEncoder(f *testing.F) {
	f.Add([]byte("x"))
	f.Add(bytes.Repeat([]byte("0123456789"), 6000))
	f.Fuzz(func(t *testing.T, content []byte) {
		got, err := io.ReadAll(&encoder{from: bytes.NewReader(content)})
		if err != nil || int64(len(got)) != encodedLength(int64(len(content))) {
			t.Fatalf("got %d octets of %d, want %d, %v", len(got), len(content), encodedLength(int64(len(content))), err)
		}
		for line := range bytes.Lines(got) {
			if len(line) > 78 || !bytes.HasSuffix(line, []byte("\r\n")) {
				t.Fatalf("got line %q", line)
			}
		}
		back, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(string(got), "\r\n", ""))
		if err != nil || !bytes.Equal(back, content) {
			t.Fatalf("decoded to %d octets of %d, %v", len(back), len(content), err)
		}
	})
}

// FuzzAttach checks that a file put to any message is found in it, octet by octet, beside one that was
// put before.
func FuzzAttach(f *testing.F) {
	for _, s := range []string{
		"Subject: x\r\n\r\nText\r\n", "Subject: x", "", "\r\nText", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n",
		"Content-Type: multipart/mixed\r\n\r\nno boundary", "Content-Type: text/plain\n\nlf only\n", "Content-Transfer-Encoding: base64\r\n\r\n?",
		"Content-Type: multipart/mixed; boundary=_attached_x\r\n\r\n--_attached_x\r\n", "no field\r\n folded\r\n\r\n",
		" :", "0\v:", // no names of fields
	} {
		f.Add(s, []byte("content"))
	}
	m := mailbox(f)
	f.Fuzz(func(t *testing.T, s string, content []byte) {
		db := m.Store()
		body, err := db.Receive(strings.NewReader(s), int64(len(s)))
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"first", "second"} {
			if body, err = attach(db, body, newAttachment{key: key, name: "ä.bin", content: bytes.NewReader(content), size: int64(len(content))}); err != nil {
				t.Fatal(err)
			}
		}
		r, found := &request{mailbox: m}, map[string]int{}
		if err := r.attachments(&store.Item{Body: body}, func(a attachment, in io.Reader) error {
			got, err := io.ReadAll(in)
			if a.key == "first" || a.key == "second" {
				if found[a.key]++; err != nil || !bytes.Equal(got, content) || a.name != "ä.bin" {
					t.Fatalf("%s: got %q of %q, %q, %v", a.key, got, content, a.name, err)
				}
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if found["first"] != 1 || found["second"] != 1 {
			t.Fatalf("%q: found %v", s, found)
		}
	})
}
