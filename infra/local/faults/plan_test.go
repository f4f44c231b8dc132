package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/faults"
)

func TestAt(t *testing.T) {
	p := faults.New()
	id := p.Add(faults.Rule{At: "imap.*", Match: "anna", Skip: 1, Times: 2, Do: faults.Cut})
	last := p.Add(faults.Rule{At: "imap.APPEND", Do: faults.Throttle, After: time.Second})
	var got []faults.Action
	for range 5 {
		if p.At("graph.POST", "anna") != nil {
			t.Error("a rule struck at another point")
		}
		if r := p.At("imap.APPEND", "anna@example.com INBOX"); r != nil {
			got = append(got, r.Do)
		}
	}
	want := []faults.Action{faults.Throttle, faults.Cut, faults.Cut, faults.Throttle, faults.Throttle}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("struck %v, want %v", got, want)
	}
	if p.Taken(id) != 2 || p.Taken(last) != 3 {
		t.Errorf("taken %d and %d times, want 2 and 3", p.Taken(id), p.Taken(last))
	}
	if !p.Remove(last) || p.Remove(last) || p.At("imap.APPEND", "anna") != nil {
		t.Error("a rule outlives its removal")
	}
	var none *faults.Plan
	if none.At("imap.APPEND", "") != nil {
		t.Error("a nil plan strikes")
	}
}

func TestWait(t *testing.T) {
	p := faults.New()
	id := p.Add(faults.Rule{At: "x", Do: faults.Cut})
	go func() { p.At("x", ""); p.At("x", "") }()
	if err := p.Wait(t.Context(), id, 2); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Wait(ctx, id, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting ends with %v", err)
	}
}

func TestControl(t *testing.T) {
	p := faults.New()
	var did string
	p.Verb("restart", func(_ context.Context, args json.RawMessage) error {
		if did = string(args); did == `"now"` {
			return errors.New("it is broken")
		}
		return nil
	})
	for _, step := range []struct {
		name, method, path, body string
		status                   int
		answer                   string
	}{
		{"add", "POST", "/faults", `{"at":"imap.APPEND","do":"work-late","after":"3s","times":1}`, 201, `"after":"3s"`},
		{"list", "GET", "/faults", "", 200, `"id":"1","taken":0,"rule":{"at":"imap.APPEND"`},
		{"no such action", "POST", "/faults", `{"at":"x","do":"explode"}`, 400, `no action \"explode\"`},
		{"no such pause", "POST", "/faults", `{"at":"x","do":"delay","after":"soon"}`, 400, "invalid duration"},
		{"no point", "POST", "/faults", `{"do":"cut"}`, 400, "not a pattern"},
		{"no failure", "POST", "/faults", `{"at":"x","do":"answer","status":200}`, 400, "no failure"},
		{"no JSON", "POST", "/faults", `{`, 400, "unexpected end"},
		{"remove", "DELETE", "/faults/1", "", 204, ""},
		{"remove again", "DELETE", "/faults/1", "", 404, `no fault \"1\"`},
		{"clear", "DELETE", "/faults", "", 204, ""},
		{"verbs", "GET", "/do", "", 200, `["restart"]`},
		{"do", "POST", "/do/restart", `{"empty":true}`, 204, ""},
		{"do it badly", "POST", "/do/restart", `"now"`, 422, "it is broken"},
		{"do with no JSON", "POST", "/do/restart", `now`, 400, "not JSON"},
		{"no such verb", "POST", "/do/dance", "", 404, "no verb"},
	} {
		w := httptest.NewRecorder()
		p.ServeHTTP(w, httptest.NewRequest(step.method, step.path, strings.NewReader(step.body)))
		if w.Code != step.status || !strings.Contains(w.Body.String(), step.answer) {
			t.Errorf("%s: %d %s, want %d with %s", step.name, w.Code, w.Body, step.status, step.answer)
		}
	}
	if did != `"now"` {
		t.Errorf("the verb got %q", did)
	}
	if w := httptest.NewRecorder(); true {
		p.ServeHTTP(w, httptest.NewRequest("PUT", "/faults", http.NoBody))
		if w.Code != http.StatusMethodNotAllowed {
			t.Errorf("PUT is answered %d", w.Code)
		}
	}
}

// FuzzRule holds the reading of rules to: what is accepted reads back the same.
func FuzzRule(f *testing.F) {
	f.Add(`{"at":"imap.*","match":"a","skip":1,"times":2,"do":"cut-after","after":"1m","bytes":3,"status":503,"to":"Archive"}`)
	f.Add(`{"at":"[","do":"cut"}`)
	f.Fuzz(func(t *testing.T, text string) {
		var r, again faults.Rule
		if json.Unmarshal([]byte(text), &r) != nil {
			return
		}
		out, err := json.Marshal(r)
		if err == nil {
			err = json.Unmarshal(out, &again)
		}
		if err != nil || r != again {
			t.Errorf("%s reads back as %s: %v", text, out, err)
		}
	})
}
