package functionhost

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestHandlerIsStartedWithItsEnvironmentArgumentsAndDirectory(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	t.Setenv("TMPDIR", "/tmp")
	t.Setenv("SECRET_OF_THE_HOST", "x")
	h := a.start(Options{})
	e := next(t, a.starts)
	if want := []string{"--as=handler", "%UNKNOWN%"}; !slices.Equal(e.Arguments, want) {
		t.Errorf("arguments %q, want %q", e.Arguments, want)
	}
	if e.Directory != a.root {
		t.Errorf("working directory %q, want the script root %q", e.Directory, a.root)
	}
	env := map[string]string{}
	for _, entry := range e.Env {
		name, value, _ := strings.Cut(entry, "=")
		env[name] = value
	}
	for name, want := range map[string]string{
		"ROLE": "handler", "TMPDIR": "/tmp", "FUNCTIONS_APP_ROOT_PATH": a.root,
		"FUNCTIONS_HTTPWORKER_PORT": env["FUNCTIONS_CUSTOMHANDLER_PORT"], "FUNCTIONS_HTTPWORKER_ID": env["FUNCTIONS_CUSTOMHANDLER_WORKER_ID"],
		"WEBSITE_HOSTNAME": strings.TrimPrefix(h.URL(), "http://"),
	} {
		if env[name] != want || want == "" {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	if _, ok := env["SECRET_OF_THE_HOST"]; ok {
		t.Error("a variable of the host reached the handler")
	}
	if h.Pid(0) != e.Pid {
		t.Errorf("Pid(0) = %d, want %d", h.Pid(0), e.Pid)
	}
}

func TestStopLeavesNoProcess(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{Instances: 2})
	pids := []int{h.Pid(0), h.Pid(1)}
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	for i, pid := range pids {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("process %d is still there: %v", pid, err)
		}
		if h.Pid(i) != 0 {
			t.Errorf("Pid(%d) = %d after Stop", i, h.Pid(i))
		}
	}
	if err := h.Kill(0); err == nil {
		t.Error("Kill after Stop must fail")
	}
	if _, err := http.Get(h.URL()); err == nil {
		t.Error("the front door still answers")
	}
}

func TestStopFailsWhatIsInFlight(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	failed := make(chan error, 1)
	go func() { failed <- invoke(h, 0) }()
	next(t, a.requests)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; err == nil {
		t.Error("an invocation whose process was killed must fail")
	}
}

func TestTerminateLetsTheHandlerFinish(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{Terminate: time.Minute})
	release := make(chan struct{})
	a.handle(func(event) order { <-release; return success })
	a.on(&a.onSigterm, func(event) order { close(release); return order{} })
	finished := make(chan error, 1)
	go func() { finished <- invoke(h, 0) }()
	next(t, a.requests)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-finished; err != nil {
		t.Errorf("the invocation was finished after SIGTERM, got %v", err)
	}
}

func TestTerminateEndsInSIGKILL(t *testing.T) {
	for name, test := range map[string]struct{ ended bool }{ // Stop's context
		"after the grace":             {ended: false},
		"when Stop's context is over": {ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			a.write("tick/function.json", inert)
			clock := newHandClock()
			h := a.start(Options{Terminate: time.Hour, clock: clock})
			release := make(chan struct{})
			defer close(release)
			a.handle(func(event) order { <-release; return success })
			failed := make(chan error, 1)
			go func() { failed <- invoke(h, 0) }()
			next(t, a.requests)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			stopped := make(chan error, 1)
			go func() { stopped <- h.Stop(ctx) }()
			next(t, a.sigterms)
			clock.await(t, time.Hour)
			clock.pass(time.Hour - 1)
			select {
			case err := <-stopped:
				t.Fatalf("stopped within the grace: %v", err)
			default:
			}
			if test.ended {
				cancel()
			} else {
				clock.pass(1)
			}
			if err := <-stopped; err != nil {
				t.Fatal(err)
			}
			if err := <-failed; err == nil {
				t.Error("the handler didn't finish, yet its invocation succeeded")
			}
		})
	}
}

// Section 1.9: without a Flex mode there is no SIGTERM.
func TestStopIsSIGKILL(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	none(t, a.sigterms)
}

