package faults_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailferry/infra/local/faults"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); c.Close() }()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func proxied(t *testing.T, rtt time.Duration) (*faults.Plan, *faults.Proxy, func() net.Conn) {
	t.Helper()
	plan := faults.New()
	p, err := faults.StartProxy(t.Context(), faults.ProxyOptions{Name: "echo", Upstream: echo(t), Plan: plan, RTT: rtt})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return plan, p, func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
}

func TestProxyCarries(t *testing.T) {
	_, p, dial := proxied(t, 20*time.Millisecond)
	c := dial()
	lines := bufio.NewReader(c)
	for i := range 3 {
		began := time.Now()
		if _, err := io.WriteString(c, "hello\nagain\n"); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := lines.ReadString('\n'); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 20*time.Millisecond {
			t.Errorf("turn %d took %s, less than the round trip", i, took)
		}
	}
	if up, down := p.Octets(); p.Turns() != 3 || p.Connections() != 1 || up != 36 || down != 36 {
		t.Errorf("%d turns, %d connections, %d octets up, %d down", p.Turns(), p.Connections(), up, down)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := lines.ReadByte(); err != io.EOF {
		t.Errorf("after the client's end: %v, want EOF", err)
	}
}

// TestProxyKeepsRate sends more than a round trip's worth: lateness does not limit the rate.
func TestProxyKeepsRate(t *testing.T) {
	_, _, dial := proxied(t, 100*time.Millisecond)
	c := dial()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	go func() { _, _ = c.Write(sent); _ = c.(*net.TCPConn).CloseWrite() }()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Fatalf("%d octets of %d came back, %v", len(got), len(sent), err)
	}
}

func TestProxyFaults(t *testing.T) {
	for name, test := range map[string]struct {
		rule faults.Rule
		want string // what comes back of "hello world\n" before the connection breaks
	}{
		"refused":       {faults.Rule{At: "echo.connect", Do: faults.Cut, Times: 1}, ""},
		"cut going up":  {faults.Rule{At: "echo.up", Do: faults.CutAfter, Bytes: 0, Times: 1}, ""},
		"cut coming":    {faults.Rule{At: "echo.down", Do: faults.CutAfter, Bytes: 5, Times: 1}, "hello"},
		"delayed":       {faults.Rule{At: "echo.down", Do: faults.Delay, After: 30 * time.Millisecond, Times: 1}, "hello world\n"},
		"slow to begin": {faults.Rule{At: "echo.connect", Do: faults.Delay, After: 30 * time.Millisecond, Times: 1}, "hello world\n"},
	} {
		t.Run(name, func(t *testing.T) {
			plan, _, dial := proxied(t, 0)
			id := plan.Add(test.rule)
			began := time.Now()
			c := dial()
			_, _ = io.WriteString(c, "hello world\n")
			got := make([]byte, len("hello world\n"))
			n, err := io.ReadFull(c, got)
			// A cut connection may lose octets that are under way, as a real one does: a prefix comes.
			whole := strings.HasSuffix(test.want, "\n")
			if !strings.HasPrefix(test.want, string(got[:n])) || whole && err != nil || !whole && err == nil {
				t.Errorf("%q came, then %v; want %q", got[:n], err, test.want)
			}
			if plan.Taken(id) != 1 || whole && time.Since(began) < 30*time.Millisecond {
				t.Errorf("struck %d times, took %s", plan.Taken(id), time.Since(began))
			}
			if again := dial(); true {
				_, _ = io.WriteString(again, "x")
				if _, err := io.ReadFull(again, got[:1]); err != nil {
					t.Errorf("the next connection: %v", err)
				}
			}
		})
	}
}

// TestProxyBlackHole loses answers without a word.
func TestProxyBlackHole(t *testing.T) {
	plan, p, dial := proxied(t, 0)
	plan.Add(faults.Rule{At: "echo.down", Do: faults.LoseAnswer, Bytes: 2})
	c := dial()
	_, _ = io.WriteString(c, "hello")
	got := make([]byte, 8)
	if _, err := io.ReadFull(c, got[:2]); err != nil || string(got[:2]) != "he" {
		t.Fatalf("%q, %v", got[:2], err)
	}
	_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := c.Read(got); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d octets and %v came out of the black hole", n, err)
	}
	_ = c.SetReadDeadline(time.Time{})
	p.CutAll()
	if _, err := c.Read(got); !errors.Is(err, syscall.ECONNRESET) && err != io.EOF {
		t.Errorf("after CutAll: %v", err)
	}
}
