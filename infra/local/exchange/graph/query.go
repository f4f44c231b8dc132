package graph

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// query holds the OData query options of a request.
type query struct {
	url     *url.URL
	values  url.Values
	filter  expr
	selects []string // nil means the default
	expand  []string // normalised ids of extended properties
	attach  bool     // attachments are expanded
	orderBy string
	desc    bool
	top     int // 0 means the default
	skip    int
	count   bool
	hidden  bool // hidden folders are listed, too

	filtered []string // normalised ids of the extended properties in the filter
}

func parseQuery(u *url.URL) (query, error) {
	q := query{url: u}
	values, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return q, badRequest("The query string is malformed.")
	}
	q.values = values
	q.hidden = strings.EqualFold(values.Get("includeHiddenFolders"), "true")
	for name, v := range values {
		if !strings.HasPrefix(name, "$") {
			continue // options without $ are custom ones and ignored
		}
		if len(v) > 1 {
			return q, badRequest("Query option '%s' was specified more than once, but it must be specified at most once.", name)
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
		if q.filter, err = parseFilter(v); err == nil {
			q.filter, q.filtered, err = propertiesIn(q.filter)
		}
	case "$select":
		for s := range strings.SplitSeq(v, ",") {
			q.selects = append(q.selects, strings.TrimSpace(s))
		}
	case "$expand":
		err = q.parseExpand(v)
	case "$orderby":
		err = q.parseOrder(v)
	case "$top":
		if q.top, err = strconv.Atoi(v); err != nil || q.top < 1 {
			return badRequest("Invalid value '%s' for $top query option found. The $top query option requires a non-negative integer value.", v)
		}
	case "$skip":
		if q.skip, err = strconv.Atoi(v); err != nil || q.skip < 0 {
			return badRequest("Invalid value '%s' for $skip query option found. The $skip query option requires a non-negative integer value.", v)
		}
	case "$skiptoken":
		q.skip, err = q.openToken(v)
	case "$count":
		if q.count = v == "true"; !q.count && v != "false" {
			return badRequest("Invalid value '%s' for $count query option found. Valid values are 'true' and 'false'.", v)
		}
	default:
		return badRequest("The query parameter '%s' is not supported.", name)
	}
	return err
}

func (q *query) parseOrder(v string) error {
	field, direction, _ := strings.Cut(strings.TrimSpace(v), " ")
	direction = strings.TrimSpace(direction)
	if direction != "" && !strings.EqualFold(direction, "asc") && !strings.EqualFold(direction, "desc") {
		return badRequest("Syntax error in $orderby: '%s'.", v)
	}
	q.orderBy, q.desc = strings.ToLower(field), strings.EqualFold(direction, "desc")
	return nil
}

// parseExpand reads attachments and
// singleValueExtendedProperties($filter=id eq '..' or id eq '..').
func (q *query) parseExpand(text string) error {
	for _, item := range splitTop(text) {
		name, inner, _ := strings.Cut(strings.TrimSpace(item), "(")
		switch {
		case name == "attachments":
			q.attach = true
		case name == "singleValueExtendedProperties" && strings.HasSuffix(inner, ")"):
			ids, err := parsePropertyIDs(strings.TrimSuffix(inner, ")"))
			if err != nil {
				return err
			}
			q.expand = append(q.expand, ids...)
		default:
			return badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s'.", name)
		}
	}
	return nil
}

// splitTop splits at commas outside of parentheses and strings.
func splitTop(s string) (out []string) {
	depth, quoted, from := 0, false, 0
	for i, c := range s {
		switch {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			out, from = append(out, s[from:i]), i+1
		}
	}
	return append(out, s[from:])
}

func parsePropertyIDs(option string) ([]string, error) {
	name, condition, _ := strings.Cut(option, "=")
	if strings.TrimSpace(name) != "$filter" {
		return nil, badRequest("Parsing OData Select and Expand failed: %s", option)
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
	if len(ids) == 0 {
		return nil, badRequest("Parsing OData Select and Expand failed: %s", option)
	}
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

// checkSelect refuses names that the type does not have
// (DavMail issue 451: "BadRequest Parsing OData Select and Expand failed").
func (q query) checkSelect(typ string, known func(name string) bool) error {
	for _, s := range q.selects {
		if !known(s) {
			return badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", s, typ)
		}
	}
	return nil
}

// fingerprint of the query options that a page has to share with the first.
func (q query) fingerprint() [8]byte {
	values := url.Values{}
	for name, v := range q.values {
		if l := strings.ToLower(name); l != "$skiptoken" && l != "$skip" {
			values[name] = v
		}
	}
	sum := sha256.Sum256([]byte(q.url.Path + "?" + values.Encode()))
	return [8]byte(sum[:8])
}

// token says where the next page begins. Clients must take the nextLink as it
// is (https://learn.microsoft.com/graph/paging): with other options it is void.
func (q query) token(skip int) string {
	f := q.fingerprint()
	return base64.RawURLEncoding.EncodeToString(append(f[:], strconv.Itoa(skip)...))
}

func (q query) openToken(text string) (int, error) {
	raw, err := base64.RawURLEncoding.DecodeString(text)
	f := q.fingerprint()
	if err != nil || len(raw) < len(f) || [8]byte(raw[:8]) != f {
		return 0, badRequest("Skip token is invalid.")
	}
	n, err := strconv.Atoi(string(raw[8:]))
	if err != nil || n < 0 {
		return 0, badRequest("Skip token is invalid.")
	}
	return n, nil
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
		values := url.Values{}
		for name, v := range q.values {
			if l := strings.ToLower(name); l != "$skiptoken" && l != "$skip" {
				values[name] = v
			}
		}
		values.Set("$skiptoken", q.token(next))
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
