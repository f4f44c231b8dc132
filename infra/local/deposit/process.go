package deposit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Ready waits until a server's sockets take connections, and the one at plain greets, for at most 2
// minutes: a busy machine takes long. exited tells that they never will.
func Ready(ctx context.Context, exited <-chan struct{}, plain string, others ...net.Addr) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*time.Minute, errors.New("it is not ready"))
	defer cancel()
	for _, other := range others {
		if err := await(ctx, exited, func() error { return listens(ctx, other) }); err != nil {
			return err
		}
	}
	return await(ctx, exited, func() error { return greets(ctx, plain) })
}

// await tries until there is no error.
func await(ctx context.Context, exited <-chan struct{}, try func() error) error {
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return errors.New("it ended")
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-retry.C:
		}
	}
}

func listens(ctx context.Context, addr net.Addr) error {
	return visit(ctx, addr.Network(), addr.String(), func(net.Conn) error { return nil })
}

func greets(ctx context.Context, addr string) error {
	return visit(ctx, "tcp", addr, func(conn net.Conn) error {
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "* OK") {
			err = fmt.Errorf("it greets with %q", line)
		}
		return err
	})
}

// visit connects and stays until the server has ended the connection, too: to a limit it counts until then.
func visit(ctx context.Context, network, addr string, do func(net.Conn) error) error {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if err := do(conn); err != nil {
		return err
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, conn) // its end, however it comes
	return nil
}

// KillWith kills every process that has path, a file of a temporary folder of ours, as an argument.
func KillWith(path string) { signal(syscall.SIGKILL, "", hasArgument(path)) }

// TermWith asks those of these processes to end that have the name.
func TermWith(path, name string) { signal(syscall.SIGTERM, name, hasArgument(path)) }

// KillIn kills every process whose root is dir, a temporary folder of ours.
func KillIn(dir string) { signal(syscall.SIGKILL, "", hasRoot(dir)) }

// TermIn asks those of these processes to end that have the name.
func TermIn(dir, name string) { signal(syscall.SIGTERM, name, hasRoot(dir)) }

// RunsIn reports whether there is a process whose root is dir and whose environment has the variable, such
// as "NAME=value".
func RunsIn(dir, variable string) (runs bool) {
	inside := hasRoot(dir)
	eachProcess(func(_ int, process string) {
		if runs || !inside(process) {
			return
		}
		environment, err := os.ReadFile(filepath.Join(process, "environ"))
		runs = err == nil && slices.Contains(strings.Split(string(environment), "\x00"), variable)
	})
	return runs
}

func hasArgument(path string) func(process string) bool {
	return func(process string) bool {
		args, err := os.ReadFile(filepath.Join(process, "cmdline"))
		return err == nil && bytes.Contains(append([]byte{0}, args...), []byte("\x00"+path+"\x00"))
	}
}

func hasRoot(dir string) func(process string) bool {
	return func(process string) bool {
		root, err := os.Readlink(filepath.Join(process, "root"))
		return err == nil && root == dir
	}
}

// signal sends a signal to the processes that are meant. An empty name is any.
func signal(sent syscall.Signal, name string, meant func(process string) bool) {
	eachProcess(func(pid int, process string) {
		comm, err := os.ReadFile(filepath.Join(process, "comm"))
		if err == nil && (name == "" || strings.TrimSpace(string(comm)) == name) && meant(process) {
			_ = syscall.Kill(pid, sent)
		}
	})
}

func eachProcess(do func(pid int, dir string)) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && pid != os.Getpid() {
			do(pid, dir)
		}
	}
}
