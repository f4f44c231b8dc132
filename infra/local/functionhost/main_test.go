package functionhost

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The test binary is also the handler: with this variable in its environment
// it asks the collector at that URL what to do, at its start and for every
// request.
const collectorVariable = "TEST_COLLECTOR"

func TestMain(m *testing.M) {
	if collector := os.Getenv(collectorVariable); collector != "" {
		os.Exit(runHandler(collector))
	}
	goleak.VerifyTestMain(m)
}

// event is what the handler tells the collector.
type event struct {
	Kind      string // start, request, more or sigterm
	Pid       int
	Arguments []string
	Directory string
	Env       []string
	Method    string
	URI       string
	Host      string
	Header    http.Header
	Body      []byte
}

// order is what the collector answers.
type order struct {
	Exit        *int   // exit with this status
	Deaf        bool   // don't listen
	Stdout      string // print
	Stderr      string
	Status      int
	ContentType string
	Location    string
	Body        string
	Length      int  // Content-Length, if the body comes in parts
	More        bool // flush, and ask the collector for the rest
}

func exit(status int) order { return order{Exit: &status} }

// success is the answer that Mailferry's own handler gives.
var success = order{Status: 200, ContentType: "application/json", Body: `{"Outputs":{},"Logs":["done"],"ReturnValue":null}`}

func runHandler(collector string) int {
	terminated := make(chan os.Signal, 1)
	signal.Notify(terminated, syscall.SIGTERM)
	directory, _ := os.Getwd()
	first := tell(collector, event{Kind: "start", Arguments: os.Args[1:], Directory: directory, Env: os.Environ()})
	if first.Deaf {
		<-terminated
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"))
	if err != nil {
		return 1
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			w.WriteHeader(http.StatusTeapot) // any answer means ready
			return
		}
		body, _ := io.ReadAll(r.Body)
		do := tell(collector, event{Kind: "request", Method: r.Method, URI: r.RequestURI, Host: r.Host, Header: r.Header, Body: body})
		if do.ContentType != "" {
			w.Header().Set("Content-Type", do.ContentType)
		}
		if do.Location != "" {
			w.Header().Set("Location", do.Location)
		}
		if do.Length > 0 {
			w.Header().Set("Content-Length", strconv.Itoa(do.Length))
		}
		w.WriteHeader(max(do.Status, 200))
		_, _ = io.WriteString(w, do.Body)
		for do.More {
			_ = http.NewResponseController(w).Flush()
			do = tell(collector, event{Kind: "more"})
			_, _ = io.WriteString(w, do.Body)
		}
	})}
	go func() { _ = server.Serve(listener) }()
	<-terminated
	tell(collector, event{Kind: "sigterm"})
	_ = server.Shutdown(context.Background())
	return 143
}

// tell reports an event and carries out the part of the order that is no answer.
func tell(collector string, e event) order {
	e.Pid = os.Getpid()
	data, _ := json.Marshal(e)
	response, err := http.Post(collector, "application/json", bytes.NewReader(data))
	if err != nil {
		os.Exit(99)
	}
	defer response.Body.Close()
	var o order
	_ = json.NewDecoder(response.Body).Decode(&o)
	fmt.Fprint(os.Stdout, o.Stdout)
	fmt.Fprint(os.Stderr, o.Stderr)
	if o.Exit != nil {
		os.Exit(*o.Exit)
	}
	return o
}

// app is a script root whose handler is the test binary.
type app struct {
	t        *testing.T
	root     string
	settings map[string]string
	requests chan event
	starts   chan event
	mores    chan event
	sigterms chan event

	mu        sync.Mutex
	onStart   func(event) order
	onRequest func(event) order
	onMore    func(event) order
	onSigterm func(event) order
}

const hostJSON = `{"version":"2.0","functionTimeout":"00:10:00",
 "extensionBundle":{"id":"Microsoft.Azure.Functions.ExtensionBundle","version":"[4.*, 5.0.0)"},
 "extensions":{"serviceBus":{"maxConcurrentCalls":2}},
 "customHandler":{"description":{"defaultExecutablePath":%q,"arguments":["--as=%%ROLE%%","%%UNKNOWN%%"]},"enableProxyingHttpRequest":true}}`

// inert is a function that is only invoked by the tests themselves.
const inert = `{"bindings":[{"type":"timerTrigger","direction":"in","name":"t","schedule":"0 0 0 1 1 *"}]}`

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{t: t, root: t.TempDir(), requests: make(chan event, 1000), starts: make(chan event, 1000), mores: make(chan event, 10), sigterms: make(chan event, 10)}
	collector := httptest.NewServer(a)
	t.Cleanup(collector.Close)
	a.settings = map[string]string{
		collectorVariable: collector.URL,
		"ROLE":            "handler",
		"GORACE":          "atexit_sleep_ms=0", // the race detector delays an exit by a second
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	a.write("host.json", fmt.Sprintf(hostJSON, executable))
	return a
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var e event
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		a.t.Errorf("decode event: %v", err)
	}
	a.mu.Lock()
	respond, queue, fallback := a.onStart, a.starts, order{}
	switch e.Kind {
	case "request":
		respond, queue, fallback = a.onRequest, a.requests, success
	case "more":
		respond, queue, fallback = a.onMore, a.mores, success
	case "sigterm":
		respond, queue = a.onSigterm, a.sigterms
	}
	a.mu.Unlock()
	queue <- e
	if respond != nil {
		fallback = respond(e)
	}
	_ = json.NewEncoder(w).Encode(fallback)
}

// handle says what the handler answers to requests.
func (a *app) handle(respond func(event) order) { a.on(&a.onRequest, respond) }

// on sets one of the handler's reactions. The lock orders it before the event,
// which reaches this process through another one.
func (a *app) on(reaction *func(event) order, respond func(event) order) {
	a.mu.Lock()
	defer a.mu.Unlock()
	*reaction = respond
}

func (a *app) write(path, content string) {
	a.t.Helper()
	path = filepath.Join(a.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// host changes one key of host.json.
func (a *app) host(key string, value any) {
	a.t.Helper()
	data, err := os.ReadFile(filepath.Join(a.root, "host.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		a.t.Fatal(err)
	}
	file[key] = value
	data, _ = json.Marshal(file)
	a.write("host.json", string(data))
}

func (a *app) options(o Options) Options {
	o.Root, o.Settings = a.root, a.settings
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{a.t}, nil))
	}
	return o
}

// start starts the host, which is stopped at the end of the test.
func (a *app) start(o Options) *Host {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	h, err := Start(ctx, a.options(o))
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() {
		if err := h.Stop(context.Background()); err != nil {
			a.t.Errorf("stop: %v", err)
		}
	})
	return h
}

// patience is how long a test waits for what must come: it only ends one that hangs, and a busy machine takes
// long.
const patience = 2 * time.Minute

// next waits for an event.
func next(t *testing.T, events chan event) event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(patience):
		t.Fatalf("no event within %s", patience)
		return event{}
	}
}

// none says that no event has come.
func none(t *testing.T, events chan event) {
	t.Helper()
	select {
	case e := <-events:
		t.Errorf("one event too many: %s %s", e.URI, e.Body)
	default:
	}
}

// within waits for a condition that nothing announces.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", patience, what)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// invoke fires an inert function on an instance.
func invoke(h *Host, i int) error {
	in, err := h.instance(i)
	if err != nil {
		return err
	}
	return in.invoke(h.functions[0], "", newObjectEnvelope(h.functions[0], map[string]any{}), nil)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Logf("%s", bytes.TrimRight(p, "\n"))
	return len(p), nil
}
