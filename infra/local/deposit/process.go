package deposit

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Greets waits until a server at addr greets, for at most 30 seconds. exited tells that it never will.
func Greets(ctx context.Context, addr string, exited <-chan struct{}) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("it does not greet"))
	defer cancel()
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	for {
		err := greets(ctx, addr)
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

func greets(ctx context.Context, addr string) error {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "* OK") {
		err = fmt.Errorf("it greets with %q", line)
	}
	return err
}

// KillWith kills every process that has path, a file of a temporary folder of ours, as an argument.
func KillWith(path string) { signal(syscall.SIGKILL, "", hasArgument(path)) }

// TermWith asks those of these processes to end that have the name.
func TermWith(path, name string) { signal(syscall.SIGTERM, name, hasArgument(path)) }

// KillIn kills every process whose root is dir, a temporary folder of ours.
func KillIn(dir string) { signal(syscall.SIGKILL, "", hasRoot(dir)) }

// TermIn asks those of these processes to end that have the name.
func TermIn(dir, name string) { signal(syscall.SIGTERM, name, hasRoot(dir)) }

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
