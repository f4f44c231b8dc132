package exchange

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/exchange/token"
)

// graphClient speaks to the Graph face with nothing but net/http.
type graphClient struct {
	t     *testing.T
	http  *http.Client
	base  string
	token string
}

func newGraph(t *testing.T, s *Server) *graphClient {
	t.Helper()
	return &graphClient{t, httpClient(t, s), s.GraphURL(), fetchToken(t, s, token.Graph+"/.default")}
}

// reply is what came back, with the body decoded if it is JSON.
type reply struct {
	status int
	header http.Header
	body   map[string]any
	raw    string
}

func (r reply) code() string {
	e, _ := r.body["error"].(map[string]any)
	code, _ := e["code"].(string)
	return code
}

func (r reply) values() []map[string]any {
	list, _ := r.body["value"].([]any)
	var out []map[string]any
	for _, v := range list {
		out = append(out, v.(map[string]any))
	}
	return out
}

// do sends body as JSON, or as it is if it is a string. Headers are "Name: value".
func (g *graphClient) do(method, path string, body any, headers ...string) reply {
	g.t.Helper()
	var in io.Reader
	typ := "application/json"
	switch b := body.(type) {
	case nil:
	case string:
		in, typ = strings.NewReader(b), "text/plain"
	default:
		j, err := json.Marshal(b)
		if err != nil {
			g.t.Fatal(err)
		}
		in = bytes.NewReader(j)
	}
	if !strings.HasPrefix(path, "https://") {
		path = g.base + path
	}
	req, err := http.NewRequest(method, path, in)
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+g.token)
	if in != nil {
		req.Header.Set("Content-Type", typ)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	res, err := g.http.Do(req)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return readReply(g.t, res, raw)
}

