package exchange

import (
	"fmt"
	"testing"

	"mailferry/infra/local/exchange/graph"
)

const ourGUID = "{6F1F3E52-0C8B-4D7B-9D62-0123456789AB}"

// TestGraphPropertyIDs shows that ids come back in one form whatever they were written like, and only
// by $expand (graph.md section 1a, "Property-id echo is normalised").
func TestGraphPropertyIDs(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	messages := "/users/" + anna + "/messages"
	r := g.want(g.do("POST", messages, map[string]any{props: []any{
		prop("Integer 0x0E07", "1"), prop("String "+ourGUID+" Name SourceKey", "AbC"), prop("Boolean "+ourGUID+" Id 0x0102", "true"), prop("string 0x3001", "x"),
	}}), 201, "")
	path := messages + "/" + r.body["id"].(string)
	if r = g.want(g.get(path), 200, ""); r.body[props] != nil {
		t.Error("extended properties are shown without $expand")
	}
	lower := "{6f1f3e52-0c8b-4d7b-9d62-0123456789ab}"
	r = g.want(g.get(path+"?"+expand("Integer 0x0E07", "String "+lower+" Name SourceKey", "Boolean "+ourGUID+" Id 0x102", "String 0x3001", "String 0x3002")), 200, "")
	want := map[string]string{"Integer 0xe07": "3", "String " + lower + " Name SourceKey": "AbC", "Boolean " + lower + " Id 0x102": "true", "String 0x3001": "x"}
	if got := shownProps(r.body); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if r = g.want(g.get(path+"?"+expand("String "+ourGUID+" Name sourcekey")), 200, ""); r.body[props] != nil {
		t.Error("the name of a property is taken in any case")
	}
	for _, id := range []string{"String", "Number 0x1", "String 0x4001001E", "String {x} Name y", "Integer 0x"} {
		g.want(g.do("POST", messages, map[string]any{props: []any{prop(id, "1")}}), 400, "ErrorInvalidPropertyId")
		g.want(g.get(messages+"?"+expand(id)), 400, "ErrorInvalidPropertyId")
	}
}

// TestGraphPropertyValues shows that values have to be of their type.
func TestGraphPropertyValues(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	for id, value := range map[string]string{
		"Integer 0x1080": "x", "Short 0x3005": "70000", "Long 0x3006": "1.5", "Boolean 0x3007": "maybe", "Double 0x3008": "x",
		"SystemTime 0x3009": "today", "Binary 0x300a": "?", "String 0x300b": fmt.Sprintf("%040000d", 0),
	} {
		g.want(g.do("POST", "/users/"+anna+"/messages", map[string]any{props: []any{prop(id, value)}}), 400, "ErrorInvalidExtendedPropertyValue")
	}
}

// TestGraphPropertyFilter shows how messages are found by an extended property: values without case,
// names with it, casts for what is no string (graph.md section 1a, "Idempotency filter";
// https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-get).
func TestGraphPropertyFilter(t *testing.T) {
	s := start(t, Options{})
	g := newGraph(t, s)
	inbox := "/users/" + anna + "/mailFolders/inbox/messages"
	key := "String " + ourGUID + " Name SourceKey"
	for i := range 3 {
		g.want(g.do("POST", inbox, map[string]any{props: []any{
			prop("Integer 0x0E07", "1"), prop(key, fmt.Sprintf("Key%cx", 'A'+i)), prop("Integer 0x1080", fmt.Sprint(260+i)),
			prop("SystemTime 0x0E06", fmt.Sprintf("2019-03-0%dT10:00:00Z", i+1)), prop("String 0x007D", fmt.Sprintf("X-Id: %d\r\n", i)),
		}}), 201, "")
	}
	put(t, login(t, s, anna), "INBOX", letter)
	any := func(condition string) string { return props + "/Any(ep: " + condition + ")" }
	for _, tt := range []struct {
		filter string
		want   int
	}{
		{any("ep/id eq '" + key + "' and ep/value eq 'kEYax'"), 1},
		{any("ep/id eq 'String {6f1f3e52-0c8b-4d7b-9d62-0123456789ab} Name SourceKey' and ep/value eq 'KeyAx'"), 1},
		{any("ep/id eq 'String " + ourGUID + " Name sourcekey' and ep/value eq 'KeyAx'"), 0},
		{any("ep/id eq '" + key + "' and ep/value ne 'KeyAx'"), 2},
		{any("ep/id eq '" + key + "' and ep/value ne null"), 3},
		{any("ep/id eq '" + key + "' and startswith(ep/value,'key')"), 3},
		{any("ep/id eq '" + key + "' and contains(ep/value,'YB')"), 1},
		{any("ep/id eq 'Integer 0x1080' and cast(ep/value, Edm.Int32) ge 261"), 2},
		{any("ep/id eq 'Integer 0x1080' and ep/value eq '261'"), 0}, // an integer without a cast
		{any("ep/id eq 'Integer 0x0E07' and cast(ep/value, Edm.Int32) eq 3"), 3},
		{any("ep/id eq 'SystemTime 0x0E06' and cast(ep/value, Edm.DateTimeOffset) ge datetimeoffset'2019-03-02T00:00:00Z'"), 3},
		{any("ep/id eq 'String 0x007D' and contains(ep/value,'x-id: 2')"), 1},
		{any("ep/id eq 'String 0x007D' and contains(ep/value,'Message-Id: <ONE@')"), 1},
		{any("ep/id eq 'String 0x1035' and ep/value eq '<one@contoso.test>'"), 1},
		{any("ep/id eq '"+key+"' and ep/value eq 'KeyAx'") + " and isRead eq true", 1},
		{any("ep/id eq '"+key+"' and ep/value eq 'KeyAx'") + " or " + any("ep/id eq '"+key+"' and ep/value eq 'KeyBx'"), 2},
	} {
		r := g.want(g.get(inbox+"?$select=id&$filter="+esc(tt.filter)), 200, "")
		if len(r.values()) != tt.want {
			t.Errorf("%s: got %d messages, want %d", tt.filter, len(r.values()), tt.want)
		}
		for _, m := range r.values() {
			if m[props] != nil {
				t.Error("a filter alone shows the property")
			}
		}
	}
	r := g.want(g.get(inbox+"?$filter="+esc(any("ep/id eq '"+key+"' and ep/value eq 'KeyAx'"))+"&"+expand(key)), 200, "")
	if len(r.values()) != 1 || len(shownProps(r.values()[0])) != 1 {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.get(inbox+"?$filter="+esc(any("ep/id eq 'Nonsense' and ep/value eq 'x'"))), 400, "ErrorInvalidPropertyId")
}

