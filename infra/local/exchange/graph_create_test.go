package exchange

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"mailferry/infra/local/exchange/graph"
)

// expand asks for extended properties, the only way to see them.
func expand(ids ...string) string {
	return "$expand=" + esc(props+"($filter=id eq '"+strings.Join(ids, "' or id eq '")+"')")
}

// shownProps returns the extended properties of a message by id.
func shownProps(m map[string]any) map[string]string {
	out := map[string]string{}
	list, _ := m[props].([]any)
	for _, p := range list {
		p := p.(map[string]any)
		out[p["id"].(string)] = p["value"].(string)
	}
	return out
}

// TestGraphMessageFlagsAtCreation shows that bit 8 of 0x0E07 in the create body alone decides on being
// a draft, whichever of the values in use is sent (graph.md section 1a, MS-OXCMSG 2.2.1.6).
func TestGraphMessageFlagsAtCreation(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	inbox := "/users/" + anna + "/mailFolders/inbox/messages"
	for _, tt := range []struct {
		value       string
		draft, read bool
	}{{"0", false, false}, {"1", false, true}, {"4", false, false}, {"5", false, true}, {"8", true, false}, {"9", true, true}} {
		r := g.want(g.do("POST", inbox, map[string]any{props: []any{prop("Integer 0x0E07", tt.value)}}), 201, "")
		if r.body["isDraft"] != tt.draft || r.body["isRead"] != tt.read {
			t.Errorf("%s: got draft %v, read %v", tt.value, r.body["isDraft"], r.body["isRead"])
		}
	}
	r := g.want(g.do("POST", inbox, map[string]any{"isDraft": false, "subject": "without"}), 201, "")
	if r.body["isDraft"] != true {
		t.Error("a message without 0x0E07 is no draft")
	}
	r = g.want(g.do("POST", inbox, map[string]any{"isRead": true, props: []any{prop("Integer 0xe07", "0")}}), 201, "")
	if r.body["isDraft"] != false || r.body["isRead"] != true {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.do("POST", inbox, map[string]any{props: []any{prop("Integer 0x0E07", "one")}}), 400, "ErrorInvalidExtendedPropertyValue")
}

// TestGraphDraftStays shows that nothing makes a message of a draft later: each attempt is answered
// with success and changes nothing (graph.md section 1a, "Clearing draft later never works").
func TestGraphDraftStays(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	base := "/users/" + anna + "/messages"
	id := g.want(g.do("POST", base, map[string]any{"subject": "x"}, prefer), 201, "").body["id"].(string)
	flags := func() string {
		r := g.want(g.get(base+"/"+id+"?"+expand("Integer 0x0E07"), prefer), 200, "")
		return fmt.Sprint(r.body["isDraft"], shownProps(r.body))
	}
	before := flags()
	for _, body := range []map[string]any{
		{"isDraft": false}, {props: []any{prop("Integer 0x0E07", "1")}}, {props: []any{prop("Integer 0x0E07", "0")}, "isDraft": false},
	} {
		g.want(g.do("PATCH", base+"/"+id, body), 200, "")
	}
	g.want(g.do("POST", base+"/"+id+"/move", map[string]any{"destinationId": "inbox"}, prefer), 201, "")
	if after := flags(); after != before || before != "true map[Integer 0xe07:9]" {
		t.Errorf("got %s, then %s", before, after)
	}
	copied := g.want(g.do("POST", base+"/"+id+"/copy", map[string]any{"destinationId": "archive"}), 201, "")
	if copied.body["isDraft"] != true {
		t.Error("a copy of a draft is none")
	}
}