func readReply(t *testing.T, res *http.Response, raw []byte) reply {
	t.Helper()
	out := reply{status: res.StatusCode, header: res.Header, raw: string(raw)}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(raw, &out.body); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func (g *graphClient) get(path string, headers ...string) reply {
	g.t.Helper()
	return g.do("GET", path, nil, headers...)
}

// want fails the test unless the status is right.
func (g *graphClient) want(r reply, status int, code string) reply {
	g.t.Helper()
	if r.status != status || r.code() != code {
		g.t.Fatalf("got %d %q, want %d %q: %.300s", r.status, r.code(), status, code, r.raw)
	}
	return r
}

func esc(s string) string { return url.QueryEscape(s) }

const props = "singleValueExtendedProperties"

func TestGraphShowsAppended(t *testing.T) {
	s := start(t, Options{})
	put(t, login(t, s, anna), "INBOX", letter)
	g := newGraph(t, s)
	r := g.want(g.get("/users/"+anna+"/mailFolders/inbox/messages?$filter="+esc("internetMessageId eq '<ONE@contoso.test>'")+
		"&$expand="+esc(props+"($filter=id eq 'Integer 0x0E07' or id eq 'String 0x001A')")), 200, "")
	if len(r.values()) != 1 {
		t.Fatalf("got %d messages", len(r.values()))
	}
	m := r.values()[0]
	for name, want := range map[string]any{
		"subject": "Grüße", "receivedDateTime": "2019-03-04T10:11:12Z", "sentDateTime": "2019-03-04T10:11:00Z",
		"isDraft": false, "isRead": false, "bodyPreview": "Hello", "internetMessageId": "<one@contoso.test>", "hasAttachments": false,
		"from":         map[string]any{"emailAddress": map[string]any{"name": "Jürgen", "address": "j@contoso.test"}},
		"toRecipients": []any{map[string]any{"emailAddress": map[string]any{"name": "Anna", "address": "anna@contoso.test"}}},
		props:          []any{map[string]any{"id": "Integer 0xe07", "value": "2"}, map[string]any{"id": "String 0x1a", "value": "IPM.Note"}},
	} {
		if got := fmt.Sprint(m[name]); got != fmt.Sprint(want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}

func TestGraphUsers(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	m, _ := s.Mailbox(anna)
	r := g.want(g.get("/users/ANNA@contoso.test?$select=id,proxyAddresses,accountEnabled"), 200, "")
	if r.body["id"] != m.User().ID || r.body["mail"] != nil || len(r.body["proxyAddresses"].([]any)) != 2 {
		t.Errorf("got %v", r.body)
	}
	find := "/users?$select=id&$filter=" + esc("proxyAddresses/any(x:x eq 'SMTP:A.Alias@contoso.test')")
	if r = g.want(g.get(find), 200, ""); len(r.values()) != 1 || r.values()[0]["id"] != m.User().ID {
		t.Errorf("got %v", r.body)
	}
	g.want(g.get("/users/a.alias@contoso.test"), 404, "Request_ResourceNotFound")
	g.want(g.get("/users/nobody@contoso.test/mailFolders"), 404, "ErrorInvalidUser")
	g.want(g.get("/users/a.alias@contoso.test/mailFolders"), 404, "ErrorInvalidUser")
	g.want(g.get("/users/nobox@contoso.test/mailFolders/inbox"), 404, "MailboxNotEnabledForRESTAPI")
	g.want(g.get("/users?$filter="+esc("userPrincipalName ne 'x'")), 400, "Request_UnsupportedQuery")
	g.want(g.get("/users?$count=true&$filter="+esc("userPrincipalName ne 'x'"), "ConsistencyLevel: eventual"), 200, "")
	g.want(g.get("/users?$filter="+esc("shoeSize eq 4")), 400, "RequestBroker--ParseUri")
	r = g.want(g.get("/users/"+anna+"/settings/exchange"), 200, "")
	if want := "MBX:" + m.User().MailboxGUID + "@" + DefaultTenantID; r.body["primaryMailboxId"] != want {
		t.Errorf("got %v, want %s", r.body["primaryMailboxId"], want)
	}
}

func TestGraphFolders(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	base := "/users/" + olaf + "/mailFolders"
	for i := range 12 {
		g.want(g.do("POST", base, map[string]any{"displayName": fmt.Sprintf("Ordner %02d", i)}), 201, "")
	}
	g.want(g.do("POST", base, map[string]any{"displayName": "ORDNER 03"}), 409, "ErrorFolderExists")
	g.want(g.do("POST", base, map[string]any{"displayName": "posteingang"}), 409, "ErrorFolderExists")
	if err := login(t, s, olaf).Create("Nur IMAP", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	g.want(g.do("POST", base, map[string]any{"displayName": "nur imap"}), 409, "ErrorFolderExists")
	var names []string
	pages := 0
	for next := base; next != ""; pages++ {
		r := g.want(g.get(next), 200, "")
		for _, v := range r.values() {
			names = append(names, v["displayName"].(string))
		}
		if next, _ = r.body["@odata.nextLink"].(string); next != "" && len(r.values()) != 10 {
			t.Errorf("got a page of %d", len(r.values()))
		}
	}
	if pages != 2 || len(names) != 20 || slices.Contains(names, "Nur IMAP") || !slices.Contains(names, "Gesendete Elemente") {
		t.Errorf("got %d pages with %q", pages, names)
	}
	r := g.want(g.get(base+"?$filter="+esc("displayName eq 'ordner 05'")+"&$expand="+esc(props+"($filter=id eq 'String 0x3613')")), 200, "")
	folder := r.values()[0]
	if fmt.Sprint(folder[props]) != "[map[id:String 0x3613 value:IPF.Note]]" {
		t.Errorf("got %v", folder)
	}
	child := base + "/" + folder["id"].(string) + "/childFolders"
	g.want(g.do("POST", child, map[string]any{"displayName": "Kind"}), 201, "")
	if r = g.want(g.get(child), 200, ""); len(r.values()) != 1 {
		t.Errorf("got %v", r.body)
	}
	g.want(g.do("DELETE", base+"/inbox", nil), 400, "ErrorDeleteDistinguishedFolder")
	g.want(g.get(base+"/nonsense"), 400, "ErrorInvalidIdMalformed")
	id := folder["id"].(string)
	g.want(g.get("/users/"+anna+"/mailFolders/"+id), 404, "ErrorItemNotFound")
}

// TestGraphDrafts shows what decides on being a draft: MIME always makes one,
// JSON with 0x0E07 does not, and nothing changes it later.
func TestGraphDrafts(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	base := "/users/" + anna
	encoded := base64.StdEncoding.EncodeToString([]byte(letter))
	r := g.want(g.do("POST", base+"/messages", encoded), 201, "")
	path := base + "/messages/" + r.body["id"].(string)
	clear := map[string]any{"isDraft": false, props: []any{map[string]any{"id": "Integer 0x0E07", "value": "1"}}}
	g.want(g.do("PATCH", path, clear), 200, "")
	if r = g.want(g.get(path), 200, ""); r.body["isDraft"] != true || r.body["receivedDateTime"] == "2019-03-04T10:11:12Z" {
		t.Errorf("got %v", r.raw)
	}
	g.want(g.do("POST", base+"/messages", "?"), 400, "ErrorMimeContentInvalidBase64String")
	bare := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(letter, "\r\n", "\n")))
	g.want(g.do("POST", base+"/messages", bare), 400, "UnableToDeserializePostBody")
	g.want(g.do("POST", base+"/mailFolders/inbox/messages", encoded), 400, "UnableToDeserializePostBody")
	g.want(g.do("POST", base+"/messages", strings.Repeat("A", 4<<20+4)), 413, "BadRequest")

	key := "String {6F1F3E52-0C8B-4D7B-9D62-0123456789AB} Name SourceKey"
	r = g.want(g.do("POST", base+"/mailFolders/inbox/messages", map[string]any{
		"subject": "Alt", "receivedDateTime": "2001-01-01T00:00:00Z", "isRead": true, "categories": []string{"Blau"},
		"flag": map[string]any{"flagStatus": "flagged"}, "internetMessageId": "<alt@contoso.test>",
		props: []any{
			map[string]any{"id": "Integer 0x0E07", "value": "1"}, map[string]any{"id": "SystemTime 0x0E06", "value": "2019-03-04T10:11:12.000Z"},
			map[string]any{"id": "SystemTime 0x0039", "value": "2019-03-04T10:11:00Z"}, map[string]any{"id": key, "value": "AbC"},
		},
	}), 201, "")
	if r.body["isDraft"] != false || r.body["receivedDateTime"] != "2019-03-04T10:11:12Z" || r.body["sentDateTime"] != "2019-03-04T10:11:00Z" {
		t.Errorf("got %v", r.raw)
	}
	filter := fmt.Sprintf("%s/Any(ep: ep/id eq '%s' and ep/value eq 'aBc')", props, key)
	r = g.want(g.get(base+"/messages?$filter="+esc(filter)), 200, "")
	if len(r.values()) != 1 {
		t.Errorf("got %v", r.raw)
	}
	for _, headers := range []any{[]any{}, slices.Repeat([]any{map[string]any{"name": "x-a", "value": "b"}}, 6)} {
		g.want(g.do("POST", base+"/messages", map[string]any{"internetMessageHeaders": headers}), 400, "InvalidInternetMessageHeaderCollection")
	}
	plain := []any{map[string]any{"name": "Received", "value": "b"}}
	g.want(g.do("POST", base+"/messages", map[string]any{"internetMessageHeaders": plain}), 400, "InvalidInternetMessageHeader")
}

func TestGraphPagesAndOrder(t *testing.T) {
	s := start(t, Options{})
	c := login(t, s, anna)
	for range 25 {
		put(t, c, "INBOX", letter)
		received = received.Add(time.Hour)
	}
	t.Cleanup(func() { received = received.Add(-25 * time.Hour) })
	g := newGraph(t, s)
	path := "/users/" + anna + "/messages"
	var dates []string
	pages := 0
	for next := path + "?$select=receivedDateTime&$count=true"; next != ""; pages++ {
		r := g.want(g.get(next), 200, "")
		for _, v := range r.values() {
			if len(v) != 3 {
				t.Errorf("got %v, want id, etag and date only", v)
			}
			dates = append(dates, v["receivedDateTime"].(string))
		}
		if r.body["@odata.count"] != 25.0 {
			t.Errorf("got count %v", r.body["@odata.count"])
		}
		next, _ = r.body["@odata.nextLink"].(string)
	}
	if pages != 3 || len(dates) != 25 || !slices.IsSortedFunc(dates, func(a, b string) int { return strings.Compare(b, a) }) {
		t.Errorf("got %d pages with %v", pages, dates)
	}
	filter := "$filter=" + esc("receivedDateTime ge 2019-03-04T12:00:00Z and receivedDateTime lt 2019-03-04T15:00:00Z")
	r := g.want(g.get(path+"?"+filter+"&$orderby="+esc("receivedDateTime asc")), 200, "")
	if v := r.values(); len(v) != 3 || v[0]["receivedDateTime"] != "2019-03-04T12:11:12Z" {
		t.Errorf("got %v", r.raw)
	}
	g.want(g.get(path+"?"+filter+"&$orderby=subject"), 400, "InefficientFilter")
	g.want(g.get(path+"?$top=1001"), 400, "BadRequest")
	if r = g.want(g.get(path+"/$count"), 200, ""); r.raw != "25" {
		t.Errorf("got %q", r.raw)
	}
}

func TestGraphIDsAndMoves(t *testing.T) {
	s := start(t, Options{})
	put(t, login(t, s, anna), "INBOX", letter)
	g := newGraph(t, s)
	path := "/users/" + anna + "/messages"
	const prefer = `Prefer: IdType="ImmutableId"`
	r := g.want(g.get(path, prefer), 200, "")
	if r.header.Get("Preference-Applied") == "" {
		t.Error("no Preference-Applied")
	}
	immutable := r.values()[0]["id"].(string)
	ordinary := g.want(g.get(path), 200, "").values()[0]["id"].(string)
	move := map[string]any{"destinationId": "archive"}
	moved := g.want(g.do("POST", path+"/"+ordinary+"/move", move), 201, "")
	if moved.body["id"] == ordinary {
		t.Error("an ordinary id survived a move")
	}
	g.want(g.get(path+"/"+ordinary), 404, "ErrorItemNotFound")
	if r = g.want(g.get(path+"/"+immutable, prefer), 200, ""); r.body["id"] != immutable {
		t.Errorf("got %v", r.body["id"])
	}
	g.want(g.do("PATCH", path+"/"+immutable, map[string]any{"isRead": true, "categories": []string{"Rot"}}), 200, "")
	m, _ := s.Mailbox(anna)
	if got := m.Messages()[0]; got.Folder != "archive" || !got.IsRead || !slices.Equal(got.Categories, []string{"Rot"}) {
		t.Errorf("got %+v", got)
	}
	if r = g.want(g.get(path+"/"+immutable+"/$value"), 200, ""); r.raw == letter || !strings.HasSuffix(r.raw, "\r\n\r\nHello\r\n") {
		t.Errorf("got %q, want the message rebuilt", r.raw)
	}
	g.want(g.get("/users/"+anna+"/mailFolders/archive/messages/"+immutable+"/$value"), 405, "ErrorInvalidRequest")
	g.want(g.do("DELETE", path+"/"+immutable, nil), 204, "")
	g.want(g.get(path+"/"+immutable), 404, "ErrorItemNotFound")
	if n := m.Stats().Messages; n != 0 {
		t.Errorf("got %d messages", n)
	}
}

func TestGraphTokens(t *testing.T) {
	now := time.Now()
	s := start(t, Options{Now: func() time.Time { return now }})
	g := newGraph(t, s)
	good := g.token
	g.token = fetchToken(t, s, token.Outlook+"/.default")
	g.want(g.get("/users"), 401, "InvalidAuthenticationToken")
	g.token = good[:len(good)-3] + "AAA"
	g.want(g.get("/users"), 401, "InvalidAuthenticationToken")
	g.token = good
	g.want(g.get("/users"), 200, "")
	now = now.Add(time.Hour)
	g.want(g.get("/users"), 401, "InvalidAuthenticationToken")
}

// TestGraphConcurrency holds four requests open by their bodies; the fifth is
// throttled, one to another mailbox is not.
func TestGraphConcurrency(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	g.http.Transport.(*http.Transport).ExpectContinueTimeout = time.Minute
	path := g.base + "/users/" + anna + "/mailFolders"
	done := make(chan int, 4)
	var bodies []*io.PipeWriter
	for range 4 {
		pr, pw := io.Pipe()
		bodies = append(bodies, pw)
		req, err := http.NewRequest("POST", path, pr)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+g.token)
		req.Header.Set("Expect", "100-continue")
		go func() {
			res, err := g.http.Do(req)
			if err != nil {
				done <- 0
				return
			}
			res.Body.Close()
			done <- res.StatusCode
		}()
		// The write returns when the server, which counts the request by then, reads the body.
		if _, err := pw.Write([]byte(" ")); err != nil {
			t.Fatal(err)
		}
	}
	r := g.want(g.get("/users/"+anna+"/mailFolders"), 429, "ApplicationThrottled")
	if r.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	g.want(g.get("/users/"+olaf+"/mailFolders"), 200, "")
	for i, pw := range bodies {
		fmt.Fprintf(pw, `{"displayName":"F%d"}`, i)
		pw.Close()
	}
	for range 4 {
		if status := <-done; status != 201 {
			t.Errorf("got %d", status)
		}
	}
	g.want(g.get("/users/"+anna+"/mailFolders"), 200, "")
}
