package faults_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/faults"
)

func TestHTTPProxy(t *testing.T) {
	got := make(chan string, 16)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- r.Method + " " + r.URL.RequestURI() + " " + r.Header.Get("X-Signed") + " " + string(body)
		w.Header().Set("ETag", `"1"`)
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, "done")
	}))
	defer upstream.Close()
	const whole = "PUT /a/b?comp=lease signature content"
	for name, test := range map[string]struct {
		rule   faults.Rule
		status int // 0: the connection breaks
		works  bool
	}{
		"forward":     {faults.Rule{At: "blob.GET", Do: faults.Cut}, 201, true},
		"other path":  {faults.Rule{At: "blob.PUT", Match: "/c", Do: faults.Cut}, 201, true},
		"delay":       {faults.Rule{At: "blob.PUT", Do: faults.Delay, After: 20 * time.Millisecond}, 201, true},
		"answer late": {faults.Rule{At: "blob.*", Do: faults.AnswerLate, After: 20 * time.Millisecond}, 201, true},
		"lose answer": {faults.Rule{At: "blob.PUT", Match: "comp=lease", Do: faults.LoseAnswer}, 0, true},
		"work late":   {faults.Rule{At: "blob.PUT", Do: faults.WorkLate, After: 20 * time.Millisecond}, 0, true},
		"cut":         {faults.Rule{At: "blob.PUT", Do: faults.Cut}, 0, false},
		"throttle":    {faults.Rule{At: "blob.PUT", Do: faults.Throttle, After: 2 * time.Second}, 503, false},
		"answer":      {faults.Rule{At: "blob.PUT", Do: faults.Answer, Status: 500}, 500, false},
	} {
		t.Run(name, func(t *testing.T) {
			plan := faults.New()
			plan.Add(test.rule)
			p, err := faults.StartHTTPProxy(t.Context(), faults.HTTPProxyOptions{Name: "blob", Upstream: upstream.URL, Plan: plan})
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			req, _ := http.NewRequestWithContext(t.Context(), "PUT", p.URL()+"/a/b?comp=lease", strings.NewReader("content"))
			req.Header.Set("X-Signed", "signature")
			began := time.Now()
			resp, err := client.Do(req)
			if (err != nil) != (test.status == 0) {
				t.Fatalf("the answer is %v, %v", resp, err)
			}
			if err == nil {
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != test.status || test.status == 201 && (string(body) != "done" || resp.Header.Get("ETag") != `"1"`) {
					t.Errorf("answered %d %q %v", resp.StatusCode, body, resp.Header)
				}
				if test.rule.Do == faults.Throttle && resp.Header.Get("Retry-After") != "2" {
					t.Errorf("Retry-After is %q", resp.Header.Get("Retry-After"))
				}
			}
			if test.works {
				if did := <-got; did != whole {
					t.Errorf("done: %q, want %q", did, whole)
				}
				if took := time.Since(began); test.rule.After > 0 && took < test.rule.After {
					t.Errorf("it took %s, less than %s", took, test.rule.After)
				}
			}
			select {
			case did := <-got:
				t.Errorf("done too: %q", did)
			default:
			}
		})
	}
}
