package exchange

import (
	"strings"
	"testing"
)

const prefer = `Prefer: IdType="ImmutableId"`

// TestGraphIDKinds shows that ids survive a move only where the header asked for such, that either kind
// is taken, and that ids have a case (graph.md section 1f;
// https://learn.microsoft.com/graph/outlook-immutable-id).
func TestGraphIDKinds(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	ordinary := g.make(anna, "inbox", 1)[0]
	path := "/users/" + anna + "/messages/"
	r := g.want(g.get(path+ordinary, prefer), 200, "")
	immutable := r.body["id"].(string)
	if immutable == ordinary || r.header.Get("Preference-Applied") != `IdType="ImmutableId"` {
		t.Errorf("got %q with %q", immutable, r.header.Get("Preference-Applied"))
	}
	if r = g.want(g.get(path+immutable), 200, ""); r.body["id"] != ordinary {
		t.Errorf("without the header the id is %q, want %q", r.body["id"], ordinary)
	}
	moved := g.want(g.do("POST", path+immutable+"/move", map[string]any{"destinationId": "archive"}, prefer), 201, "")
	if moved.body["id"] != immutable {
		t.Errorf("an immutable id became %q by a move", moved.body["id"])
	}
	g.want(g.get(path+ordinary), 404, "ErrorItemNotFound")
	again := g.want(g.get(path+immutable), 200, "").body["id"].(string)
	if again == ordinary {
		t.Error("an ordinary id survived a move")
	}
	moved = g.want(g.do("POST", path+again+"/move", map[string]any{"destinationId": "inbox"}), 201, "")
	if moved.body["id"] == again {
		t.Error("an ordinary id survived a move")
	}
	copied := g.want(g.do("POST", path+immutable+"/copy", map[string]any{"destinationId": "archive"}, prefer), 201, "")
	if copied.body["id"] == immutable {
		t.Error("a copy has the id of its original")
	}
	for _, id := range []string{strings.ToLower(immutable), "nonsense", "AAMkAM=", immutable[:len(immutable)-4]} {
		if r := g.get(path + id); r.status != 400 && r.status != 404 {
			t.Errorf("%q: got %d %s", id, r.status, r.code())
		}
	}
}

// TestGraphFolderIDs shows that the ids of folders are constant with and without the header and over
// moves (https://learn.microsoft.com/graph/outlook-immutable-id), and belong to one mailbox.
func TestGraphFolderIDs(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	base := "/users/" + anna + "/mailFolders"
	id := g.want(g.do("POST", base, map[string]any{"displayName": "A"}), 201, "").body["id"].(string)
	if r := g.want(g.get(base+"/"+id, prefer), 200, ""); r.body["id"] != id {
		t.Errorf("got %v", r.body["id"])
	}
	if r := g.want(g.do("POST", base+"/"+id+"/move", map[string]any{"destinationId": "archive"}), 201, ""); r.body["id"] != id {
		t.Errorf("got %v", r.body["id"])
	}
	if r := g.want(g.get(base+"/archive/childFolders"), 200, ""); len(r.values()) != 1 {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.do("POST", "/users/"+olaf+"/mailFolders", map[string]any{"displayName": "A"}), 201, "") // the same number
	g.want(g.get("/users/"+olaf+"/mailFolders/"+id), 404, "ErrorItemNotFound")
	g.want(g.get(base+"/A"), 400, "ErrorInvalidIdMalformed")
}

// TestGraphMessageInFolder shows that below a folder only its own messages are found.
func TestGraphMessageInFolder(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	id := g.make(anna, "inbox", 1)[0]
	g.want(g.get("/users/"+anna+"/mailFolders/inbox/messages/"+id), 200, "")
	g.want(g.get("/users/"+anna+"/mailFolders/archive/messages/"+id), 404, "ErrorItemNotFound")
	g.make(olaf, "inbox", 1) // the same number
	g.want(g.get("/users/"+olaf+"/messages/"+id), 404, "ErrorItemNotFound")
	g.want(g.do("DELETE", "/users/"+anna+"/mailFolders/inbox/messages/"+id, nil), 204, "")
	g.want(g.get("/users/"+anna+"/messages/"+id), 404, "ErrorItemNotFound")
}
