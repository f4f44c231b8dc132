package exchange

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/exchange/token"
	"mailferry/infra/local/faults"
)

// TestGraphErrorShape shows the body of an error, with the ids of the request (graph.md section 2;
// https://learn.microsoft.com/graph/errors).
func TestGraphErrorShape(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	r := g.want(g.get("/users/nobody@x.test/messages", "client-request-id: mine"), 404, "ErrorInvalidUser")
	inner, _ := r.body["error"].(map[string]any)["innerError"].(map[string]any)
	if inner["request-id"] == "" || inner["request-id"] != r.header.Get("request-id") || inner["client-request-id"] != "mine" || inner["date"] == nil {
		t.Errorf("got %s", r.raw)
	}
	if a, b := r.header.Get("request-id"), g.get("/users").header.Get("request-id"); a == b || b == "" {
		t.Errorf("two requests have the ids %q and %q", a, b)
	}
}

// TestGraphNoMailbox shows how Graph tells that there is no mailbox (graph.md section 2: ErrorInvalidUser,
// ResourceNotFound, Request_ResourceNotFound, MailboxNotEnabledForRESTAPI).
func TestGraphNoMailbox(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	const unknown = "0a0a0a0a-0b0b-4c0c-8d0d-0e0e0e0e0e0e"
	g.want(g.get("/users/nobody@contoso.test"), 404, "Request_ResourceNotFound")
	g.want(g.get("/users/nobody@contoso.test/messages"), 404, "ErrorInvalidUser")
	g.want(g.get("/users/"+unknown), 404, "Request_ResourceNotFound")
	g.want(g.get("/users/"+unknown+"/mailFolders/inbox"), 404, "ResourceNotFound")
	g.want(g.get("/users/nobox@contoso.test/messages"), 404, "MailboxNotEnabledForRESTAPI")
	g.want(g.get("/users/nobox@contoso.test/settings/exchange"), 404, "MailboxNotEnabledForRESTAPI")
	g.want(g.get("/users/nobox@contoso.test/mailboxSettings"), 404, "MailboxNotEnabledForRESTAPI")
	g.want(g.get("/users/nobox@contoso.test"), 200, "")
}

// TestGraphRoles shows that a token opens what its roles name, and nothing else (graph.md section 4,
// "token roles"; https://learn.microsoft.com/graph/permissions-reference).
func TestGraphRoles(t *testing.T) {
	mailbox := "/users/" + anna
	paths := []struct{ method, path string }{
		{"GET", "/users"}, {"GET", mailbox}, {"GET", mailbox + "/licenseDetails"}, {"GET", "/domains"}, {"GET", mailbox + "/mailboxSettings"},
		{"GET", mailbox + "/settings/exchange"}, {"GET", mailbox + "/messages"}, {"GET", mailbox + "/mailFolders"},
		{"POST", mailbox + "/messages"}, {"POST", mailbox + "/mailFolders"}, {"POST", mailbox + "/sendMail"},
	}
	for _, tt := range []struct {
		roles []string
		open  string // for each path, whether it is open
	}{
		{[]string{}, "-----------"},
		{[]string{"User.Read.All"}, "xxx--------"},
		{[]string{"Domain.Read.All"}, "---x-------"},
		{[]string{"MailboxSettings.Read"}, "----xx-----"},
		{[]string{"Mail.Read"}, "------xx---"},
		{[]string{"Mail.ReadWrite"}, "------xxxx-"},
		{[]string{"Mail.Send"}, "----------x"},
		{[]string{"Directory.Read.All", "Calendars.ReadWrite"}, "xxxx-------"},
	} {
		g := newGraph(t, start(t, Options{GraphRoles: tt.roles}))
		for i, p := range paths {
			var body any
			if p.method == "POST" {
				body = map[string]any{}
			}
			r := g.do(p.method, p.path, body)
			code := "ErrorAccessDenied"
			if i < 4 {
				code = "Authorization_RequestDenied"
			}
			if closed := r.status == 403 && r.code() == code; closed == (tt.open[i] == 'x') || r.status == 401 {
				t.Errorf("%v: %s %s: got %d %s", tt.roles, p.method, p.path, r.status, r.code())
			}
		}
	}
}

// TestGraphAuthentication shows what opens Graph: a bearer token of this tenant for this audience that
// has not run out (graph.md section 2, InvalidAuthenticationToken).
func TestGraphAuthentication(t *testing.T) {
	now := newClock()
	plan := faults.New()
	s := start(t, Options{Now: now.Now, Faults: plan, TokenLifetime: time.Hour})
	g := newGraph(t, s)
	good := g.token
	g.want(g.get("/users"), 200, "")
	for _, wrong := range []string{"", "x", good + "x", fetchToken(t, s, token.Outlook+"/.default"), "a.b.c"} {
		g.token = wrong
		g.want(g.get("/users"), 401, "InvalidAuthenticationToken")
	}
	g.token = good
	g.want(g.get("/users", "Authorization: Basic "+good), 401, "InvalidAuthenticationToken")
	now.advance(time.Hour - time.Second)
	g.want(g.get("/users"), 200, "")
	now.advance(time.Second)
	if r := g.want(g.get("/users"), 401, "InvalidAuthenticationToken"); !strings.Contains(r.message(), "expired") {
		t.Errorf("got %s", r.raw)
	}
}

// TestGraphQuota shows a full mailbox, and a full folder, whose code stands in the inner error only
// (graph.md section 2, ErrorQuotaExceeded).
func TestGraphQuota(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan, MaxItemsPerFolder: 2})
	g := newGraph(t, s)
	inbox := "/users/" + anna + "/mailFolders/inbox/messages"
	doVerb(t, plan, "fill-quota", `{"mailbox":"`+anna+`"}`)
	if r := g.want(g.do("POST", inbox, map[string]any{}), 403, "ErrorQuotaExceeded"); r.message() != "Mailbox has exceeded maximum mailbox size." {
		t.Errorf("got %s", r.raw)
	}
	doVerb(t, plan, "fill-quota", `{"mailbox":"`+anna+`","free":-1}`)
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 2)[0]
	content := pattern(3 << 20)
	address, _ := g.session(path, len(content))
	doVerb(t, plan, "fill-quota", `{"mailbox":"`+anna+`","free":1000}`)
	g.want(g.do("POST", path+"/attachments", file("x", make([]byte, 5000))), 403, "ErrorQuotaExceeded")
	g.want(g.upload(address, content, 0, len(content)), 403, "ErrorQuotaExceeded")
	doVerb(t, plan, "fill-quota", `{"mailbox":"`+anna+`","free":-1}`)
	g.want(g.upload(address, content, 0, len(content)), 201, "")
	r := g.want(g.do("POST", inbox, map[string]any{}), 500, "ErrorInternalServerError")
	inner, _ := r.body["error"].(map[string]any)["innerError"].(map[string]any)
	if r.message() != "Cannot save changes made to an item to store." || fmt.Sprint(inner["code"]) != "ErrorQuotaExceeded" {
		t.Errorf("got %s", r.raw)
	}
}