// TestGraphDatesAtCreation shows that both dates come from 0x0E06 and 0x0039 of the create body alone
// (graph.md section 1a).
func TestGraphDatesAtCreation(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	inbox := "/users/" + anna + "/mailFolders/inbox/messages"
	dates := []any{prop("SystemTime 0x0E06", "2019-03-04T10:11:12.000Z"), prop("SystemTime 0x0039", "2019-03-04T11:11:00+01:00")}
	r := g.want(g.do("POST", inbox, map[string]any{
		"receivedDateTime": "2001-01-01T00:00:00Z", "sentDateTime": "2001-01-01T00:00:00Z", props: dates,
	}), 201, "")
	got := []any{r.body["receivedDateTime"], r.body["sentDateTime"]}
	if !slices.Equal(got, []any{"2019-03-04T10:11:12Z", "2019-03-04T10:11:00Z"}) {
		t.Errorf("got %v", got)
	}
	g.want(g.do("PATCH", "/users/"+anna+"/messages/"+r.body["id"].(string), map[string]any{
		"receivedDateTime": "2002-01-01T00:00:00Z", props: []any{prop("SystemTime 0x0E06", "2002-01-01T00:00:00Z"), prop("SystemTime 0x0039", "2002-01-01T00:00:00Z")},
	}), 200, "")
	r = g.want(g.get(inbox+"?"+expand("SystemTime 0x0E06", "SystemTime 0x0039")), 200, "")
	if m := r.values()[0]; m["receivedDateTime"] != "2019-03-04T10:11:12Z" || m["sentDateTime"] != "2019-03-04T10:11:00Z" ||
		fmt.Sprint(shownProps(m)) != "map[SystemTime 0x39:2019-03-04T10:11:00Z SystemTime 0xe06:2019-03-04T10:11:12Z]" {
		t.Errorf("a later PATCH moved the dates: %s", r.raw)
	}
	r = g.want(g.do("POST", inbox, map[string]any{"receivedDateTime": "2001-01-01T00:00:00Z"}), 201, "")
	if strings.HasPrefix(r.body["receivedDateTime"].(string), "2001") {
		t.Error("a received date of the JSON body was taken")
	}
	for _, wrong := range []any{"yesterday", 5, map[string]any{"date": "2001-01-01 00:00:00.000000"}} {
		g.want(g.do("POST", inbox, map[string]any{"receivedDateTime": wrong}), 400, "UnableToDeserializePostBody")
	}
	g.want(g.do("POST", inbox, map[string]any{props: []any{prop("SystemTime 0x0E06", "2019")}}), 400, "ErrorInvalidExtendedPropertyValue")
}

