package exchange

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/exchange/graph"
)

// session opens an upload session and returns its address.
func (g *graphClient) session(message string, size int) (address string, created reply) {
	g.t.Helper()
	created = g.want(g.do("POST", message+"/attachments/createUploadSession", map[string]any{
		"AttachmentItem": map[string]any{"attachmentType": "file", "name": "big.bin", "size": size, "isInline": false},
	}), 201, "")
	return created.body["uploadUrl"].(string), created
}

// upload sends octets from..to of content; headers as for do. No Authorization goes along.
func (g *graphClient) upload(address string, content []byte, from, to int, headers ...string) reply {
	g.t.Helper()
	req, err := http.NewRequest("PUT", address, bytes.NewReader(content[from:to]))
	if err != nil {
		g.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(content)))
	return g.send(req, headers...)
}

func (g *graphClient) send(req *http.Request, headers ...string) reply {
	g.t.Helper()
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

func pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7 / 3)
	}
	return b
}

// TestGraphUploadSession puts a file of 9 MB to a message in chunks, on a second host and without
// Authorization (graph.md section 1f; https://learn.microsoft.com/graph/outlook-large-attachments).
func TestGraphUploadSession(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 1)[0]
	content := pattern(9<<20 + 5)
	address, created := g.session(path, len(content))
	u, err := url.Parse(address)
	if err != nil || "https://"+u.Host == s.TokenURL() || u.Hostname() != "localhost" || u.Query().Get("authtoken") == "" ||
		fmt.Sprint(created.body["nextExpectedRanges"]) != "[0-]" || created.body["expirationDateTime"] == nil {
		t.Fatalf("got %s", created.raw)
	}
	const chunk = 4 << 20
	var last reply
	for from := 0; from < len(content); from += chunk {
		to := min(from+chunk, len(content))
		last = g.upload(address, content, from, to)
		if to < len(content) {
			if g.want(last, 200, ""); fmt.Sprint(last.body["nextExpectedRanges"]) != fmt.Sprintf("[%d]", to) || last.body["uploadUrl"] != nil {
				t.Errorf("got %s", last.raw)
			}
		}
	}
	g.want(last, 201, "")
	location := last.header.Get("Location")
	_, rest, ok := strings.Cut(location, "/Attachments('")
	if !ok || !strings.HasPrefix(location, "https://"+u.Host+"/") || last.raw != "" {
		t.Fatalf("got Location %q, body %q", location, last.raw)
	}
	id := strings.TrimSuffix(rest, "')")
	if r := g.want(g.get(path+"/attachments/"+id+"/$value"), 200, ""); r.raw != string(content) {
		t.Errorf("got %d octets, want %d", len(r.raw), len(content))
	}
	if r := g.want(g.get(path), 200, ""); r.body["hasAttachments"] != true || r.body["isDraft"] != false {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.upload(address, content, 0, 10), 404, "ErrorItemNotFound") // the session is over
}

