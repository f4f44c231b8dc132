package exchange

import (
	"slices"
	"strings"
	"testing"

	"mailferry/infra/local/exchange/graph"
)

func names(list []map[string]any) (out []string) {
	for _, v := range list {
		out = append(out, v["displayName"].(string))
	}
	return out
}

// TestGraphWellKnownFolders shows that well-known names lead to the folders in every language, and
// that display names follow the mailbox's language (https://learn.microsoft.com/graph/api/resources/mailfolder).
func TestGraphWellKnownFolders(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	for name, want := range map[string][2]string{
		"inbox": {"Inbox", "Posteingang"}, "sentitems": {"Sent Items", "Gesendete Elemente"},
		"deleteditems": {"Deleted Items", "Gelöschte Elemente"}, "drafts": {"Drafts", "Entwürfe"},
		"junkemail": {"Junk Email", "Junk-E-Mail"}, "archive": {"Archive", "Archiv"}, "OUTBOX": {"Outbox", "Postausgang"},
	} {
		for i, user := range []string{anna, olaf} {
			if r := g.want(g.get("/users/"+user+"/mailFolders/"+name), 200, ""); r.body["displayName"] != want[i] {
				t.Errorf("%s of %s: got %v, want %s", name, user, r.body["displayName"], want[i])
			}
		}
	}
	g.want(g.get("/users/"+anna+"/mailFolders/Posteingang"), 400, "ErrorInvalidIdMalformed")
	g.want(g.get("/users/"+anna+"/mailFolders/syncissues"), 404, "ErrorItemNotFound") // which this mailbox has not got
	r := g.want(g.get("/users/"+olaf+"/mailFolders/msgfolderroot/childFolders?$top=100"), 200, "")
	if !slices.Contains(names(r.values()), "Gesendete Elemente") {
		t.Errorf("got %q", names(r.values()))
	}
}

// TestGraphFolderExists shows 409 for a name that is taken, whatever its case, also by a folder that is
// not listed (graph.md section 2, ErrorFolderExists).
func TestGraphFolderExists(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	base := "/users/" + anna + "/mailFolders"
	a := g.want(g.do("POST", base, map[string]any{"displayName": "Käse"}), 201, "").body["id"].(string)
	g.want(g.do("POST", base, map[string]any{"displayName": "KÄSE"}), 409, "ErrorFolderExists")
	g.want(g.do("POST", base, map[string]any{"displayName": "sent items"}), 409, "ErrorFolderExists")
	b := g.want(g.do("POST", base+"/"+a+"/childFolders", map[string]any{"displayName": "Käse"}), 201, "").body["id"].(string)
	g.want(g.do("PATCH", base+"/"+b, map[string]any{"displayName": "Brot"}), 200, "")
	g.want(g.do("POST", base, map[string]any{"displayName": "Brot"}), 201, "")
	g.want(g.do("POST", base+"/"+b+"/move", map[string]any{"destinationId": "msgfolderroot"}), 409, "ErrorFolderExists")
}

// TestGraphFolderClasses shows that a folder which IMAP made is not listed, and is once its class is
// put right (graph.md section 1a, issue 3).
func TestGraphFolderClasses(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	if err := login(t, s, anna).Create("By IMAP", nil).Wait(); err != nil {
		t.Fatal(err)
	}
	base := "/users/" + anna + "/mailFolders"
	list := func() []string { return names(g.want(g.get(base+"?$top=100"), 200, "").values()) }
	if slices.Contains(list(), "By IMAP") {
		t.Error("a folder of class IPF.Imap is listed")
	}
	g.want(g.do("POST", base, map[string]any{"displayName": "by imap"}), 409, "ErrorFolderExists")
	for _, name := range []string{"Calendar", "contacts", "Tasks", "notes", "Journal"} { // no mail folders
		g.want(g.do("POST", base, map[string]any{"displayName": name}), 409, "ErrorFolderExists")
		if slices.Contains(list(), name) {
			t.Errorf("%s is listed", name)
		}
	}
	r := g.want(g.do("POST", base, map[string]any{"displayName": "Minutes", props: []any{prop("String 0x3613", "IPF.Imap")}}), 201, "")
	id := r.body["id"].(string)
	if slices.Contains(list(), "Minutes") {
		t.Error("a folder of class IPF.Imap is listed")
	}
	g.want(g.do("PATCH", base+"/"+id, map[string]any{props: []any{prop("String 0x3613", "IPF.Note")}}), 200, "")
	r = g.want(g.get(base+"?$top=100&$filter="+esc(props+"/Any(ep: ep/id eq 'String 0x3613' and ep/value eq 'ipf.note')")), 200, "")
	if !slices.Contains(names(r.values()), "Minutes") {
		t.Errorf("got %q", names(r.values()))
	}
}

