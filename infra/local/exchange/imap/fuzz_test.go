package imap

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll reads commands, and the messages of APPENDs, until the input ends.
func readAll(t *testing.T, in io.Reader) []command {
	t.Helper()
	r := &reader{br: bufio.NewReaderSize(in, 64), proceed: func() error { return nil }}
	var out []command
	for {
		c, err := r.read()
		if err != nil && !errors.Is(err, errSyntax) && !errors.Is(err, errTooLong) {
			return out
		}
		if err == nil && (c.tag == "" || c.name == "" || c.name != strings.ToUpper(c.name)) {
			t.Fatalf("got %+v without tag or name", c)
		}
		if c.message != nil {
			if _, err := io.CopyN(io.Discard, r.br, c.message.size); err != nil {
				return out
			}
		}
		out = append(out, c)
	}
}

// FuzzRead checks that commands are read the same however the octets arrive.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"a NOOP\r\n", "a APPEND INBOX (\\Seen) \"04-Mar-2019 10:11:12 +0000\" {3+}\r\nabc\r\nb NOOP\r\n",
		"a UID FETCH 1:*,5 (UID BODY.PEEK[HEADER.FIELDS (To \"Cc\")]<0.10>)\r\n", "a LIST \"\" {1}\r\n*\r\n",
		"a SEARCH OR (SINCE 1-Jan-2020) HEADER Message-ID {4+}\r\n<a>x\r\n", "a X \"open\r\n", "a X ((\r\n", "a {99999+}\r\n",
		"a SELECT \"\\\"\\\\\"\r\n", strings.Repeat("long ", 3000) + "{3+}\r\nabc\r\nb NOOP\r\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		whole := readAll(t, strings.NewReader(s))
		split := readAll(t, iotest.OneByteReader(strings.NewReader(s)))
		if len(whole) != len(split) {
			t.Fatalf("got %d commands at once and %d byte by byte", len(whole), len(split))
		}
		for i := range whole {
			if whole[i].tag != split[i].tag || whole[i].name != split[i].name || len(whole[i].args) != len(split[i].args) {
				t.Fatalf("got %+v and %+v", whole[i], split[i])
			}
		}
	})
}

// FuzzFetchItem checks that whatever is accepted repeats a label.
func FuzzFetchItem(f *testing.F) {
	for _, s := range []string{"BODY[]", "BODY.PEEK[HEADER.FIELDS (A B)]<1.2>", "body[text]", "RFC822.SIZE", "BODY[HEADER.FIELDS ()]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		it, err := parseItem(s)
		if err == nil && it.name == "BODY" && it.label == "" {
			t.Fatalf("%q has no label", s)
		}
	})
}

// FuzzName checks that names survive modified UTF-7.
func FuzzName(f *testing.F) {
	for _, s := range []string{"INBOX", "Gelöschte Elemente", "a&b", "a/b", "日本語", "&", "\U0001F4E7"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.ToValidUTF8(s, "") != s || strings.ContainsRune(s, '\uFFFD') {
			return
		}
		got, err := decodeName(encodeName(s))
		if err != nil || got != s {
			t.Fatalf("%q became %q, %v", s, got, err)
		}
		if _, err := decodeName(s); err != nil && !errors.Is(err, errName) {
			t.Fatal(err)
		}
	})
}

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern, name string
		want          bool
	}{
		{"*", "a/b", true},
		{"%", "a/b", false},
		{"%", "a", true},
		{"a/%", "a/b", true},
		{"a*c", "a/b/c", true},
		{"a%c", "a/b/c", false},
		{"inbox", "inbox", true},
		{"in", "inbox", false},
		{"", "", true},
		{"a%/%", "ab/cd", true},
		{"%b%", "a/b", false},
		{strings.Repeat("*x", 200) + "*y", strings.Repeat("x", 400), false}, // in no time
	}
	for _, tt := range tests {
		if got := match(tt.pattern, tt.name); got != tt.want {
			t.Errorf("match(%q, %q) = %t", tt.pattern, tt.name, got)
		}
	}
}
