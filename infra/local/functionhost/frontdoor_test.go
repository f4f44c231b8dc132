package functionhost

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// httpFunction is a function.json with one httpTrigger.
func httpFunction(level, methods, route string) string {
	return `{"bindings":[{"type":"httpTrigger","direction":"in","name":"req","authLevel":"` + level + `","methods":[` + methods + `],"route":"` + route + `"},
		{"type":"http","direction":"out","name":"$return"}]}`
}

func send(t *testing.T, method, url, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for key := range header {
		request.Header.Set(key, header.Get(key))
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response, string(data)
}

func TestRequestsAndAnswersPassUnchanged(t *testing.T) {
	a := newApp(t)
	a.write("complete/function.json", httpFunction("function", `"post"`, "batches/{endpoint}/{batch}/complete"))
	h := a.start(Options{})
	a.handle(func(event) order { return order{Status: 302, ContentType: "text/plain", Body: "see there"} })
	response, body := send(t, "POST", h.URL()+"/api/Batches/a%2Fb/x%20y/complete?q=1&q=2;3&code="+h.MasterKey(), "pay load",
		http.Header{"X-Mine": {"1"}, "Content-Type": {"text/x-mine"}})
	if response.StatusCode != 302 || body != "see there" || response.Header.Get("Content-Type") != "text/plain" {
		t.Errorf("answer %d %q %q", response.StatusCode, response.Header.Get("Content-Type"), body)
	}
	e := next(t, a.requests)
	if e.Method != "POST" || e.URI != "/api/Batches/a%2Fb/x%20y/complete?q=1&q=2;3&code="+h.MasterKey() || string(e.Body) != "pay load" {
		t.Errorf("request %s %s %q", e.Method, e.URI, e.Body)
	}
	if e.Host != strings.TrimPrefix(h.URL(), "http://") || e.Header.Get("X-Mine") != "1" || e.Header.Get("Content-Type") != "text/x-mine" {
		t.Errorf("host %q, header %v", e.Host, e.Header)
	}
	if len(e.Header.Get("X-Azure-Functions-InvocationId")) != 36 || e.Header.Get("X-Forwarded-For") != "127.0.0.1" {
		t.Errorf("header %v", e.Header)
	}
}

func TestAHandlersErrorStatusIsTheAnswer(t *testing.T) {
	a := newApp(t)
	a.write("open/function.json", httpFunction("anonymous", "", "open"))
	h := a.start(Options{})
	a.handle(func(event) order { return order{Status: 500, Body: "sorry"} })
	if response, body := send(t, "PUT", h.URL()+"/api/open", "", nil); response.StatusCode != 500 || body != "sorry" {
		t.Errorf("answer %d %q", response.StatusCode, body)
	}
	if h.Restarts() != 0 {
		t.Error("a status of 500 must not restart the handler")
	}
}

func TestRoutesKeysAndMethods(t *testing.T) {
	a := newApp(t)
	a.settings["FunctionKey"] = "function key"
	a.write("open/function.json", httpFunction("anonymous", `"get"`, "open/{id?}"))
	a.write("keyed/function.json", httpFunction("function", "", "keyed"))
	a.write("admin/function.json", httpFunction("admin", "", "admin"))
	h := a.start(Options{})
	key := func(value string) http.Header { return http.Header{"X-Functions-Key": {value}} }
	for _, test := range []struct {
		method, path string
		header       http.Header
		want         int
	}{
		{"GET", "/api/open", nil, 200},
		{"GET", "/API/Open/1", nil, 200},
		{"GET", "/api/open/1/2", nil, 404},
		{"POST", "/api/open", nil, 404},
		{"GET", "/open", nil, 404},
		{"GET", "/", nil, 404},
		{"GET", "/api/tick", nil, 404},
		{"GET", "/api/keyed", nil, 401},
		{"GET", "/api/keyed", key("wrong"), 401},
		{"GET", "/api/keyed", key(""), 401},
		{"GET", "/api/keyed?code=", nil, 401},
		{"GET", "/api/keyed?code=" + h.MasterKey(), key("wrong"), 401},
		{"GET", "/api/keyed?code=wrong", key(h.MasterKey()), 200},
		{"GET", "/api/keyed", http.Header{"Authorization": {"Bearer " + h.MasterKey()}}, 401},
		{"GET", "/api/open?code=wrong", key("wrong"), 200},
		{"GET", "/api/keyed", key("function key"), 200},
		{"GET", "/api/keyed?code=function+key", nil, 200},
		{"GET", "/api/keyed", key(h.MasterKey()), 200},
		{"GET", "/api/admin", key("function key"), 401},
		{"GET", "/api/admin", key(h.MasterKey()), 200},
	} {
		if response, _ := send(t, test.method, h.URL()+test.path, "", test.header); response.StatusCode != test.want {
			t.Errorf("%s %s %v: %d, want %d", test.method, test.path, test.header, response.StatusCode, test.want)
		}
	}
}

// Section 1.5: with enableProxyingHttpRequest both bodies are streamed, whether
// their length is known or not.
func TestBodiesAreStreamed(t *testing.T) {
	for name, length := range map[string]int{"chunked": 0, "of a known length": len("first last")} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			a.write("open/function.json", httpFunction("anonymous", "", "open"))
			h := a.start(Options{})
			a.handle(func(event) order { return order{Status: 200, Body: "first ", Length: length, More: true} })
			finish := make(chan struct{})
			finished := sync.OnceFunc(func() { close(finish) })
			defer finished()
			a.on(&a.onMore, func(event) order { <-finish; return order{Body: "last"} })
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
			response, err := client.Post(h.URL()+"/api/open", "text/plain", io.MultiReader(strings.NewReader("ques"), strings.NewReader("tion")))
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			part := make([]byte, len("first "))
			if _, err := io.ReadFull(response.Body, part); err != nil || string(part) != "first " {
				t.Errorf("%q, %v, while the handler still works", part, err)
			}
			finished()
			if rest, err := io.ReadAll(response.Body); err != nil || string(rest) != "last" {
				t.Errorf("%q, %v", rest, err)
			}
			if e := next(t, a.requests); string(e.Body) != "question" {
				t.Errorf("the handler got %q", e.Body)
			}
		})
	}
}

