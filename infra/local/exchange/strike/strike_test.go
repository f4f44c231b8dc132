package strike

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailferry/infra/local/faults"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// part is a served handler that notes the bodies it got whole.
type part struct {
	url  string
	plan *faults.Plan
	got  chan string
}

func serve(t *testing.T) part {
	p := part{plan: faults.New(), got: make(chan string, 8)}
	h := New(Options{
		Plan: p.plan,
		At:   func(r *http.Request) (string, string) { return "part." + r.Method, r.URL.Path },
		Refuse: func(w http.ResponseWriter, _ *http.Request, status int, after time.Duration) {
			w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())))
			w.WriteHeader(status)
		},
		Next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				p.got <- string(body)
			}
			io.WriteString(w, "0123456789")
		}),
	})
	server := httptest.NewServer(h)
	p.url = server.URL
	t.Cleanup(func() {
		server.Close()
		h.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return p
}

func (p part) send(method, body string) (int, string, error) {
	req, err := http.NewRequest(method, p.url+"/box", strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// TestActions shows for each action whether the work was done and what the client saw.
func TestActions(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rule   faults.Rule
		worked bool
		status int // 0 for a connection that was cut
	}{
		{"none", faults.Rule{At: "elsewhere", Do: faults.Cut}, true, 200},
		{"delay", faults.Rule{At: "part.POST", Do: faults.Delay, After: time.Millisecond}, true, 200},
		{"answer late", faults.Rule{At: "part.POST", Do: faults.AnswerLate, After: time.Millisecond}, true, 200},
		{"lose answer", faults.Rule{At: "part.POST", Do: faults.LoseAnswer}, true, 0},
		{"answer 429 after the work", faults.Rule{At: "part.POST", Do: faults.LoseAnswer, Status: 429}, true, 429},
		{"cut", faults.Rule{At: "part.POST", Do: faults.Cut}, false, 0},
		{"cut after", faults.Rule{At: "part.POST", Do: faults.CutAfter, Bytes: 3}, false, 0},
		{"throttle", faults.Rule{At: "part.*", Do: faults.Throttle}, false, 429},
		{"throttle with 503", faults.Rule{At: "part.*", Do: faults.Throttle, Status: 503}, false, 503},
		{"answer", faults.Rule{At: "part.*", Match: "box", Do: faults.Answer, Status: 500}, false, 500},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := serve(t)
			p.plan.Add(tt.rule)
			status, _, err := p.send("POST", "letter")
			if (err != nil) != (tt.status == 0) || status != tt.status {
				t.Errorf("got %d, %v", status, err)
			}
			select {
			case got := <-p.got:
				if !tt.worked || got != "letter" {
					t.Errorf("worked with %q", got)
				}
			default:
				if tt.worked {
					t.Error("did not do the work")
				}
			}
		})
	}
}

// TestWorkLate shows that the work is done after the connection died, and not once the handler is
// closed.
func TestWorkLate(t *testing.T) {
	p := serve(t)
	p.plan.Add(faults.Rule{At: "part.POST", Do: faults.WorkLate, After: 10 * time.Millisecond, Times: 1})
	if _, _, err := p.send("POST", "letter"); err == nil {
		t.Error("the connection was not cut")
	}
	if got := <-p.got; got != "letter" {
		t.Errorf("worked with %q", got)
	}
	p.plan.Add(faults.Rule{At: "part.POST", Do: faults.WorkLate, After: time.Hour})
	if _, _, err := p.send("POST", "never"); err == nil {
		t.Error("the connection was not cut")
	}
}

// TestCutAnswer shows that a GET is cut in the middle of its answer.
func TestCutAnswer(t *testing.T) {
	p := serve(t)
	p.plan.Add(faults.Rule{At: "part.GET", Do: faults.CutAfter, Bytes: 4})
	if _, text, err := p.send("GET", ""); !errors.Is(err, io.ErrUnexpectedEOF) || text != "0123" {
		t.Errorf("got %q, %v", text, err)
	}
}

// TestRule shows that a handler finds the rules it has to carry out itself.
func TestRule(t *testing.T) {
	plan := faults.New()
	plan.Add(faults.Rule{At: "x", Do: faults.Move, To: "archive"})
	var got *faults.Rule
	h := New(Options{
		Plan: plan, At: func(*http.Request) (string, string) { return "x", "" },
		Next: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = Rule(r.Context()) }),
	})
	defer h.Close()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil))
	if got == nil || got.To != "archive" || Rule(context.Background()) != nil {
		t.Errorf("got %+v", got)
	}
}