func TestKillIsNotCountedAndStartsANewProcess(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	for i := 1; i <= errorThreshold+1; i++ {
		before := h.Pid(0)
		if err := h.Kill(0); err != nil {
			t.Fatal(err)
		}
		if err := invoke(h, 0); err != nil { // waits for the new process
			t.Fatal(err)
		}
		if h.Pid(0) == before || h.Restarts() != i {
			t.Fatalf("after kill %d: pid %d as before, %d restarts", i, before, h.Restarts())
		}
	}
	if err := h.Kill(1); err == nil {
		t.Error("Kill of an instance that isn't there must fail")
	}
}

func TestExitZeroIsNeverStartedAgain(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	a.handle(func(event) order { return exit(0) })
	if err := invoke(h, 0); err == nil {
		t.Fatal("the process ended in mid-invocation")
	}
	<-h.Done()
	if err := invoke(h, 0); !errors.Is(err, errExitedForGood) {
		t.Errorf("got %v, want %v", err, errExitedForGood)
	}
	if h.pick() != h.instances[0] {
		t.Error("the host knows nothing of it and goes on firing triggers")
	}
	if h.Restarts() != 0 || h.Pid(0) != 0 {
		t.Errorf("%d restarts, pid %d, want none", h.Restarts(), h.Pid(0))
	}
}

func TestExit200IsStartedAgainAndNotCounted(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	for range errorThreshold + 1 {
		a.handle(func(event) order { return exit(200) })
		if err := invoke(h, 0); err == nil {
			t.Fatal("the process ended in mid-invocation")
		}
		a.handle(nil)
		within(t, "a new process", func() bool { return invoke(h, 0) == nil })
	}
	if h.Restarts() != errorThreshold+1 {
		t.Errorf("%d restarts, want %d", h.Restarts(), errorThreshold+1)
	}
}

func TestThreeErrorsEndTheInstanceOnly(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{Instances: 2})
	for i := 1; i <= errorThreshold; i++ {
		a.handle(func(event) order { return exit(7) })
		if err := invoke(h, 0); err == nil {
			t.Fatal("the process ended in mid-invocation")
		}
		a.handle(nil)
		if i < errorThreshold {
			within(t, "a new process", func() bool { return invoke(h, 0) == nil })
		}
	}
	<-h.instances[0].ended
	if err := invoke(h, 0); !errors.Is(err, errTooManyErrors) {
		t.Errorf("got %v, want %v", err, errTooManyErrors)
	}
	if h.Restarts() != errorThreshold-1 {
		t.Errorf("%d restarts, want %d", h.Restarts(), errorThreshold-1)
	}
	if err := invoke(h, 1); err != nil {
		t.Errorf("the other instance must go on: %v", err)
	}
	select {
	case <-h.Done():
		t.Error("the host isn't done while an instance runs")
	default:
	}
	for range 4 {
		if h.pick() != h.instances[1] {
			t.Error("an instance that ended still gets triggers")
		}
	}
}

func TestErrorsMoreThanHalfAnHourApartDoNotAddUp(t *testing.T) {
	var b errorBucket
	at := time.Now()
	for i, test := range []struct {
		later time.Duration
		want  int
	}{{0, 1}, {30 * time.Minute, 2}, {30*time.Minute + 1, 1}, {time.Minute, 2}, {30 * time.Minute, 3}} {
		at = at.Add(test.later)
		if got := b.add(at); got != test.want {
			t.Errorf("error %d counts as number %d, want %d", i, got, test.want)
		}
	}
}

// Section 1.8: a handler has InitializationTimeout to listen, 30 s by default;
// three that don't end the host.
func TestHandlerThatNeverListensFailsTheStart(t *testing.T) {
	for set, want := range map[string]time.Duration{"": 30 * time.Second, "00:02:00": 2 * time.Minute} {
		a := newApp(t)
		a.write("tick/function.json", inert)
		handler := map[string]any{"description": map[string]any{"defaultExecutablePath": a.handlerPath()}}
		if set != "" {
			handler["initializationTimeout"] = set
		}
		a.host("customHandler", handler)
		a.on(&a.onStart, func(event) order { return order{Deaf: true} })
		clock := newHandClock()
		failed := make(chan error, 1)
		go func() {
			_, err := Start(context.Background(), a.options(Options{clock: clock}))
			failed <- err
		}()
		for range errorThreshold {
			next(t, a.starts)
			clock.await(t, want)
			clock.pass(want)
		}
		if err := <-failed; !errors.Is(err, errTooManyErrors) {
			t.Errorf("got %v, want %v", err, errTooManyErrors)
		}
	}
}