func TestRequestsAreSpreadOverInstances(t *testing.T) {
	a := newApp(t)
	a.write("open/function.json", httpFunction("anonymous", "", "open"))
	h := a.start(Options{Instances: 2})
	seen := map[int]int{}
	for range 6 {
		send(t, "GET", h.URL()+"/api/open", "", nil)
		seen[next(t, a.requests).Pid]++
	}
	if seen[h.Pid(0)] != 3 || seen[h.Pid(1)] != 3 {
		t.Errorf("requests by process: %v", seen)
	}
}

func TestRequestWaitsForAHandlerThatRestarts(t *testing.T) {
	a := newApp(t)
	a.write("open/function.json", httpFunction("anonymous", "", "open"))
	h := a.start(Options{})
	if err := h.Kill(0); err != nil {
		t.Fatal(err)
	}
	if response, _ := send(t, "GET", h.URL()+"/api/open", "", nil); response.StatusCode != 200 {
		t.Errorf("answer %d", response.StatusCode)
	}
}

func TestRequestToAProcessThatDiesIsBadGateway(t *testing.T) {
	a := newApp(t)
	a.write("open/function.json", httpFunction("anonymous", "", "open"))
	h := a.start(Options{})
	a.handle(func(event) order { return exit(9) })
	if response, _ := send(t, "GET", h.URL()+"/api/open", "", nil); response.StatusCode != http.StatusBadGateway {
		t.Errorf("answer %d", response.StatusCode)
	}
}

// Section 2.5: an HTTP function has 230 s to answer, on any plan. Section 1.9: at
// functionTimeout the process is killed.
func TestSlowHTTPAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		timeout string // functionTimeout
		limit   time.Duration
		killed  bool
	}{
		"230 s":                     {"00:30:00", 230 * time.Second, false},
		"no functionTimeout":        {"-1", 230 * time.Second, false},
		"functionTimeout below 230": {"00:03:00", 3 * time.Minute, true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			a.host("functionTimeout", test.timeout)
			a.write("open/function.json", httpFunction("anonymous", "", "open"))
			clock := newHandClock()
			h := a.start(Options{clock: clock})
			release := make(chan struct{})
			defer close(release)
			a.handle(func(event) order { <-release; return success })
			pid := h.Pid(0)
			status := make(chan int)
			go func() {
				response, _ := send(t, "GET", h.URL()+"/api/open", "", nil)
				status <- response.StatusCode
			}()
			next(t, a.requests)
			clock.pass(test.limit - 1)
			select {
			case got := <-status:
				t.Fatalf("answered %d before the limit", got)
			default:
			}
			clock.pass(1)
			if got := <-status; got != http.StatusGatewayTimeout && !(test.killed && got == http.StatusBadGateway) {
				t.Errorf("after the limit: %d", got)
			}
			if !test.killed && h.Pid(0) != pid {
				t.Error("the limit of HTTP answers must not end the process")
			}
			if test.killed {
				within(t, "a new process", func() bool { p := h.Pid(0); return p != pid && p != 0 })
			}
		})
	}
}

func TestStopAnswersRequestsInFlight(t *testing.T) {
	a := newApp(t)
	a.write("open/function.json", httpFunction("anonymous", "", "open"))
	h := a.start(Options{})
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	status := make(chan int, 1)
	go func() {
		response, err := http.Get(h.URL() + "/api/open")
		if err != nil {
			status <- 0
			return
		}
		response.Body.Close()
		status <- response.StatusCode
	}()
	next(t, a.requests)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := <-status; got != http.StatusBadGateway {
		t.Errorf("answer %d, want 502", got)
	}
}

func TestRouteTemplates(t *testing.T) {
	f := func(name, route string) *function {
		return &function{name: name, trigger: binding{Route: &route, AuthLevel: "anonymous"}}
	}
	for _, template := range []string{"{id:int}", "a{id}", "{a?}/b", "{*a}/b", "{", "{}"} {
		if _, err := newRoute(f("f", template), "api"); err == nil {
			t.Errorf("route %q must be refused", template)
		}
	}
	var routes []*route
	for _, template := range []string{"{*rest}", "{a}/{b}", "x/{b}", "x/y", "{a}"} {
		r, err := newRoute(f(template, template), "")
		if err != nil {
			t.Fatal(err)
		}
		routes = append(routes, r)
	}
	sortRoutes(routes)
	d := &frontDoor{routes: routes}
	for path, want := range map[string]string{"/x/y": "x/y", "/x/z": "x/{b}", "/w/z": "{a}/{b}", "/x": "{a}", "/a/b/c": "{*rest}", "/": "{*rest}"} {
		request, _ := http.NewRequest("GET", path, nil)
		if got := d.find(request); got == nil || got.function.name != want {
			t.Errorf("%s: %v, want route %s", path, got, want)
		}
	}
	r, err := newRoute(&function{name: "Named"}, "api")
	if err != nil || !r.matches("DELETE", []string{"api", "named"}) || r.level != "function" {
		t.Errorf("defaults: %+v, %v", r, err)
	}
	if _, err := newRoute(&function{name: "f", trigger: binding{AuthLevel: "user"}}, "api"); err == nil {
		t.Error("authLevel user must be refused")
	}
}
