package exchange

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/exchange/token"
	"mailferry/infra/local/faults"
)

// doVerb asks for a verb over HTTP.
func doVerb(t *testing.T, plan *faults.Plan, verb, args string) {
	t.Helper()
	w := httptest.NewRecorder()
	plan.ServeHTTP(w, httptest.NewRequest("POST", "/do/"+verb, strings.NewReader(args)))
	if w.Code != http.StatusNoContent {
		t.Fatalf("%s: got %d %s", verb, w.Code, w.Body)
	}
}

// try is do for a connection that may be cut; the error is then not nil.
func (g *graphClient) try(method, path, body string) (int, error) {
	req, err := http.NewRequest(method, g.base+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	req.Header.Set("Content-Type", "application/json")
	res, err := g.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// TestGraphFaults shows for each action what a POST does and what its client sees, with the message
// counted in the mailbox (issue 3, "Faults on demand"; graph.md section 1a: a POST may have succeeded
// although it answered 429 or the connection died).
func TestGraphFaults(t *testing.T) {
	for _, tt := range []struct {
		name   string
		rule   faults.Rule
		status int // 0 for a connection that was cut
		made   int
	}{
		{"delay", faults.Rule{Do: faults.Delay, After: time.Millisecond}, 201, 1},
		{"answer late", faults.Rule{Do: faults.AnswerLate, After: time.Millisecond}, 201, 1},
		{"lose answer", faults.Rule{Do: faults.LoseAnswer}, 0, 1},
		{"429 after the work", faults.Rule{Do: faults.LoseAnswer, Status: 429, After: 7 * time.Second}, 429, 1},
		{"504 after the work", faults.Rule{Do: faults.LoseAnswer, Status: 504}, 504, 1},
		{"cut", faults.Rule{Do: faults.Cut}, 0, 0},
		{"cut after 3 octets", faults.Rule{Do: faults.CutAfter, Bytes: 3}, 0, 0},
		{"throttle", faults.Rule{Do: faults.Throttle, After: 7 * time.Second}, 429, 0},
		{"500", faults.Rule{Do: faults.Answer, Status: 500}, 500, 0},
		{"503", faults.Rule{Do: faults.Answer, Status: 503}, 503, 0},
		{"another mailbox", faults.Rule{Do: faults.Answer, Status: 503, Match: olaf}, 201, 1},
		{"move", faults.Rule{Do: faults.Move, To: "archive"}, 201, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan := faults.New()
			s := start(t, Options{Faults: plan})
			g := newGraph(t, s)
			m, _ := s.Mailbox(anna)
			tt.rule.At = "graph.POST"
			if tt.rule.Match == "" {
				tt.rule.Match = anna // the path has the id
			}
			plan.Add(tt.rule)
			status, err := g.try("POST", "/users/"+m.User().ID+"/mailFolders/inbox/messages", `{"subject":"x"}`)
			if status != tt.status || (err != nil) != (tt.status == 0) || m.Stats().Messages != tt.made {
				t.Errorf("got %d, %v with %d messages", status, err, m.Stats().Messages)
			}
			if want := map[bool]string{true: "archive", false: "inbox"}[tt.rule.Do == faults.Move]; tt.made == 1 && m.Messages()[0].Folder != want {
				t.Errorf("it is in %s", m.Messages()[0].Folder)
			}
		})
	}
}

// TestGraphWorkLate shows a message that comes into being after the connection died.
func TestGraphWorkLate(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	g := newGraph(t, s)
	m, _ := s.Mailbox(anna)
	changed := m.Changed()
	plan.Add(faults.Rule{At: "graph.POST", Do: faults.WorkLate, After: 20 * time.Millisecond})
	if _, err := g.try("POST", "/users/"+anna+"/messages", `{}`); err == nil {
		t.Error("the connection was not cut")
	}
	<-changed
	if n := m.Stats().Messages; n != 1 {
		t.Errorf("got %d messages", n)
	}
}

// TestGraphRefusals shows the bodies of what Graph answers on demand (graph.md section 2).
func TestGraphRefusals(t *testing.T) {
	plan := faults.New()
	g := newGraph(t, start(t, Options{Faults: plan}))
	for _, tt := range []struct {
		do      faults.Action
		status  int
		code    string
		message string
	}{
		{faults.Throttle, 429, "TooManyRequests", "Please retry again later."},
		{faults.Answer, 401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired."},
		{faults.Answer, 403, "ErrorAccessDenied", "Access to OData is disabled."},
		{faults.Answer, 404, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise."},
		{faults.Answer, 412, "ErrorIrresolvableConflict", ""},
		{faults.Answer, 500, "ErrorInternalServerError", ""},
		{faults.Answer, 503, "serviceNotAvailable", ""},
		{faults.Answer, 504, "", ""},
		{faults.Answer, 507, "UnknownError", ""},
	} {
		plan.Clear()
		plan.Add(faults.Rule{At: "graph.GET", Do: tt.do, Status: tt.status, After: 10 * time.Second})
		r := g.get("/users/" + anna + "/messages")
		if r.status != tt.status || r.code() != tt.code || tt.message != "" && r.message() != tt.message || r.header.Get("request-id") == "" {
			t.Errorf("%d: got %d %s %q", tt.status, r.status, r.code(), r.message())
		}
		if html := strings.Contains(r.raw, "<html>"); html != (tt.status == 504) {
			t.Errorf("%d: got %s", tt.status, r.raw)
		}
		if tt.status != 504 && r.header.Get("Retry-After") != "10" {
			t.Errorf("%d: got Retry-After %q", tt.status, r.header.Get("Retry-After"))
		}
	}
}

// TestGraphExpire shows a token that runs out before its time, by a rule or all of them by a verb.
func TestGraphExpire(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	g := newGraph(t, s)
	other := fetchToken(t, s, token.Graph+"/.default")
	plan.Add(faults.Rule{At: "graph.GET", Do: faults.Expire, Times: 1})
	g.want(g.get("/users"), 401, "InvalidAuthenticationToken")
	g.want(g.get("/users"), 401, "InvalidAuthenticationToken")
	if g.token != other {
		g.token = other
		g.want(g.get("/users"), 200, "")
	}
	doVerb(t, plan, "expire-tokens", "")
	g.want(g.get("/users"), 401, "InvalidAuthenticationToken")
	g.token = fetchToken(t, s, token.Graph+"/.default")
	g.want(g.get("/users"), 200, "")
}

// TestGraphMoveVerb shows that a message is moved when asked.
func TestGraphMoveVerb(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	g := newGraph(t, s)
	g.make(anna, "inbox", 2)
	doVerb(t, plan, "move", `{"mailbox":"`+anna+`","messageId":"<1.inbox@x.test>","to":"Archive"}`)
	m, _ := s.Mailbox(anna)
	var got []string
	for _, msg := range m.Messages() {
		got = append(got, msg.Folder+" "+msg.Subject)
	}
	if fmt.Sprint(got) != "[inbox Nr. 00 archive Nr. 01]" {
		t.Errorf("got %q", got)
	}
}

// TestUploadFaults shows that an upload can be resumed after each thing that happens to a chunk
// (graph.md section 1f).
func TestUploadFaults(t *testing.T) {
	plan := faults.New()
	g := newGraph(t, start(t, Options{Faults: plan}))
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 1)[0]
	content := pattern(4 << 20)
	address, _ := g.session(path, len(content))
	put := func(from, to int) (int, error) {
		req, err := http.NewRequest("PUT", address, strings.NewReader(string(content[from:to])))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content)))
		res, err := g.http.Do(req)
		if err != nil {
			return 0, err
		}
		defer res.Body.Close()
		return res.StatusCode, nil
	}
	for _, tt := range []struct {
		rule faults.Rule
		kept bool
	}{
		{faults.Rule{Do: faults.CutAfter, Bytes: 1000}, false}, {faults.Rule{Do: faults.Throttle}, false},
		{faults.Rule{Do: faults.Answer, Status: 503}, false}, {faults.Rule{Do: faults.LoseAnswer}, true},
		{faults.Rule{Do: faults.LoseAnswer, Status: 504}, true},
	} {
		tt.rule.At, tt.rule.Match, tt.rule.Times = "upload.PUT", anna, 1
		plan.Add(tt.rule)
		before := g.expected(address)
		if status, _ := put(before, before+1<<20); status == 200 {
			t.Errorf("%s: the client was told nothing", tt.rule.Do)
		}
		after := g.expected(address)
		if (after == before+1<<20) != tt.kept {
			t.Errorf("%s: the service expects %d, then %d", tt.rule.Do, before, after)
		}
	}
	at := g.expected(address)
	if status, err := put(at, len(content)); status != 201 {
		t.Fatalf("got %d, %v", status, err)
	}
	a := g.want(g.get(path+"/attachments?$select=name"), 200, "").values()[0]["id"].(string)
	if r := g.want(g.get(path+"/attachments/"+a+"/$value"), 200, ""); r.raw != string(content) {
		t.Errorf("got %d other octets", len(r.raw))
	}
}

