package functionhost

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
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
	for name, test := range map[string]struct {
		grace time.Duration
		ended bool // Stop's context
	}{
		"after the grace":             {grace: 50 * time.Millisecond},
		"when Stop's context is over": {grace: time.Hour, ended: true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			a.write("tick/function.json", inert)
			h := a.start(Options{Terminate: test.grace})
			release := make(chan struct{})
			defer close(release)
			a.handle(func(event) order { <-release; return success })
			failed := make(chan error, 1)
			go func() { failed <- invoke(h, 0) }()
			next(t, a.requests)
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if test.ended {
				cancel()
			}
			if err := h.Stop(ctx); err != nil {
				t.Fatal(err)
			}
			if err := <-failed; err == nil {
				t.Error("the handler didn't finish, yet its invocation succeeded")
			}
		})
	}
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
		within(t, 10*time.Second, "a new process", func() bool { return invoke(h, 0) == nil })
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
			within(t, 10*time.Second, "a new process", func() bool { return invoke(h, 0) == nil })
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

func TestFunctionTimeoutKillsTheProcessWithEverythingInFlight(t *testing.T) {
	a := newApp(t)
	a.host("functionTimeout", "00:00:01")
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	pid := h.Pid(0)
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- invoke(h, 0) }()
	next(t, a.requests)
	<-time.After(300 * time.Millisecond) // so that only the first one is overdue
	go func() { second <- invoke(h, 0) }()
	next(t, a.requests)
	if err := <-first; !errors.Is(err, errFunctionTimeout) {
		t.Errorf("got %v, want %v", err, errFunctionTimeout)
	}
	if err := <-second; err == nil || errors.Is(err, errFunctionTimeout) {
		t.Errorf("the other invocation must fail with its process, got %v", err)
	}
	a.handle(nil)
	if err := invoke(h, 0); err != nil {
		t.Errorf("a new process must take over: %v", err)
	}
	if h.Pid(0) == pid || h.Restarts() != 1 {
		t.Errorf("pid %d, %d restarts", h.Pid(0), h.Restarts())
	}
}

func TestEmptyAndNullAnswersHangUntilFunctionTimeout(t *testing.T) {
	for _, body := range []string{"", "null"} {
		a := newApp(t)
		a.host("functionTimeout", "00:00:00.3000000")
		a.write("tick/function.json", inert)
		h := a.start(Options{})
		a.handle(func(event) order { return order{Status: 200, ContentType: "application/json", Body: body} })
		if err := invoke(h, 0); !errors.Is(err, errFunctionTimeout) {
			t.Errorf("answer %q: got %v, want %v", body, err, errFunctionTimeout)
		}
	}
}

func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		status            int
		contentType, body string
		hangs, fails      bool
	}{
		"success":                      {200, "application/json", `{"Outputs":{},"Logs":[],"ReturnValue":null}`, false, false},
		"charset":                      {200, "application/json; charset=utf-8", `{}`, false, false},
		"unknown keys":                 {202, "application/json", `{"More":1}`, false, false},
		"status 500":                   {500, "application/json", `{}`, false, true},
		"status 404":                   {404, "application/json", `{}`, false, true},
		"no content type":              {200, "", `{}`, false, true},
		"text":                         {200, "text/plain", `{}`, false, true},
		"no JSON":                      {200, "application/json", `{`, false, true},
		"array":                        {200, "application/json", `[]`, false, true},
		"outputs of a wrong type":      {200, "application/json", `{"Outputs":[]}`, false, true},
		"empty":                        {200, "application/json", ``, true, false},
		"empty without a content type": {200, "", ``, true, false},
		"null":                         {200, "application/json", `null`, true, false},
	} {
		response := &http.Response{StatusCode: test.status, Header: http.Header{}}
		if test.contentType != "" {
			response.Header.Set("Content-Type", test.contentType)
		}
		got, err := readResult(response, []byte(test.body))
		if (err != nil) != test.fails || (got == nil && err == nil) != test.hangs {
			t.Errorf("%s: result %v, error %v", name, got, err)
		}
	}
}

func TestHandlerThatNeverListensFailsTheStart(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	executable := a.handlerPath()
	a.host("customHandler", map[string]any{
		"description":           map[string]any{"defaultExecutablePath": executable},
		"initializationTimeout": "00:00:00.2",
	})
	a.on(&a.onStart, func(event) order { return order{Deaf: true} })
	if _, err := Start(context.Background(), a.options(Options{})); !errors.Is(err, errTooManyErrors) {
		t.Errorf("got %v, want %v", err, errTooManyErrors)
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

func TestInvocationHeaders(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	if err := invoke(h, 0); err != nil {
		t.Fatal(err)
	}
	e := next(t, a.requests)
	if e.Method != "POST" || e.URI != "/tick" {
		t.Errorf("%s %s, want POST /tick", e.Method, e.URI)
	}
	if id := e.Header.Get("X-Azure-Functions-InvocationId"); len(id) != 36 {
		t.Errorf("invocation id %q", id)
	}
	if v := e.Header.Get("X-Azure-Functions-HostVersion"); v == "" || e.Header.Get("User-Agent") != "Azure-Functions-Host/"+v {
		t.Errorf("version %q, user agent %q", v, e.Header.Get("User-Agent"))
	}
	if _, err := strconv.Atoi(e.Header.Get("Content-Length")); err != nil || e.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("content type %q", e.Header.Get("Content-Type"))
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