// TestGraphHiddenFolders shows that hidden folders are listed on demand only
// (https://learn.microsoft.com/graph/api/user-list-mailfolders, includeHiddenFolders).
func TestGraphHiddenFolders(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	base := "/users/" + anna + "/mailFolders"
	g.want(g.do("POST", base, map[string]any{"displayName": "Secret", "isHidden": true}), 201, "")
	if r := g.want(g.get(base+"?$top=100"), 200, ""); slices.Contains(names(r.values()), "Secret") {
		t.Error("a hidden folder is listed")
	}
	r := g.want(g.get(base+"?$top=100&includeHiddenFolders=true"), 200, "")
	if !slices.Contains(names(r.values()), "Secret") {
		t.Errorf("got %q", names(r.values()))
	}
	if r = g.want(g.get(base+"/msgfolderroot"), 200, ""); r.body["childFolderCount"] != 8.0 {
		t.Errorf("got %v child folders", r.body["childFolderCount"])
	}
}

// TestGraphFolderTree moves, copies, renames and deletes folders
// (https://learn.microsoft.com/graph/api/resources/mailfolder).
func TestGraphFolderTree(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	base := "/users/" + anna + "/mailFolders"
	create := func(parent, name string) string {
		t.Helper()
		return g.want(g.do("POST", base+"/"+parent+"/childFolders", map[string]any{"displayName": name}), 201, "").body["id"].(string)
	}
	a := create("inbox", "A")
	b := create(a, "B")
	g.make(anna, b, 3)
	copied := g.want(g.do("POST", base+"/"+a+"/copy", map[string]any{"destinationId": a}), 201, "").body["id"].(string)
	m, _ := s.Mailbox(anna)
	if n := m.Stats().Messages; n != 6 || copied == a {
		t.Errorf("got %d messages", n)
	}
	g.want(g.do("POST", base+"/"+a+"/move", map[string]any{"destinationId": b}), 400, "ErrorMoveDistinguishedFolder")
	g.want(g.do("POST", base+"/inbox/move", map[string]any{"destinationId": "archive"}), 400, "ErrorMoveDistinguishedFolder")
	g.want(g.do("DELETE", base+"/inbox", nil), 400, "ErrorDeleteDistinguishedFolder")
	g.want(g.do("DELETE", base+"/"+copied, nil), 204, "")
	if r := g.want(g.get(base+"/deleteditems/childFolders"), 200, ""); !slices.Equal(names(r.values()), []string{"A"}) {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.do("DELETE", base+"/"+copied, nil), 204, "")
	g.want(g.get(base+"/"+copied), 404, "ErrorItemNotFound")
	if n := m.Stats().Messages; n != 3 {
		t.Errorf("got %d messages", n)
	}
}

// TestGraphFolderLimits shows the limits on names and on the tree (Exchange Online limits, "Mailbox
// folder limits").
func TestGraphFolderLimits(t *testing.T) {
	g := newGraph(t, start(t, Options{Graph: graph.Limits{FolderDepth: 3, Subfolders: 15}}))
	base := "/users/" + anna + "/mailFolders"
	for _, name := range []string{"", "  ", strings.Repeat("ä", 256)} {
		g.want(g.do("POST", base, map[string]any{"displayName": name}), 400, "ErrorInvalidRequest")
	}
	g.want(g.do("POST", base, map[string]any{}), 400, "ErrorInvalidRequest")
	g.want(g.do("POST", base, map[string]any{"displayName": "A", "wellKnownName": "a"}), 400, "RequestBodyRead")
	at := g.want(g.do("POST", base, map[string]any{"displayName": strings.Repeat("ä", 255)}), 201, "").body["id"].(string)
	g.want(g.do("POST", base, map[string]any{"displayName": "one too many"}), 400, "ErrorInvalidRequest")
	for range 2 {
		at = g.want(g.do("POST", base+"/"+at+"/childFolders", map[string]any{"displayName": "deeper"}), 201, "").body["id"].(string)
	}
	g.want(g.do("POST", base+"/"+at+"/childFolders", map[string]any{"displayName": "too deep"}), 400, "ErrorInvalidRequest")
}
