package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailferry/shared/intake"
	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// newTestApp is the app over a store in memory, with one batch of one mailbox.
func newTestApp(t *testing.T) (*app, migrate.MailboxID) {
	t.Helper()
	a := newApp(t.Context(), slog.New(slog.DiscardHandler))
	a.store, a.drop = migratetest.NewStore(nil), migratetest.NewStore(nil)
	a.planner = &migrate.Planner{Store: a.store, Drop: a.drop, Grace: time.Minute}
	close(a.ready)
	id := migrate.NewMailboxID("zimbra", "anna", "guid")
	c := &migrate.Checkpoint{Mailbox: migrate.Mailbox{ID: id, Batch: "spring", Login: "anna", Target: migrate.TargetMailbox{Address: "anna@contoso.example", GUID: "guid"}},
		State: migrate.Queued, Phase: migrate.Waiting}
	if _, err := migrate.SaveCheckpoint(t.Context(), a.store, c, migrate.Condition{Absent: true}); err != nil {
		t.Fatal(err)
	}
	if err := migrate.AnnounceEndpoint(t.Context(), a.store, "zimbra"); err != nil {
		t.Fatal(err)
	}
	return a, id
}

func call(a *app, method, path, body string) *http.Response {
	w := httptest.NewRecorder()
	a.routes().ServeHTTP(w, httptest.NewRequest(method, "http://app.example"+path, strings.NewReader(body)))
	return w.Result()
}

// A Logic App posts, gets 202 with Location, and polls that.
func TestCompleteIsAnOrder(t *testing.T) {
	a, _ := newTestApp(t)
	r := call(a, "POST", "/api/batches/zimbra/spring/complete", "")
	if r.StatusCode != 202 || r.Header.Get("Location") != "http://app.example/api/batches/zimbra/spring" || r.Header.Get("Retry-After") == "" {
		t.Fatalf("%s, %v", r.Status, r.Header)
	}
	if _, _, err := a.store.Get(t.Context(), "orders/zimbra/spring/complete.json"); err != nil {
		t.Error(err)
	}
	if again := call(a, "POST", "/api/batches/zimbra/spring/complete", ""); again.StatusCode != 202 {
		t.Errorf("asked again: %s", again.Status)
	}
	status := call(a, "GET", "/api/batches/zimbra/spring", "")
	var b migrate.BatchStatus
	if err := json.NewDecoder(status.Body).Decode(&b); err != nil || len(b.Details) != 1 || b.Details[0].Address != "anna@contoso.example" {
		t.Errorf("%+v, %v", b, err)
	}
}

// The orders of pre-flight: start once for all, look again as long as the endpoint says so and nothing has started.
func TestPreflightOrders(t *testing.T) {
	a, _ := newTestApp(t)
	describe := func(preflight bool) {
		content := fmt.Appendf(nil, `{"host":"old.example","preflight":%t}`, preflight)
		if _, err := a.drop.Put(t.Context(), "zimbra/endpoint.json", content, nil, migrate.Condition{}); err != nil {
			t.Fatal(err)
		}
	}
	describe(false)
	for i, step := range []struct {
		order  string
		status int
	}{{"preflight", 409}, {"preflight", 202}, {"preflight", 202}, {"start", 202}, {"start", 202}, {"preflight", 409}} {
		if i == 1 {
			describe(true)
		}
		r := call(a, "POST", "/api/batches/zimbra/spring/"+step.order, "")
		var body struct{ Order, Detail string }
		err := json.NewDecoder(r.Body).Decode(&body)
		accepted := r.StatusCode == 202 && body.Order == step.order && r.Header.Get("Location") == "http://app.example/api/batches/zimbra/spring"
		if r.StatusCode != step.status || err != nil || (step.status == 202) != accepted || (step.status == 409) != (body.Detail != "") {
			t.Errorf("%d, %s: %s, %+v, %v", i, step.order, r.Status, body, err)
		}
	}
}

// TestEveryFunctionIsServed calls what the function.json files say that the host calls.
func TestEveryFunctionIsServed(t *testing.T) {
	files, err := filepath.Glob("../functions/*/function.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	a, _ := newTestApp(t)
	for _, file := range files {
		var f struct {
			Bindings []struct{ Type, Route string }
		}
		content, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(content, &f)
		}
		if err != nil {
			t.Fatal(err)
		}
		method, path := "POST", "/"+filepath.Base(filepath.Dir(file))
		if b := f.Bindings[0]; b.Type == "httpTrigger" {
			path = "/api/" + strings.NewReplacer("{endpoint}", "zimbra", "{batch}", "spring", "/{*path}", "").Replace(b.Route)
			if strings.Contains(string(content), `["get"]`) {
				method = "GET"
			}
		}
		if r := call(a, method, path, ""); r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s %s is answered %s", file, method, path, r.Status)
		}
	}
}

