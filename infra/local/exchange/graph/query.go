package graph

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query holds the OData query options of a request.
type query struct {
	url     *url.URL
	filter  expr
	selects []string // nil means the default
	expand  []string // normalised ids of extended properties
	orderBy string
	desc    bool
	top     int // 0 means the default
	skip    int
	count   bool
}

func parseQuery(u *url.URL) (query, error) {
	q := query{url: u}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return q, badRequest("The query string is malformed.")
	}
	for name, v := range values {
		if !strings.HasPrefix(name, "$") {
			continue // options without $ are custom ones and ignored
		}
		if err := q.set(name, v[0]); err != nil {
			return q, err
		}
	}
	return q, nil
}

func (q *query) set(name, v string) (err error) {
	switch strings.ToLower(name) {
	case "$filter":
		q.filter, err = parseFilter(v)
	case "$select":
		for s := range strings.SplitSeq(v, ",") {
			q.selects = append(q.selects, strings.TrimSpace(s))
		}
	case "$expand":
		q.expand, err = parseExpand(v)
	case "$orderby":
		field, direction, _ := strings.Cut(strings.TrimSpace(v), " ")
		q.orderBy = strings.ToLower(field)
		q.desc = strings.EqualFold(strings.TrimSpace(direction), "desc")
	case "$top":
		if q.top, err = strconv.Atoi(v); err != nil || q.top < 1 {
			return badRequest("The limit of '%s' for Top query is invalid.", v)
		}
	case "$skip":
		if q.skip, err = strconv.Atoi(v); err != nil || q.skip < 0 {
			return badRequest("Invalid value '%s' for $skip query option found.", v)
		}
	case "$count":
		q.count = v == "true"
	case "$search", "$format", "$skiptoken":
		return badRequest("The query option '%s' is not supported.", name)
	default:
		return badRequest("The query parameter '%s' is not supported.", name)
	}
	return err
}

// parseExpand reads singleValueExtendedProperties($filter=id eq '..' or id eq '..').
func parseExpand(text string) ([]string, error) {
	inner, ok := strings.CutPrefix(strings.TrimSpace(text), "singleValueExtendedProperties(")
	inner, ok2 := strings.CutSuffix(inner, ")")
	name, condition, ok3 := strings.Cut(inner, "=")
	if !ok || !ok2 || !ok3 || strings.TrimSpace(name) != "$filter" {
		return nil, badRequest("Parsing OData Select and Expand failed: %s", text)
	}
	e, err := parseFilter(condition)
	if err != nil {
		return nil, err
	}
	var ids []string
	walk(e, func(e expr) {
		b, ok := e.(binary)
		if !ok || b.op != "eq" {
			return
		}
		if c, ok := b.right.(constant); ok {
			if s, ok := c.value.(string); ok {
				ids = append(ids, s)
			}
		}
	})
	for i, id := range ids {
		if ids[i], err = normalizeID(id); err != nil {
			return nil, err
		}
	}
	return ids, nil
}

// pageSize returns $top or the default, refusing what is beyond the most.
func (q query) pageSize(def, most int) (int, error) {
	if q.top == 0 {
		return def, nil
	}
	if q.top > most {
		return 0, badRequest("The limit of '%d' for Top query has been exceeded. The value from the incoming request is '%d'.", most, q.top)
	}
	return q.top, nil
}

// has tells whether a property is to be shown; byDefault is for requests
// without $select.
func (q query) has(name string, byDefault bool) bool {
	if q.selects == nil {
		return byDefault
	}
	return slices.ContainsFunc(q.selects, func(s string) bool { return strings.EqualFold(s, name) })
}

// writePage writes one page of a collection of total members.
func (q query) writePage(w http.ResponseWriter, r *http.Request, value []any, shown, total int) {
	if value == nil {
		value = []any{}
	}
	out := map[string]any{
		"@odata.context": baseURL(r) + "/$metadata#" + strings.TrimPrefix(r.URL.Path, "/v1.0/"), "value": value,
	}
	if q.count {
		out["@odata.count"] = total
	}
	if next := q.skip + shown; next < total {
		values := q.url.Query()
		values.Set("$skip", strconv.Itoa(next))
		out["@odata.nextLink"] = baseURL(r) + strings.TrimPrefix(q.url.EscapedPath(), "/v1.0") + "?" + values.Encode()
	}
	writeJSON(w, http.StatusOK, out)
}

func baseURL(r *http.Request) string { return "https://" + r.Host + "/v1.0" }

// page returns the bounds of the page that starts at skip.
func (q query) page(size, total int) (from, to int) {
	from = min(q.skip, total)
	return from, min(from+size, total)
}
