package exchange

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"mailferry/infra/local/exchange/graph"
)

// make puts n messages into a folder by JSON, received a minute apart, and returns their ids.
func (g *graphClient) make(user, folder string, n int) (ids []string) {
	g.t.Helper()
	for i := range n {
		r := g.want(g.do("POST", "/users/"+user+"/mailFolders/"+folder+"/messages", map[string]any{
			"subject": fmt.Sprintf("Nr. %02d", i), "internetMessageId": fmt.Sprintf("<%d.%s@x.test>", i, folder),
			props: []any{prop("Integer 0x0E07", "1"), prop("SystemTime 0x0E06", fmt.Sprintf("2019-03-04T10:%02d:00Z", i))},
		}), 201, "")
		ids = append(ids, r.body["id"].(string))
	}
	return ids
}

func prop(id, value string) map[string]any { return map[string]any{"id": id, "value": value} }

// pages follows the links from path and returns the sizes of the pages and all values.
func (g *graphClient) pages(path string) (sizes []int, all []map[string]any) {
	g.t.Helper()
	for next := path; next != ""; {
		r := g.want(g.get(next), 200, "")
		sizes, all = append(sizes, len(r.values())), append(all, r.values()...)
		next, _ = r.body["@odata.nextLink"].(string)
	}
	return sizes, all
}

// TestGraphPageSizes shows pages of ten, $top up to 1000, and a service that gives less than was asked
// for (graph.md section 2, "default page is 10"; https://learn.microsoft.com/graph/paging).
func TestGraphPageSizes(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	g.make(anna, "inbox", 23)
	base := "/users/" + anna + "/messages"
	for _, tt := range []struct {
		query string
		want  []int
	}{{"", []int{10, 10, 3}}, {"?$top=7", []int{7, 7, 7, 2}}, {"?$top=1000", []int{23}}, {"?$skip=20", []int{3}}} {
		if sizes, _ := g.pages(base + tt.query); !slices.Equal(sizes, tt.want) {
			t.Errorf("%s: got pages of %v, want %v", tt.query, sizes, tt.want)
		}
	}
	s = start(t, Options{Graph: graph.Limits{PageSize: 4}})
	g = newGraph(t, s)
	g.make(anna, "inbox", 9)
	if sizes, all := g.pages(base + "?$top=100"); !slices.Equal(sizes, []int{4, 4, 1}) || len(all) != 9 {
		t.Errorf("got pages of %v", sizes)
	}
}

// TestGraphNextLinkIsOpaque shows that a page link has to be followed as it is (graph.md section 2;
// https://learn.microsoft.com/graph/paging).
func TestGraphNextLinkIsOpaque(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	g.make(anna, "inbox", 25)
	first := g.want(g.get("/users/"+anna+"/messages?$select=subject&$filter="+esc("isRead eq true")), 200, "")
	next := first.body["@odata.nextLink"].(string)
	u, err := url.Parse(next)
	if err != nil || u.Query().Get("$skip") != "" || u.Query().Get("$select") != "subject" {
		t.Fatalf("got %s", next)
	}
	if r := g.want(g.get(next), 200, ""); len(r.values()) != 10 || r.values()[0]["subject"] != "Nr. 14" {
		t.Errorf("got %s", r.raw)
	}
	for _, changed := range []string{
		strings.Replace(next, "select=subject", "select=id", 1), strings.Replace(next, "/messages", "/mailFolders/inbox/messages", 1),
		next + "&$top=3", strings.Replace(next, "skiptoken=", "skiptoken=A", 1),
	} {
		if changed == next {
			t.Fatalf("%s was not changed", next)
		}
		g.want(g.get(changed), 400, "BadRequest")
	}
}

// TestGraphQueryOptions shows which options are taken, and that others are refused (graph.md sections
// 1a and 2; https://learn.microsoft.com/graph/query-parameters).
func TestGraphQueryOptions(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	id := g.make(anna, "inbox", 2)[0]
	base := "/users/" + anna + "/messages"
	r := g.want(g.get(base+"?$select=subject&$count=true&custom=1"), 200, "")
	if m := r.values()[0]; len(m) != 3 || m["id"] == nil || m["@odata.etag"] == nil || m["subject"] == nil || r.body["@odata.count"] != 2.0 {
		t.Errorf("got %s", r.raw)
	}
	for _, query := range []string{
		"$foo=1", "$search=x", "$top=0", "$top=x", "$top=1001", "$skip=-1", "$count=maybe", "$select=isJunk", "$expand=nonsense",
		"$top=1&$top=2", "$orderby=isRead", "$orderby=" + esc("subject sideways"), "$filter=" + esc("subject eq"),
		"$expand=" + props, "$expand=" + esc(props+"($filter=value eq 1)"), "$filter=" + esc(props+"/Any(ep: ep/value eq 'x')"),
	} {
		g.want(g.get(base+"?"+query), 400, "BadRequest")
	}
	g.want(g.get(base+"/"+id+"?$select=isJunk"), 400, "BadRequest")
	g.want(g.get("/users/"+anna+"/mailFolders?$select=wellKnownName"), 400, "BadRequest") // of beta only
	g.want(g.get("/users/"+anna+"/mailFolders/inbox?$select=isRead"), 400, "BadRequest")  // DavMail issue 451
	g.want(g.get(base+"?$filter="+esc("isJunk eq true")), 400, "RequestBroker--ParseUri")
}

// TestGraphOrder shows the rules for $orderby with $filter (graph.md section 1a;
// https://learn.microsoft.com/graph/api/user-list-messages).
func TestGraphOrder(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	g.make(anna, "inbox", 3)
	base := "/users/" + anna + "/messages?$orderby=receivedDateTime"
	for _, tt := range []struct {
		query, code string
		first       string
	}{
		{"", "", "Nr. 00"}, {esc(" desc"), "", "Nr. 02"},
		{"&$filter=" + esc("receivedDateTime ge 2019-03-04T10:01:00Z and isRead eq true"), "", "Nr. 01"},
		{"&$filter=" + esc("isRead eq true and receivedDateTime ge 2019-03-04T10:01:00Z"), "InefficientFilter", ""},
		{"&$filter=" + esc("isRead eq true"), "InefficientFilter", ""},
	} {
		r := g.get(base + tt.query)
		if tt.code != "" {
			g.want(r, 400, tt.code)
		} else if g.want(r, 200, ""); r.values()[0]["subject"] != tt.first {
			t.Errorf("%s: got %v first", tt.query, r.values()[0]["subject"])
		}
	}
}

// TestGraphPathForms shows that names in a path have no case and that keys may stand in parentheses
// (OData 4.01 URL conventions, section 4.3; the addresses in graph.md section 1f).
func TestGraphPathForms(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	id := g.make(anna, "inbox", 1)[0]
	g.want(g.get("/Users('"+anna+"')/MailFolders('Inbox')/Messages('"+id+"')"), 200, "")
	g.want(g.get("/users/"+anna+"/mailfolders/msgfolderroot/childfolders/inbox/messages"), 200, "")
	g.want(g.get("/me/messages"), 400, "BadRequest")
	g.want(g.get("/users/"+anna+"/nonsense"), 400, "BadRequest")
	g.want(g.do("POST", "/$batch", map[string]any{"requests": []any{}}), 501, "NotImplemented")
}
