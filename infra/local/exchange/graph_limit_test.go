package exchange

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/exchange/graph"
)

// heldRequest is a request whose body is not all sent yet.
type heldRequest struct {
	t    *testing.T
	body *io.PipeWriter
	done chan int
}

// hold starts a request. The server counts it from begin on.
func (g *graphClient) hold(method, address string, length int64, headers ...string) *heldRequest {
	g.t.Helper()
	g.http.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	pr, pw := io.Pipe()
	req, err := http.NewRequest(method, address, pr)
	if err != nil {
		g.t.Fatal(err)
	}
	req.ContentLength = length
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Expect", "100-continue")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	h := &heldRequest{g.t, pw, make(chan int, 1)}
	go func() {
		res, err := g.http.Do(req)
		if err != nil {
			h.done <- 0
			return
		}
		res.Body.Close()
		h.done <- res.StatusCode
	}()
	return h
}

// begin returns when the server reads the body.
func (h *heldRequest) begin(first []byte) {
	h.t.Helper()
	if _, err := h.body.Write(first); err != nil {
		h.t.Fatal(err)
	}
}

func (h *heldRequest) finish(rest []byte) (status int) {
	h.t.Helper()
	if _, err := h.body.Write(rest); err != nil {
		h.t.Error(err)
	}
	h.body.Close()
	return <-h.done
}

// TestGraphConflict shows that of two changes of one message at a time the second is refused, as is one
// that names an old state (graph.md sections 1f and 2; msgraph-sdk-dotnet issue 1195).
func TestGraphConflict(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	ids := g.make(anna, "inbox", 2)
	path, other := "/users/"+anna+"/messages/"+ids[0], "/users/"+anna+"/messages/"+ids[1]
	held := g.hold("PATCH", g.base+path, -1, "Authorization: Bearer "+g.token)
	held.begin([]byte(`{"isRead":`))
	for _, r := range []reply{
		g.do("PATCH", path, map[string]any{"isRead": true}), g.do("POST", path+"/attachments", file("x", []byte("x"))),
		g.do("DELETE", path, nil), g.do("POST", path+"/move", map[string]any{"destinationId": "archive"}),
	} {
		if g.want(r, 412, "ErrorIrresolvableConflict"); !strings.Contains(r.message(), "change key") {
			t.Errorf("got %s", r.raw)
		}
	}
	g.want(g.do("PATCH", other, map[string]any{"isRead": true}), 200, "")
	if status := held.finish([]byte(`false}`)); status != 200 {
		t.Errorf("got %d", status)
	}
	tag := g.want(g.get(path), 200, "").body["@odata.etag"].(string)
	g.want(g.do("PATCH", path, map[string]any{"isRead": true}, "If-Match: "+tag), 200, "")
	g.want(g.do("PATCH", path, map[string]any{"isRead": false}, "If-Match: "+tag), 412, "ErrorIrresolvableConflict")
	g.want(g.do("PATCH", path, map[string]any{"isRead": false}, "If-Match: *"), 200, "")
}

// TestGraphRequestBudget shows 10,000 requests in 10 minutes per application and mailbox, here fewer,
// and Retry-After by the clock (graph.md section 2; https://learn.microsoft.com/graph/throttling-limits).
func TestGraphRequestBudget(t *testing.T) {
	now := newClock()
	g := newGraph(t, start(t, Options{Now: now.Now, Graph: graph.Limits{Requests: 3}}))
	for range 3 {
		g.want(g.get("/users/"+anna+"/mailFolders"), 200, "")
		now.advance(time.Minute)
	}
	r := g.want(g.get("/users/"+anna+"/mailFolders"), 429, "ApplicationThrottled")
	if r.header.Get("Retry-After") != "420" {
		t.Errorf("got Retry-After %q", r.header.Get("Retry-After"))
	}
	g.want(g.get("/users/"+olaf+"/mailFolders"), 200, "")
	g.want(g.get("/users/"+anna), 200, "") // the directory counts otherwise
	now.advance(7 * time.Minute)
	g.want(g.get("/users/"+anna+"/mailFolders"), 200, "")
	g.want(g.get("/users/"+anna+"/mailFolders"), 429, "ApplicationThrottled")
	now.advance(time.Minute)
	g.want(g.get("/users/"+anna+"/mailFolders"), 200, "")
}

// TestGraphUploadBudget shows 150 MB of uploads in 5 minutes per application and mailbox, here less,
// over both hosts (graph.md section 2).
func TestGraphUploadBudget(t *testing.T) {
	now := newClock()
	g := newGraph(t, start(t, Options{Now: now.Now, Graph: graph.Limits{UploadBytes: 3 << 20}}))
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 1)[0]
	content := pattern(3<<20 + 1)
	address, _ := g.session(path, len(content))
	now.advance(time.Minute)
	g.want(g.upload(address, content, 0, 3<<20), 200, "")
	r := g.want(g.upload(address, content, 3<<20, len(content)), 429, "ApplicationThrottled")
	if r.header.Get("Retry-After") != "300" {
		t.Errorf("got Retry-After %q", r.header.Get("Retry-After"))
	}
	g.want(g.do("PATCH", path, map[string]any{"isRead": true}), 429, "ApplicationThrottled")
	now.advance(5 * time.Minute)
	g.want(g.do("PATCH", path, map[string]any{"isRead": true}), 200, "")
	g.want(g.upload(address, content, 3<<20, len(content)), 201, "")
}

// TestGraphConcurrencyOption shows that the number of requests at a time can be set, and that the
// documented one is 4 (graph.md section 2).
func TestGraphConcurrencyOption(t *testing.T) {
	for _, tt := range []struct{ limit, held int }{{0, 4}, {1, 1}} {
		g := newGraph(t, start(t, Options{Graph: graph.Limits{Concurrent: tt.limit}}))
		path := g.base + "/users/" + anna + "/mailFolders"
		var all []*heldRequest
		for range tt.held {
			h := g.hold("POST", path, -1, "Authorization: Bearer "+g.token)
			h.begin([]byte(" "))
			all = append(all, h)
		}
		r := g.want(g.get(path), 429, "ApplicationThrottled")
		if r.message() != "Application is over its MailboxConcurrency limit." || r.header.Get("Retry-After") == "" {
			t.Errorf("got %s", r.raw)
		}
		for i, h := range all {
			if status := h.finish(fmt.Appendf(nil, `{"displayName":"F%d"}`, i)); status != 201 {
				t.Errorf("got %d", status)
			}
		}
		g.want(g.get(path), 200, "")
	}
}