// Section 1.8: any answer to GET / means ready, also one that is no HTTP; only a
// refused connection means wait.
func TestReadiness(t *testing.T) {
	h := &Host{client: newClient()}
	defer h.client.CloseIdleConnections()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &process{port: listener.Addr().(*net.TCPAddr).Port}
	answers := func(answer string) bool {
		asked := make(chan string, 1)
		go func() {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(c).ReadString('\n')
			asked <- line
			_, _ = io.WriteString(c, answer)
			c.Close()
		}()
		ready := p.answers(t.Context(), h.client)
		if line := <-asked; line != "GET / HTTP/1.1\r\n" {
			t.Errorf("asked for %q", line)
		}
		return ready
	}
	for _, answer := range []string{"HTTP/1.1 404 Not Found\r\n\r\n", "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "220 smtp\r\n", ""} {
		if !answers(answer) {
			t.Errorf("%q doesn't count as ready", answer)
		}
	}
	listener.Close()
	if p.answers(t.Context(), h.client) {
		t.Error("a refused connection counts as ready")
	}
}

// Section 1.9: errors more than 30 minutes apart never end the host.
func TestErrorsFarApartNeverEndTheInstance(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	clock := newHandClock()
	h := a.start(Options{clock: clock})
	for i := 1; i <= errorThreshold+1; i++ {
		a.handle(func(event) order { return exit(7) })
		if err := invoke(h, 0); err == nil {
			t.Fatal("the process ended in mid-invocation")
		}
		a.handle(nil)
		within(t, "a new process", func() bool { return invoke(h, 0) == nil })
		if h.Restarts() != i {
			t.Errorf("%d restarts, want %d", h.Restarts(), i)
		}
		clock.pass(30*time.Minute + time.Second)
	}
}

// Section 1.2: what isn't resolved on one machine reaches the handler as text.
func TestUnresolvedKeyVaultReferenceIsText(t *testing.T) {
	const reference = "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)"
	a := newApp(t)
	a.settings["SECRET"] = reference
	a.settings["PERCENT"] = "%ROLE%"
	a.write("tick/function.json", inert)
	a.start(Options{})
	env := next(t, a.starts).Env
	for _, want := range []string{"SECRET=" + reference, "PERCENT=%ROLE%"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
}

func TestHandlerThatEndsBeforeItListensFailsTheStart(t *testing.T) {
	for status, want := range map[int]error{0: errExitedForGood, 3: errTooManyErrors} {
		a := newApp(t)
		a.write("tick/function.json", inert)
		a.on(&a.onStart, func(event) order { return exit(status) })
		if _, err := Start(context.Background(), a.options(Options{})); !errors.Is(err, want) {
			t.Errorf("status %d: got %v, want %v", status, err, want)
		}
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	ctx, cancel := context.WithCancel(context.Background())
	a.on(&a.onStart, func(event) order { cancel(); return order{Deaf: true} })
	if _, err := Start(ctx, a.options(Options{})); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
	pid := next(t, a.starts).Pid
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("process %d is still there: %v", pid, err)
	}
}

func TestOutputHasInstanceAndLevel(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	var out lockedBuffer
	h := a.start(Options{Output: &out, Instances: 2})
	a.handle(func(event) order {
		o := success
		o.Stdout = "hello\nLanguageWorkerConsoleLogsystem\n"
		o.Stderr = "bad\nthis is a Warning\nno end"
		return o
	})
	if err := invoke(h, 1); err != nil {
		t.Fatal(err)
	}
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"[1] info: hello\n", "[1] system: system\n", "[1] error: bad\n", "[1] warning: this is a Warning\n", "[1] error: no end\n"} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no line %q in %q", line, out.String())
		}
	}
}

func TestLinesWithoutEndAreCutAndNeverBlock(t *testing.T) {
	var got []string
	l := &lines{emit: func(line string) { got = append(got, line) }}
	if _, err := io.Copy(l, strings.NewReader(strings.Repeat("x", 200<<10)+"\r\nend")); err != nil {
		t.Fatal(err)
	}
	l.flush()
	if joined := strings.Join(got, ""); joined != strings.Repeat("x", 200<<10)+"end" {
		t.Errorf("%d octets arrived", len(joined))
	}
	if got[len(got)-1] != "end" {
		t.Errorf("last line %q", got[len(got)-1])
	}
}

// handlerPath is the executable that host.json names.
func (a *app) handlerPath() string {
	a.t.Helper()
	c, err := readConfig(a.root, settings(a.settings))
	if err != nil {
		a.t.Fatal(err)
	}
	return c.executable
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
