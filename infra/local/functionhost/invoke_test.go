package functionhost

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"
)

// Section 1.7: an empty answer and null leave the invocation open until
// functionTimeout, which then takes the process.
func TestEmptyAndNullAnswersHangUntilFunctionTimeout(t *testing.T) {
	for _, body := range []string{"", "null"} {
		a := newApp(t)
		a.write("tick/function.json", inert)
		clock := newHandClock()
		h := a.start(Options{clock: clock})
		pid := h.Pid(0)
		a.handle(func(event) order { return order{Status: 200, ContentType: "application/json", Body: body} })
		failed := make(chan error, 1)
		go func() { failed <- invoke(h, 0) }()
		clock.await(t, 10*time.Minute)
		next(t, a.requests)
		clock.pass(10*time.Minute - 1)
		select {
		case err := <-failed:
			t.Fatalf("answer %q: ended with %v before functionTimeout", body, err)
		default:
		}
		clock.pass(1)
		if err := <-failed; !errors.Is(err, errFunctionTimeout) {
			t.Errorf("answer %q: got %v, want %v", body, err, errFunctionTimeout)
		}
		within(t, "a new process", func() bool { p := h.Pid(0); return p != pid && p != 0 })
	}
}

// Section 1.9: one invocation that exceeds functionTimeout takes the process and
// everything in it.
func TestFunctionTimeoutKillsTheProcessWithEverythingInFlight(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	clock := newHandClock()
	h := a.start(Options{clock: clock})
	pid := h.Pid(0)
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- invoke(h, 0) }()
	next(t, a.requests)
	clock.pass(9 * time.Minute) // so that only the first one is overdue
	go func() { second <- invoke(h, 0) }()
	next(t, a.requests)
	clock.pass(time.Minute)
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

// Section 2.5: without functionTimeout an invocation may last forever; only the
// end of the host ends it.
func TestWithoutFunctionTimeoutAnEmptyAnswerHangsUntilTheEnd(t *testing.T) {
	a := newApp(t)
	a.host("functionTimeout", "-1")
	a.write("tick/function.json", inert)
	clock := newHandClock()
	h := a.start(Options{clock: clock})
	a.handle(func(event) order { return order{Status: 200} })
	failed := make(chan error, 1)
	go func() { failed <- invoke(h, 0) }()
	next(t, a.requests)
	clock.pass(1000 * time.Hour)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, errStopped) && err == nil {
		t.Errorf("got %v", err)
	}
}

// Section 1.7: redirects are followed, as .NET follows them.
func TestRedirectsAreFollowed(t *testing.T) {
	for status, method := range map[int]string{302: "GET", 303: "GET", 307: "POST", 308: "POST"} {
		a := newApp(t)
		a.write("tick/function.json", inert)
		h := a.start(Options{})
		a.handle(func(e event) order {
			if e.URI == "/tick" {
				return order{Status: status, Location: "/elsewhere"}
			}
			return success
		})
		if err := invoke(h, 0); err != nil {
			t.Errorf("status %d: %v", status, err)
		}
		first, second := next(t, a.requests), next(t, a.requests)
		if second.URI != "/elsewhere" || second.Method != method || (method == "POST") != bytes.Equal(first.Body, second.Body) {
			t.Errorf("status %d: %s %s %s", status, second.Method, second.URI, second.Body)
		}
	}
}

// Section 1.6: Logs become records of level Information when the invocation has
// ended, and only of one that succeeded.
func TestLogsAreRecordedAfterwards(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	var out lockedBuffer
	h := a.start(Options{Logger: slog.New(slog.NewTextHandler(&out, nil))})
	a.handle(func(event) order {
		if strings.Contains(out.String(), "line one") {
			t.Error("recorded before the answer")
		}
		return order{Status: 200, ContentType: "application/json", Body: `{"Logs":["line one","line two"]}`}
	})
	if err := invoke(h, 0); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{`level=INFO msg="line one" instance=0 function=tick`, `level=INFO msg="line two"`} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("no %q in\n%s", line, out.String())
		}
	}
	a.handle(func(event) order {
		return order{Status: 500, ContentType: "application/json", Body: `{"Logs":["line three"]}`}
	})
	if err := invoke(h, 0); err == nil || strings.Contains(out.String(), "line three") {
		t.Errorf("got %v and\n%s", err, out.String())
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
		"other case":                   {200, "application/json", `{"outputs":{},"LOGS":["x"]}`, false, false},
		"status 500":                   {500, "application/json", `{}`, false, true},
		"status 404":                   {404, "application/json", `{}`, false, true},
		"status 304":                   {304, "application/json", ``, false, true},
		"no content type":              {200, "", `{}`, false, true},
		"text":                         {200, "text/plain", `{}`, false, true},
		"no JSON":                      {200, "application/json", `{`, false, true},
		"array":                        {200, "application/json", `[]`, false, true},
		"string":                       {200, "application/json", `"done"`, false, true},
		"outputs of a wrong type":      {200, "application/json", `{"Outputs":[]}`, false, true},
		"empty":                        {200, "application/json", ``, true, false},
		"no content":                   {204, "", ``, true, false},
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

func FuzzAnswer(f *testing.F) {
	f.Add(200, "application/json", []byte(`{"Outputs":{},"Logs":["a"],"ReturnValue":null}`))
	f.Add(204, "", []byte(nil))
	f.Fuzz(func(t *testing.T, status int, contentType string, body []byte) {
		response := &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {contentType}}}
		got, err := readResult(response, body)
		if got != nil && (err != nil || status < 200 || status > 299) {
			t.Errorf("status %d: %v, %v", status, got, err)
		}
	})
}

// Section 1.3: the invocation id is the attempt's, not the message's.
func TestInvocationHeaders(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	ids := map[string]bool{}
	for range 2 {
		if err := invoke(h, 0); err != nil {
			t.Fatal(err)
		}
		e := next(t, a.requests)
		if e.Method != "POST" || e.URI != "/tick" || e.Host != "127.0.0.1:"+port(h) {
			t.Errorf("%s %s at %s, want POST /tick", e.Method, e.URI, e.Host)
		}
		if id := e.Header.Get("X-Azure-Functions-InvocationId"); len(id) != 36 || ids[id] {
			t.Errorf("invocation id %q", id)
		}
		ids[e.Header.Get("X-Azure-Functions-InvocationId")] = true
		if v := e.Header.Get("X-Azure-Functions-HostVersion"); v == "" || e.Header.Get("User-Agent") != "Azure-Functions-Host/"+v {
			t.Errorf("version %q, user agent %q", v, e.Header.Get("User-Agent"))
		}
		if e.Header.Get("Content-Length") == "" || e.Header.Get("Content-Type") != "application/json; charset=utf-8" || e.Header.Get("Traceparent") != "" {
			t.Errorf("header %v", e.Header)
		}
	}
}

// port is the one that the handler of instance 0 listens on.
func port(h *Host) string {
	p, err := h.instances[0].process()
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(p.url("")[len("http://127.0.0.1:"):], "/")
}