// TestGraphUploadOrder shows that chunks come in order, in full, of at most 4 MB and without
// Authorization, and that an upload can be resumed and cancelled (graph.md section 1f).
func TestGraphUploadOrder(t *testing.T) {
	now := newClock()
	g := newGraph(t, start(t, Options{Now: now.Now, TokenLifetime: 24 * time.Hour}))
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 1)[0]
	content := pattern(5 << 20)
	address, _ := g.session(path, len(content))
	g.want(g.upload(address, content, 1<<20, 2<<20), 416, "ErrorInvalidRequest")
	g.want(g.upload(address, content, 0, len(content)), 413, "BadRequest")
	g.want(g.upload(address, content, 0, 1<<20, "Authorization: Bearer "+g.token), 401, "InvalidAuthenticationToken")
	g.want(g.upload(strings.Replace(address, "authtoken=", "authtoken=A", 1), content, 0, 1<<20), 401, "InvalidAuthenticationToken")
	for _, r := range []string{"", "bytes 0-9", "bytes 9-0/5242880", "bytes 0-1048575/99", "bytes 0-99/5242880", "bytes 0-5242880/5242880", "octets 0-1048575/5242880"} {
		g.want(g.upload(address, content, 0, 1<<20, "Content-Range: "+r), 400, "BadRequest")
	}
	g.want(g.upload(address, content, 0, 1<<20), 200, "")
	g.want(g.upload(address, content, 0, 1<<20), 416, "ErrorInvalidRequest") // once more
	req, err := http.NewRequest("GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r := g.want(g.send(req), 200, ""); fmt.Sprint(r.body["nextExpectedRanges"]) != "[1048576]" {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.upload(address, content, 1<<20, 5<<20), 201, "")

	cancelled, _ := g.session(path, len(content))
	if req, err = http.NewRequest("DELETE", cancelled, nil); err != nil {
		t.Fatal(err)
	}
	g.want(g.send(req), 204, "")
	g.want(g.upload(cancelled, content, 0, 1<<20), 404, "ErrorItemNotFound")

	expired, _ := g.session(path, len(content))
	now.advance(time.Hour)
	g.want(g.upload(expired, content, 0, 1<<20), 401, "InvalidAuthenticationToken")
	if r := g.want(g.get(path+"/attachments?$select=name"), 200, ""); len(r.values()) != 1 {
		t.Errorf("got %s", r.raw)
	}
}

// TestGraphUploadSizes shows what an upload session is for: files of 3 to 150 MB that the mailbox takes
// (graph.md section 1f; ErrorAttachmentSizeShouldNotBeLessThanMinimumSize).
func TestGraphUploadSizes(t *testing.T) {
	g := newGraph(t, start(t, Options{MaxMessageSize: 100 << 20}))
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 1)[0] + "/attachments/createUploadSession"
	open := func(item map[string]any) reply {
		return g.do("POST", path, map[string]any{"AttachmentItem": item})
	}
	item := func(size int) map[string]any {
		return map[string]any{"attachmentType": "file", "name": "x", "size": size}
	}
	g.want(open(item(3<<20-1)), 400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize")
	g.want(open(item(3<<20)), 201, "")
	g.want(open(item(150<<20+1)), 400, "ErrorAttachmentSizeLimitExceeded")
	g.want(open(item(149<<20)), 413, "ErrorMessageSizeExceeded")
	g.want(open(map[string]any{"attachmentType": "item", "name": "x", "size": 4 << 20}), 400, "ErrorInvalidRequest")
	g.want(open(map[string]any{"attachmentType": "file", "size": 4 << 20}), 400, "UnableToDeserializePostBody")
	g.want(open(map[string]any{"attachmentType": "file", "name": "x", "size": 4 << 20, "color": "red"}), 400, "RequestBodyRead")
}

// TestGraphUploadConflict shows that two uploads to one message at a time are in conflict
// (graph.md section 1f; msgraph-sdk-dotnet issue 1287).
func TestGraphUploadConflict(t *testing.T) {
	g := newGraph(t, start(t, Options{Graph: graph.Limits{Concurrent: -1}}))
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 1)[0]
	content := pattern(3 << 20)
	first, _ := g.session(path, len(content))
	second, _ := g.session(path, len(content))
	held := g.hold("PUT", first, int64(len(content)), "Content-Range: bytes 0-3145727/3145728")
	held.begin(content[:1])
	g.want(g.upload(second, content, 0, len(content)), 412, "ErrorIrresolvableConflict")
	g.want(g.do("PATCH", path, map[string]any{"isRead": true}), 412, "ErrorIrresolvableConflict")
	if status := held.finish(content[1:]); status != 201 {
		t.Errorf("got %d", status)
	}
	g.want(g.upload(second, content, 0, len(content)), 201, "")
	if r := g.want(g.get(path+"/attachments?$select=name"), 200, ""); len(r.values()) != 2 {
		t.Errorf("got %s", r.raw)
	}
}
