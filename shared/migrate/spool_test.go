package migrate

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func fill(t *testing.T, s *Spool, content string) *spooled {
	t.Helper()
	m, err := s.Fill(t.Context(), nil, func(bool) {}, int64(len(content)), iotest.OneByteReader(strings.NewReader(content)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSpool keeps small messages in memory and large ones in a file that has no name any more.
func TestSpool(t *testing.T) {
	dir := t.TempDir()
	s := NewSpool(4000, 100_000, dir)
	for _, size := range []int{0, 1, 1000, 1001, 50_000} {
		content := strings.Repeat("x", size)
		m := fill(t, s, content)
		if (m.file != nil) != (size > 1000) {
			t.Errorf("%d octets: file %v", size, m.file)
		}
		for range 2 {
			r, err := m.Open()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != content {
				t.Errorf("%d octets: got %d, %v", size, len(got), err)
			}
			r.Close()
		}
		m.Close()
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	if s.memory.left != 4000 || s.disk.left != 100_000 {
		t.Errorf("%d and %d of the budgets are left", s.memory.left, s.disk.left)
	}
}

// TestSpoolRoom keeps messages that are neither small nor large in memory while there is room.
func TestSpoolRoom(t *testing.T) {
	s := NewSpool(24<<20, 1<<30, t.TempDir())
	var held []*spooled
	for i, c := range []struct {
		size int
		file bool
	}{{5 << 20, true}, {4 << 20, false}, {4 << 20, false}, {3 << 20, false}, {2 << 20, true}, {1 << 20, false}} {
		m, err := s.Fill(t.Context(), nil, func(bool) {}, int64(c.size), bytes.NewReader(make([]byte, c.size)))
		if err != nil || (m.file != nil) != c.file {
			t.Fatalf("message %d of %d octets: file %v, %v", i, c.size, m.file != nil, err)
		}
		held = append(held, m)
	}
	for _, m := range held {
		m.Close()
	}
	if s.memory.left != 24<<20 || s.disk.left != 1<<30 {
		t.Errorf("%d and %d of the budgets are left", s.memory.left, s.disk.left)
	}
}

func TestSpoolHeader(t *testing.T) {
	s := NewSpool(4000, 1<<20, t.TempDir())
	for _, body := range []string{"x", strings.Repeat("x", 5000)} {
		for _, end := range []string{"\r\n", "\n"} {
			m := fill(t, s, "A: b"+end+"C: d"+end+end+body)
			if got := string(m.Header()); got != "A: b"+end+"C: d" {
				t.Errorf("header %q", got)
			}
			m.Close()
		}
	}
	m := fill(t, s, strings.Repeat("x", maxHeader+5000))
	if n := len(m.Header()); n != maxHeader {
		t.Errorf("%d octets without an end of the header", n)
	}
	m.Close()
}

// TestSpoolCounts refuses what is shorter or longer than announced, and tells a broken source from a
// broken disk.
func TestSpoolCounts(t *testing.T) {
	cut := errors.New("cut")
	for _, size := range []int64{10, 5000} {
		for name, body := range map[string]io.Reader{
			"short":  bytes.NewReader(make([]byte, size-1)),
			"long":   bytes.NewReader(make([]byte, size+1)),
			"empty":  bytes.NewReader(nil),
			"broken": io.MultiReader(bytes.NewReader(make([]byte, size/2)), iotest.ErrReader(cut)),
		} {
			s := NewSpool(4000, 1<<20, t.TempDir())
			m, err := s.Fill(t.Context(), nil, func(bool) {}, size, body)
			if KindOf(err) != Unreachable || m != nil || name == "broken" && !errors.Is(err, cut) {
				t.Errorf("%s of %d: %v", name, size, err)
			}
			if s.memory.left != 4000 || s.disk.left != 1<<20 {
				t.Errorf("%s of %d: the budget is not given back", name, size)
			}
		}
	}
	s := NewSpool(4000, 1<<20, t.TempDir()+"/none")
	if _, err := s.Fill(t.Context(), nil, func(bool) {}, 5000, bytes.NewReader(make([]byte, 5000))); KindOf(err) != Configuration {
		t.Errorf("a broken disk is %s: %v", KindOf(err), err)
	}
}

// TestSpoolIsTooSmall takes nothing of a message that is larger than the budget on disk.
func TestSpoolIsTooSmall(t *testing.T) {
	s := NewSpool(4000, 5000, t.TempDir())
	body := strings.NewReader(strings.Repeat("x", 5001))
	if _, err := s.Fill(t.Context(), nil, func(bool) {}, 5001, body); KindOf(err) != TooLarge || body.Len() != 5001 || s.disk.left != 5000 {
		t.Fatalf("%v, %d octets left of the message and %d of the budget", err, body.Len(), s.disk.left)
	}
	fill(t, s, strings.Repeat("x", 5000)).Close()
}

// A pause that the source asks for in the middle of a message stays one, and blames no message.
func TestSpoolKeepsTheKind(t *testing.T) {
	asked := &Error{Op: "read message", Kind: Throttled, Reason: AllowanceUsed, RetryAfter: time.Hour, Err: errors.New("enough")}
	_, err := NewSpool(1<<10, 1<<20, t.TempDir()).Fill(t.Context(), nil, func(bool) {}, 10, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(asked)))
	var e *Error
	if !errors.As(err, &e) || e.Kind != Throttled || e.RetryAfter != time.Hour {
		t.Errorf("got %v", err)
	}
	var f FolderCursor
	if f.blame(at(err, 7)); len(f.Stumbles) != 0 {
		t.Errorf("it blames %v", f.Stumbles)
	}
}
