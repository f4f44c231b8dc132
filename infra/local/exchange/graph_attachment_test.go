package exchange

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/emersion/go-message"
)

const fileType = "#microsoft.graph.fileAttachment"

func file(name string, content []byte) map[string]any {
	return map[string]any{"@odata.type": fileType, "name": name, "contentType": "application/pdf", "contentBytes": content}
}

// TestGraphAttachments attaches files to a message that is no draft, lists them and reads them back
// (graph.md sections 1a and 1f).
func TestGraphAttachments(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 1)[0]
	if r := g.want(g.get(path), 200, ""); r.body["hasAttachments"] != false {
		t.Error("there are attachments before there are")
	}
	first := bytes.Repeat([]byte("Größe\x00\r\n"), 30_000)
	a := g.want(g.do("POST", path+"/attachments", file("Rechnung März.pdf", first)), 201, "")
	inline := file("logo.png", []byte{1, 2, 3})
	inline["isInline"], inline["contentId"] = true, "logo@x"
	g.want(g.do("POST", path+"/attachments", inline), 201, "")
	g.want(g.do("POST", path+"/attachments", file("empty", []byte{})), 201, "")
	r := g.want(g.get(path+"/attachments"), 200, "")
	if len(r.values()) != 3 {
		t.Fatalf("got %s", r.raw)
	}
	got := r.values()[0]
	if got["id"] != a.body["id"] || got["name"] != "Rechnung März.pdf" || got["contentType"] != "application/pdf" || got["isInline"] != false ||
		got["contentBytes"] != base64.StdEncoding.EncodeToString(first) || got["size"].(float64) <= float64(len(first)) {
		t.Errorf("got %.300v", got)
	}
	if got = r.values()[1]; got["isInline"] != true || got["contentId"] != "logo@x" {
		t.Errorf("got %v", got)
	}
	if r = g.want(g.get(path+"/attachments?$select=name,size"), 200, ""); r.values()[0]["contentBytes"] != nil || r.values()[0]["name"] == nil {
		t.Errorf("got %.300s", r.raw)
	}
	one := path + "/attachments/" + a.body["id"].(string)
	if r = g.want(g.get(one+"/$value"), 200, ""); r.raw != string(first) {
		t.Errorf("got %d octets, want %d", len(r.raw), len(first))
	}
	if r = g.want(g.get(one+"?$select=name"), 200, ""); r.body["@odata.type"] != fileType || r.body["contentBytes"] != nil {
		t.Errorf("got %.300s", r.raw)
	}
	if r = g.want(g.get(path+"?$expand=attachments"), 200, ""); r.body["hasAttachments"] != true || len(r.body["attachments"].([]any)) != 3 || r.body["isDraft"] != false {
		t.Errorf("got %.300s", r.raw)
	}
	checkMIME(t, g.want(g.get(path+"/$value"), 200, "").raw, string(first))
}

// checkMIME looks for a content among the parts of MIME.
func checkMIME(t *testing.T, raw, content string) {
	t.Helper()
	e, err := message.Read(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	if err := e.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil {
			return err
		}
		if typ, _, _ := part.Header.ContentType(); !strings.HasPrefix(typ, "multipart/") {
			b, err := io.ReadAll(part.Body)
			found = found || string(b) == content
			return err
		}
		return nil
	}); err != nil || !found {
		t.Errorf("the attachment is not in the MIME (%v): %.500s", err, raw)
	}
}

// TestGraphAttachmentsInCreate shows that a create body may hold files, and that hasAttachments does
// not count inline ones (https://learn.microsoft.com/graph/api/resources/message).
func TestGraphAttachmentsInCreate(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	inline := file("logo.png", []byte{1})
	inline["isInline"] = true
	for _, tt := range []struct {
		files []any
		has   bool
	}{{[]any{inline}, false}, {[]any{inline, file("a.pdf", []byte("a"))}, true}} {
		r := g.want(g.do("POST", "/users/"+anna+"/messages", map[string]any{"attachments": tt.files}), 201, "")
		list := g.want(g.get("/users/"+anna+"/messages/"+r.body["id"].(string)+"/attachments"), 200, "").values()
		if r.body["hasAttachments"] != tt.has || len(list) != len(tt.files) {
			t.Errorf("got %v with %d attachments", r.body["hasAttachments"], len(list))
		}
	}
}

