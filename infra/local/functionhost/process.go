package functionhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/google/uuid"

	"mailferry/infra/local/ports"
)

// process is one run of the handler.
type process struct {
	command *exec.Cmd
	port    int
	done    chan struct{} // closed when the process has ended
	planned atomic.Bool   // the host ended it: its exit status is no error
}

// startProcess starts the handler on a free port. The real host keeps one port
// for all runs; a fresh one avoids a port that was taken in the meantime.
func startProcess(root string, c *config, s settings, stdout, stderr *lines) (*process, error) {
	free, err := ports.Free(1)
	if err != nil {
		return nil, err
	}
	p := &process{command: exec.Command(c.executable, c.arguments...), port: free[0], done: make(chan struct{})}
	p.command.Dir = c.directory
	p.command.Env = environment(root, free[0], s)
	p.command.Stdout, p.command.Stderr = stdout, stderr
	p.command.WaitDelay = time.Second // for a child of the handler that holds the pipes open
	p.command.SysProcAttr = sysProcAttr()
	if err := p.command.Start(); err != nil {
		return nil, fmt.Errorf("start the handler: %w", err)
	}
	go func() {
		defer close(p.done)
		_ = p.command.Wait() // the exit status is read from ProcessState
		stdout.flush()
		stderr.flush()
	}()
	return p, nil
}

// environment is what the handler sees: the app settings, the variables of the
// host (HttpWorkerConstants.cs), and of ours what a program needs to run.
func environment(root string, port int, s settings) []string {
	id := uuid.NewString()
	variables := map[string]string{}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(name); ok {
			variables[name] = value
		}
	}
	maps.Copy(variables, s)
	for _, name := range []string{"FUNCTIONS_HTTPWORKER_PORT", "FUNCTIONS_CUSTOMHANDLER_PORT"} {
		variables[name] = strconv.Itoa(port)
	}
	for _, name := range []string{"FUNCTIONS_HTTPWORKER_ID", "FUNCTIONS_CUSTOMHANDLER_WORKER_ID"} {
		variables[name] = id
	}
	variables["FUNCTIONS_APP_ROOT_PATH"] = root
	list := make([]string, 0, len(variables))
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		list = append(list, name+"="+variables[name])
	}
	return list
}

func (p *process) url(path string) string {
	return "http://127.0.0.1:" + strconv.Itoa(p.port) + "/" + path
}

var (
	errProcessEnded = errors.New("the handler process ended")
	errNotReady     = errors.New("the handler did not answer within the initialization timeout")
)

// waitReady asks for / every 25 ms. Any answer means ready, only a refused
// connection means wait (DefaultHttpWorkerService.IsWorkerReady).
func (p *process) waitReady(ctx context.Context, client *http.Client, c clock, within time.Duration) error {
	ctx, cancel := withTimeout(ctx, c, within, errNotReady)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		if p.answers(ctx, client) {
			return nil
		}
		select {
		case <-p.done:
			return errProcessEnded
		case <-ctx.Done():
			return fmt.Errorf("wait for the handler to listen on its port: %w", context.Cause(ctx))
		case <-tick.C:
		}
	}
}

func (p *process) answers(ctx context.Context, client *http.Client) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(""), nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		var dial *net.OpError
		return ctx.Err() == nil && !(errors.As(err, &dial) && dial.Op == "dial")
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	return true
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// endNotice is how long a broken connection waits for the process to have ended.
const endNotice = 250 * time.Millisecond

// awaitEnd is for a connection that broke: most likely the process has ended,
// which the system tells a moment later. Until then whatever fails would come
// again at once, and fail again.
func (p *process) awaitEnd() {
	timer := time.NewTimer(endNotice)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
	}
}

// signal reaches the whole process group. That the group is gone is no error.
func (p *process) signal(s syscall.Signal) error {
	if p.ended() {
		return nil
	}
	if err := syscall.Kill(-p.command.Process.Pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("signal the handler: %w", err)
	}
	return nil
}

// kill ends the process by SIGKILL and waits for its end.
func (p *process) kill() {
	p.planned.Store(true)
	_ = p.signal(syscall.SIGKILL)
	<-p.done
}

// stop ends the process as the platform does: at once, or by SIGTERM and then,
// after grace or when hard ends, by SIGKILL.
func (p *process) stop(hard context.Context, c clock, grace time.Duration) {
	p.planned.Store(true)
	if grace > 0 {
		_ = p.signal(syscall.SIGTERM)
		over := make(chan struct{})
		defer c.AfterFunc(grace, func() { close(over) })()
		select {
		case <-p.done:
		case <-over:
		case <-hard.Done():
		}
	}
	p.kill()
}

// exitCode is the exit status after done, -1 after a signal.
func (p *process) exitCode() int { return p.command.ProcessState.ExitCode() }

// lines passes complete lines on. A line without end is passed on in pieces of
// 64 KiB, so that a handler never blocks on its output.
type lines struct {
	emit    func(line string)
	pending []byte
}

// Write implements io.Writer. One goroutine writes, as os/exec guarantees.
func (l *lines) Write(data []byte) (int, error) {
	const longest = 64 << 10
	l.pending = append(l.pending, data...)
	for {
		line, rest, found := bytes.Cut(l.pending, []byte("\n"))
		if !found && len(l.pending) < longest {
			return len(data), nil
		}
		l.emit(strings.TrimSuffix(string(line), "\r"))
		l.pending = rest
	}
}

// flush passes on what has no end of line.
func (l *lines) flush() {
	if len(l.pending) > 0 {
		l.emit(string(l.pending))
		l.pending = nil
	}
}

// output writes the lines of all handlers to one writer.
type output struct {
	mu sync.Mutex
	to io.Writer
}

// stream is the writer for a handler's stdout or stderr. stdout is information,
// stderr is an error, or a warning if the line says so; lines that start with
// LanguageWorkerConsoleLog belong to the system's log and lose that prefix
// (WorkerProcess.cs, WorkerProcessUtilities.cs).
func (o *output) stream(instance int, stderr bool) *lines {
	return &lines{emit: func(line string) {
		level := "info"
		switch {
		case stderr && strings.Contains(strings.ToLower(line), "warn"):
			level = "warning"
		case stderr:
			level = "error"
		}
		if rest, ok := strings.CutPrefix(line, "LanguageWorkerConsoleLog"); ok {
			level, line = "system", rest
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		fmt.Fprintf(o.to, "[%d] %s: %s\n", instance, level, line)
	}}
}