// expected asks an upload session for the next octet.
func (g *graphClient) expected(address string) (n int) {
	g.t.Helper()
	req, err := http.NewRequest("GET", address, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r := g.want(g.send(req), 200, "")
	if _, err := fmt.Sscan(r.body["nextExpectedRanges"].([]any)[0].(string), &n); err != nil {
		g.t.Fatal(err)
	}
	return n
}

// TestTokenFaults shows what the token endpoint answers on demand.
func TestTokenFaults(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	c := httpClient(t, s)
	form := tokenForm()
	for _, tt := range []struct {
		rule   faults.Rule
		status int
		code   float64
	}{
		{faults.Rule{Do: faults.Answer, Status: 401}, 401, 7000222}, {faults.Rule{Do: faults.Throttle, After: 3 * time.Second}, 429, 90055},
		{faults.Rule{Do: faults.Answer, Status: 503}, 503, 90033}, {faults.Rule{Do: faults.Delay, After: time.Millisecond}, 200, 0},
	} {
		plan.Clear()
		tt.rule.At = "token.POST"
		plan.Add(tt.rule)
		res, err := c.PostForm(s.TokenURL()+"/"+DefaultTenantID+"/oauth2/v2.0/token", form)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		r := readReply(t, res, raw)
		codes, _ := r.body["error_codes"].([]any)
		if r.status != tt.status || tt.code != 0 && codes[0] != tt.code {
			t.Errorf("%d: got %d %s", tt.status, r.status, r.raw)
		}
	}
	plan.Clear()
	plan.Add(faults.Rule{At: "token.POST", Do: faults.Cut})
	if _, err := c.PostForm(s.TokenURL()+"/"+DefaultTenantID+"/oauth2/v2.0/token", form); err == nil {
		t.Error("the connection was not cut")
	}
}
