package deposit

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// greeter greets and hangs up.
func greeter(t *testing.T) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	return l.Addr()
}

func serve(t *testing.T, l net.Listener) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(c, "* OK hello\r\n")
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
}

// TestReadyWaitsForEverySocket has a server greet before its socket for passwords is there.
func TestReadyWaitsForEverySocket(t *testing.T) {
	other := &net.UnixAddr{Net: "unix", Name: filepath.Join(t.TempDir(), "socket")}
	ready := make(chan error, 1)
	plain := greeter(t).String()
	go func() { ready <- Ready(t.Context(), nil, plain, other) }()
	select {
	case err := <-ready:
		t.Fatalf("ready without the socket: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	l, err := net.ListenUnix("unix", other)
	if err != nil {
		t.Fatal(err)
	}
	serve(t, l)
	if err := <-ready; err != nil {
		t.Error(err)
	}
}

func TestReadyEnds(t *testing.T) {
	nobody := &net.UnixAddr{Net: "unix", Name: filepath.Join(t.TempDir(), "socket")}
	exited := make(chan struct{})
	close(exited)
	if err := Ready(t.Context(), exited, greeter(t).String(), nobody); err == nil {
		t.Error("a server that ended is ready")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Ready(ctx, nil, greeter(t).String(), nobody); err == nil {
		t.Error("ready although nobody waits any more")
	}
}