// TestGraphAttachmentsOfMIME shows what becomes of the parts of a message that came as MIME, a message
// in it included (graph.md section 1f).
func TestGraphAttachmentsOfMIME(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	put(t, login(t, s, anna), "INBOX", strings.ReplaceAll(`From: a@x.test
Subject: Parts
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

Text
--b
Content-Type: text/plain; name="=?utf-8?q?gr=C3=BCn.txt?="
Content-Disposition: attachment

green
--b
Content-Type: message/rfc822

Subject: Inner

Inner text
--b--
`, "\n", "\r\n"))
	m := g.want(g.get("/users/"+anna+"/messages?$expand=attachments"), 200, "").values()[0]
	var got []string
	for _, a := range m["attachments"].([]any) {
		a := a.(map[string]any)
		got = append(got, fmt.Sprint(a["@odata.type"], a["name"]))
	}
	if fmt.Sprint(got) != "[#microsoft.graph.fileAttachmentgrün.txt #microsoft.graph.itemAttachment]" || m["hasAttachments"] != true || m["bodyPreview"] != "Text" {
		t.Errorf("got %q, %v, %v", got, m["hasAttachments"], m["bodyPreview"])
	}
	// A further file goes beside the parts that are there.
	path := "/users/" + anna + "/messages/" + m["id"].(string)
	g.want(g.do("POST", path+"/attachments", file("new", []byte("new"))), 201, "")
	if r := g.want(g.get(path+"/attachments"), 200, ""); len(r.values()) != 3 {
		t.Errorf("got %s", r.raw)
	}
}

// TestGraphAttachmentRefusals shows what cannot be attached (graph.md section 1f).
func TestGraphAttachmentRefusals(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	id := g.make(anna, "inbox", 1)[0]
	path := "/users/" + anna + "/messages/" + id + "/attachments"
	item := func(inner map[string]any) map[string]any {
		return map[string]any{"@odata.type": "#microsoft.graph.itemAttachment", "name": "x", "item": inner}
	}
	for _, tt := range []struct {
		body   map[string]any
		status int
		code   string
	}{
		{map[string]any{"name": "x", "contentBytes": []byte("x")}, 400, "UnableToDeserializePostBody"}, // no type
		{map[string]any{"@odata.type": fileType, "contentBytes": []byte("x")}, 400, "ErrorInvalidRequest"},
		{map[string]any{"@odata.type": fileType, "name": "x"}, 400, "ErrorInvalidRequest"},
		{map[string]any{"@odata.type": fileType, "name": "x", "contentBytes": "?"}, 400, "UnableToDeserializePostBody"},
		{map[string]any{"@odata.type": fileType, "name": "x", "contentBytes": []byte("x"), "path": "y"}, 400, "RequestBodyRead"},
		{item(map[string]any{"subject": "x", "isDraft": false}), 400, "UnableToDeserializePostBody"}, // corso issue 2372
		{item(map[string]any{"subject": "x", "isOrganizer": false}), 400, "UnableToDeserializePostBody"},
		{item(map[string]any{"subject": "x"}), 501, "NotImplemented"},
		{file("big", make([]byte, 3<<20)), 413, "BadRequest"}, // base64 of 3 MB is 4 MB
	} {
		g.want(g.do("POST", path, tt.body), tt.status, tt.code)
	}
	g.want(g.do("POST", path, file("nearly", make([]byte, 3<<20-1000))), 201, "")
	g.want(g.get(path+"/nonsense"), 400, "ErrorInvalidIdMalformed")
	other := g.make(anna, "archive", 1)[0]
	a := g.want(g.get(path), 200, "").values()[0]["id"].(string)
	g.want(g.get("/users/"+anna+"/messages/"+other+"/attachments/"+a), 404, "ErrorItemNotFound")
	g.want(g.get("/users/"+anna+"/messages/"+a), 400, "ErrorInvalidIdMalformed")
	// Olaf's mailbox takes 2,000 octets (MaxReceiveSize).
	small := g.make(olaf, "inbox", 1)[0]
	g.want(g.do("POST", "/users/"+olaf+"/messages/"+small+"/attachments", file("x", make([]byte, 3000))), 413, "ErrorMessageSizeExceeded")
}