func TestUnknownBatches(t *testing.T) {
	a, _ := newTestApp(t)
	for _, path := range []string{"POST /api/batches/zimbra/other/complete", "POST /api/batches/no/spring/complete", "POST /api/batches/zimbra/other/start", "POST /api/batches/zimbra/other/preflight", "GET /api/batches/zimbra/other",
		"GET /api/batches/UPPER", "GET /api/batches/zimbra/..%2f..%2fsecret", "POST /api/batches/zimbra/%2e%2e/complete"} {
		method, address, _ := strings.Cut(path, " ")
		if r := call(a, method, address, ""); r.StatusCode == 200 || r.StatusCode == 202 || r.StatusCode >= 500 {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

// What is wrong with endpoint.json stands in the status of its batches: nothing moves until it is mended.
func TestFaultOfEndpointIsShown(t *testing.T) {
	a, _ := newTestApp(t)
	for _, step := range []struct{ content, want string }{{"", "there is no zimbra/endpoint.json"}, {`{"hots":"h"}`, `unknown field "hots"`}, {`{"host":"h"}`, ""}} {
		if step.content != "" {
			if _, err := a.drop.Put(t.Context(), "zimbra/endpoint.json", []byte(step.content), nil, migrate.Condition{}); err != nil {
				t.Fatal(err)
			}
		}
		var one migrate.BatchStatus
		var list []*migrate.BatchStatus
		if err := json.NewDecoder(call(a, "GET", "/api/batches/zimbra/spring", "").Body).Decode(&one); err != nil {
			t.Fatal(err)
		}
		if err := json.NewDecoder(call(a, "GET", "/api/batches", "").Body).Decode(&list); err != nil {
			t.Fatal(err)
		}
		for _, b := range append(list, &one) {
			if (b.Problem != nil) != (step.want != "") || b.Problem != nil && (!strings.Contains(b.Problem.Text, step.want) || !strings.Contains(b.Problem.Advice, "pload it")) {
				t.Errorf("with %s: %+v", step.content, b.Problem)
			}
		}
	}
}

// A CSV that was refused whole has a status, and no orders.
func TestRefusedCSVIsShown(t *testing.T) {
	a, _ := newTestApp(t)
	report := `{"v":1,"refused":true,"problems":[{"line":1,"reason":"the first line is no header","advice":"…"}]}`
	if _, err := a.store.Put(t.Context(), intake.ReportName("zimbra", "autumn"), []byte(report), nil, migrate.Condition{}); err != nil {
		t.Fatal(err)
	}
	r := call(a, "GET", "/api/batches/zimbra/autumn", "")
	body, _ := io.ReadAll(r.Body)
	if r.StatusCode != 200 || !strings.Contains(string(body), `"state":"Empty"`) || !strings.Contains(string(body), "the first line is no header") {
		t.Errorf("%s: %s", r.Status, body)
	}
	if r := call(a, "POST", "/api/batches/zimbra/autumn/complete", ""); r.StatusCode != 404 {
		t.Errorf("completion is answered %s", r.Status)
	}
}

func TestListOfBatches(t *testing.T) {
	a, _ := newTestApp(t)
	for _, path := range []string{"/api/batches", "/api/batches/zimbra"} {
		body, _ := io.ReadAll(call(a, "GET", path, "").Body)
		var list []migrate.BatchStatus
		if err := json.Unmarshal(body, &list); err != nil || len(list) != 1 || list[0].Mailboxes != 1 {
			t.Errorf("%s: %s, %v", path, body, err)
		}
	}
}

// Every answer to the host is JSON and never empty: an empty 200 would leave the invocation hanging.
func TestAnswers(t *testing.T) {
	a, id := newTestApp(t)
	letter := func(seq int) string {
		body := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"v":1,"mailbox":%q,"seq":%d,"attempt":1}`, id, seq))
		return fmt.Sprintf(`{"Data":{"wakeup":%q},"Metadata":{}}`, body)
	}
	for _, c := range []struct {
		path, body string
		status     int
	}{
		{"/deadletter", letter(9), 200}, // not the valid seq: nothing to do
		{"/deadletter", `{"Data":{"wakeup":"bm90IGpzb24="},"Metadata":{}}`, 200},
		{"/run", `{"Data":{"wakeup":"bm90IGpzb24="},"Metadata":{}}`, 500},
		{"/run", `nonsense`, 500},
		{"/intake", `{"Data":{},"Metadata":{}}`, 500},
		{"/intake", `{"Data":{},"Metadata":{"endpoint":"\"a/b\"","name":"\"c\""}}`, 200},
		{"/tick", `{"Data":{"timer":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"Metadata":{"sys":{}}}`, 500}, // no endpoint.json
	} {
		r := call(a, "POST", c.path, c.body)
		body, _ := io.ReadAll(r.Body)
		var parsed answer
		if err := json.Unmarshal(body, &parsed); err != nil || r.StatusCode != c.status || r.Header.Get("Content-Type") != "application/json" || len(body) < 3 {
			t.Errorf("%s %s: %s %s %q", c.path, c.body, r.Status, r.Header.Get("Content-Type"), body)
		}
	}
	if r := call(a, "GET", "/", ""); r.StatusCode != 200 {
		t.Errorf("readiness: %s", r.Status)
	}
}

// One mailbox's bug fails its own invocation and leaves the process alive.
func TestPanicIsAFailedInvocation(t *testing.T) {
	a, _ := newTestApp(t)
	a.planner = nil
	if r := call(a, "POST", "/tick", `{"Data":{},"Metadata":{}}`); r.StatusCode != 500 {
		t.Errorf("%s", r.Status)
	}
}