// TestGraphCreateProperties shows what a create body sets (graph.md section 1a, table).
func TestGraphCreateProperties(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	headers := "Received: from a by b\r\nX-Old: kept\r\nDate: Mon, 4 Mar 2019 11:11:00 +0100\r\n"
	r := g.want(g.do("POST", "/users/"+anna+"/mailFolders/inbox/messages", map[string]any{
		"subject": "Grüße", "body": map[string]any{"contentType": "html", "content": "<p>Hallo &amp; so</p>"},
		"from": address("Jürgen", "j@x.test"), "toRecipients": []any{address("", "anna@contoso.test")}, "ccRecipients": []any{address("C", "c@x.test")},
		"replyTo": []any{address("", "r@x.test")}, "internetMessageId": "<1@x.test>", "importance": "High", "isRead": true, "categories": []string{"Blau", "Rot"},
		"flag": map[string]any{"flagStatus": "flagged", "@odata.type": "#microsoft.graph.followupFlag"},
		props: []any{
			prop("Integer 0x0E07", "1"), prop("SystemTime 0x0E06", "2019-03-04T10:11:12Z"), prop("String 0x007D", headers),
			prop("String 0x1042", "<0@x.test>"), prop("String 0x1039", "<0@x.test> <9@x.test>"), prop("Integer 0x1080", "261"), prop("Integer 0x1081", "102"),
		},
	}), 201, "")
	id := r.body["id"].(string)
	path := "/users/" + anna + "/messages/" + id
	r = g.want(g.get(path+"?"+expand("Integer 0x1080", "Integer 0x1081", "String 0x1042", "String 0x1039", "Integer 0x1090", "String 0x007D")), 200, "")
	for name, want := range map[string]any{
		"subject": "Grüße", "importance": "high", "isRead": true, "isDraft": false, "internetMessageId": "<1@x.test>", "bodyPreview": "Hallo & so",
		"flag": map[string]any{"flagStatus": "flagged"}, "categories": []any{"Blau", "Rot"}, "from": address("Jürgen", "j@x.test"), "sender": address("Jürgen", "j@x.test"),
		"replyTo": []any{address("r@x.test", "r@x.test")}, "ccRecipients": []any{address("C", "c@x.test")},
	} {
		if got := fmt.Sprint(r.body[name]); got != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	want := map[string]string{"Integer 0x1080": "261", "Integer 0x1081": "102", "String 0x1042": "<0@x.test>", "String 0x1039": "<0@x.test> <9@x.test>",
		"Integer 0x1090": "2", "String 0x7d": headers}
	if got := shownProps(r.body); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	r = g.want(g.get(path+"?$select=internetMessageHeaders"), 200, "")
	if list, _ := r.body["internetMessageHeaders"].([]any); len(list) != 3 {
		t.Errorf("got %s", r.raw)
	}
	// The MIME is made anew of the properties, without the headers that came by 0x007D.
	mime := g.want(g.get(path+"/$value"), 200, "").raw
	if strings.Contains(mime, "X-Old") || !strings.Contains(mime, "References: <0@x.test> <9@x.test>\r\n") || !strings.Contains(mime, "Message-ID: <1@x.test>\r\n") {
		t.Errorf("got %s", mime)
	}
}

func address(name, email string) map[string]any {
	return map[string]any{"emailAddress": map[string]any{"name": name, "address": email}}
}

// TestGraphHeaderRules shows the rules for internetMessageHeaders (graph.md section 1a: only x-, one to
// five, 995 characters).
func TestGraphHeaderRules(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	post := func(headers ...any) reply {
		return g.do("POST", "/users/"+anna+"/messages", map[string]any{"internetMessageHeaders": headers})
	}
	h := func(name, value string) any { return map[string]any{"name": name, "value": value} }
	g.want(post(h("x-a", "1"), h("X-B", strings.Repeat("v", 995)), h("x-c", ""), h("x-d", "4"), h("x-e", "5")), 201, "")
	for _, bad := range []any{h("Received", "x"), h("x-a b", "x"), h("x-a:", "x"), h("", "x"), h("x-", "x"), h("x-a", strings.Repeat("v", 996)), h("x-a", "b\r\nBcc: all@x.test")} {
		g.want(post(bad), 400, "InvalidInternetMessageHeader")
	}
	g.want(post(slices.Repeat([]any{h("x-a", "1")}, 6)...), 400, "InvalidInternetMessageHeaderCollection")
	g.want(g.do("POST", "/users/"+anna+"/messages", map[string]any{"internetMessageHeaders": []any{}}), 400, "InvalidInternetMessageHeaderCollection")
}

// TestGraphMIMERules shows how MIME is taken (graph.md section 1b: always a draft, not below a folder,
// bare LF and bad base64 refused, more than 2,240 kB lost where the service does so).
func TestGraphMIMERules(t *testing.T) {
	g := newGraph(t, start(t, Options{Graph: graph.Limits{LostMIME: 2240 << 10}}))
	messages, encode := "/users/"+anna+"/messages", base64.StdEncoding.EncodeToString
	r := g.want(g.do("POST", messages, encode([]byte(letter))), 201, "")
	if r.body["isDraft"] != true || strings.HasPrefix(r.body["receivedDateTime"].(string), "2019") || r.body["sentDateTime"] != "2019-03-04T10:11:00Z" {
		t.Errorf("got %s", r.raw)
	}
	drafts := g.want(g.get("/users/"+anna+"/mailFolders/drafts"), 200, "")
	if r.body["parentFolderId"] != drafts.body["id"] {
		t.Error("it is not in Drafts")
	}
	g.want(g.do("POST", "/users/"+anna+"/mailFolders/inbox/messages", encode([]byte(letter))), 400, "UnableToDeserializePostBody")
	g.want(g.do("POST", messages, encode([]byte(strings.ReplaceAll(letter, "\r\n", "\n")))), 400, "UnableToDeserializePostBody")
	for _, wrong := range []string{"?", "", encode([]byte(letter))[:21], letter} {
		g.want(g.do("POST", messages, wrong), 400, "ErrorMimeContentInvalidBase64String")
	}
	g.want(g.do("POST", messages, encode([]byte(letter)), "Content-Type: message/rfc822"), 400, "UnableToDeserializePostBody")
	before := drafts.body["totalItemCount"].(float64)
	g.want(g.do("POST", messages, encode([]byte(letter+strings.Repeat("x", 2240<<10)))), 200, "")
	if n := g.want(g.get("/users/"+anna+"/mailFolders/drafts"), 200, "").body["totalItemCount"]; n != before {
		t.Errorf("got %v drafts, want %v", n, before)
	}
}

// TestGraphMIMEBack shows where the MIME of a message is given: not below a folder, and made anew
// (graph.md section 1b; microsoft-graph-docs-contrib issue 776).
func TestGraphMIMEBack(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	id := g.want(g.do("POST", "/users/"+anna+"/messages", base64.StdEncoding.EncodeToString([]byte(letter))), 201, "").body["id"].(string)
	if r := g.want(g.get("/users/"+anna+"/messages/"+id+"/$value"), 200, ""); r.raw == letter || !strings.Contains(r.raw, "Hello") {
		t.Errorf("got %q", r.raw)
	}
	g.want(g.get("/users/"+anna+"/mailFolders/drafts/messages/"+id+"/$value"), 405, "ErrorInvalidRequest")
}

// TestGraphRequestLength shows the limit of 4 MB for a request (graph.md section 1a,
// microsoft-graph-docs-contrib issue 682).
func TestGraphRequestLength(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	messages := "/users/" + anna + "/messages"
	g.want(g.do("POST", messages, map[string]any{"body": map[string]any{"contentType": "text", "content": strings.Repeat("x", 4<<20-200)}}), 201, "")
	g.want(g.do("POST", messages, map[string]any{"body": map[string]any{"contentType": "text", "content": strings.Repeat("x", 4<<20)}}), 413, "BadRequest")
	g.want(g.do("POST", messages, strings.Repeat("A", 4<<20+4)), 413, "BadRequest")
}

// TestGraphBodies shows that bodies are read strictly: unknown and miscased names, wrong types, more
// than one value (graph.md section 2, UnableToDeserializePostBody; msgraph-sdk-dotnet issue 450).
func TestGraphBodies(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	messages := "/users/" + anna + "/messages"
	for _, tt := range []struct{ body, code string }{
		{`{"shoeSize": 4}`, "RequestBodyRead"}, {`{"Subject": "x"}`, "RequestBodyRead"}, {`{"from": {"emailAddress": {"mail": "x"}}}`, "RequestBodyRead"},
		{`{"subject": 4}`, "UnableToDeserializePostBody"}, {`{"subject": "x"`, "UnableToDeserializePostBody"}, {`{} {}`, "UnableToDeserializePostBody"},
		{`[]`, "UnableToDeserializePostBody"}, {`null`, "UnableToDeserializePostBody"}, {`{"importance": "urgent"}`, "UnableToDeserializePostBody"},
		{`{"flag": {"flagStatus": "red"}}`, "UnableToDeserializePostBody"}, {`{"@odata.type": "#microsoft.graph.message", "subject": "x"}`, ""},
		{`{"multiValueExtendedProperties": []}`, "NotImplemented"},
	} {
		r := g.do("POST", messages, tt.body, "Content-Type: application/json")
		if r.code() != tt.code {
			t.Errorf("%s: got %d %s, want %q", tt.body, r.status, r.code(), tt.code)
		}
	}
	id := g.make(anna, "inbox", 1)[0]
	g.want(g.do("PATCH", messages+"/"+id, map[string]any{"subject": "new"}), 400, "ErrorInvalidRequest") // no draft
	g.want(g.do("PATCH", messages+"/"+id, map[string]any{"shoeSize": 4}), 400, "RequestBodyRead")
}

// TestGraphRoundTrip posts back what Graph showed of a MIME draft, as DavMail does to have Exchange
// parse MIME (graph.md section 1b).
func TestGraphRoundTrip(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	parsed := g.want(g.do("POST", "/users/"+anna+"/messages", base64.StdEncoding.EncodeToString([]byte(letter))), 201, "").body
	parsed[props] = []any{prop("Integer 0x0E07", "4"), prop("SystemTime 0x0E06", "2019-03-04T10:11:12Z")}
	r := g.want(g.do("POST", "/users/"+anna+"/mailFolders/inbox/messages", parsed), 201, "")
	if r.body["isDraft"] != false || r.body["subject"] != parsed["subject"] || r.body["receivedDateTime"] != "2019-03-04T10:11:12Z" {
		t.Errorf("got %s", r.raw)
	}
}