// TestGraphPropertyPatch shows that properties can be set later, those of a forwarded message above all
// (graph.md sections 1a and 1d).
func TestGraphPropertyPatch(t *testing.T) {
	g := newGraph(t, start(t, Options{}))
	path := "/users/" + anna + "/messages/" + g.make(anna, "inbox", 1)[0]
	g.want(g.do("PATCH", path, map[string]any{
		"isRead": false, "categories": []string{"Rot"}, "flag": map[string]any{"flagStatus": "flagged"}, "importance": "low",
		props: []any{prop("Integer 0x1080", "262"), prop("Integer 0x1081", "104")},
	}), 200, "")
	r := g.want(g.get(path+"?"+expand("Integer 0x1080", "Integer 0x1081", "Integer 0x1090")), 200, "")
	if got := fmt.Sprint(shownProps(r.body)); got != "map[Integer 0x1080:262 Integer 0x1081:104 Integer 0x1090:2]" || r.body["isRead"] != false || r.body["importance"] != "low" {
		t.Errorf("got %s", r.raw)
	}
	g.want(g.do("PATCH", path, map[string]any{props: []any{prop("Integer 0x1090", "0")}}), 200, "")
	if r = g.want(g.get(path), 200, ""); fmt.Sprint(r.body["flag"]) != "map[flagStatus:notFlagged]" {
		t.Errorf("got %s", r.raw)
	}
}

// TestGraphNamedPropertyQuota shows that each new name counts for good, and what comes beyond the quota
// (graph.md section 1a, "Named-property quota"; microsoft-graph-docs-contrib issue 3504).
func TestGraphNamedPropertyQuota(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Graph: graph.Limits{NamedProperties: 3}}
	s := start(t, o)
	g := newGraph(t, s)
	post := func(name string) reply {
		return g.do("POST", "/users/"+anna+"/messages", map[string]any{props: []any{prop("String "+ourGUID+" Name "+name, "v")}})
	}
	g.want(post("a"), 201, "")
	g.want(post("a"), 201, "")
	g.want(post("A"), 201, "") // names have a case
	header := map[string]any{"internetMessageHeaders": []any{map[string]any{"name": "X-One", "value": "v"}}}
	g.want(g.do("POST", "/users/"+anna+"/messages", header), 201, "")
	if r := g.want(post("b"), 403, "ErrorQuotaExceeded"); r.message() != "Cannot get ID from name." {
		t.Errorf("got %s", r.raw)
	}
	g.want(post("A"), 201, "")
	g.want(g.do("POST", "/users/"+anna+"/messages", map[string]any{props: []any{prop("String 0x3001", "v")}}), 201, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	g = newGraph(t, start(t, o))
	g.want(post("b"), 403, "ErrorQuotaExceeded")
}

func (r reply) message() string {
	e, _ := r.body["error"].(map[string]any)
	text, _ := e["message"].(string)
	return text
}
