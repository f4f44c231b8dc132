package graph

import (
	"net/http"
	"net/url"
	"strings"
)

// collections are the segments that a key may follow, either as a segment of its own or in
// parentheses.
var collections = map[string]bool{
	"users": true, "mailFolders": true, "childFolders": true, "messages": true, "attachments": true, "domains": true,
}

// segments are the names in a path that the routes know. The service takes them in any case.
var segments = func() map[string]string {
	all := map[string]string{}
	for _, s := range []string{
		"users", "mailFolders", "childFolders", "messages", "attachments", "domains", "settings", "exchange",
		"mailboxSettings", "licenseDetails", "serviceConfigurationRecords", "move", "copy", "send", "reply", "replyAll",
		"forward", "sendMail", "createUploadSession", "delta", "events", "translateExchangeIds",
	} {
		all[strings.ToLower(s)] = s
	}
	return all
}()

// canonical writes the path of a request as the routes have it: mailfolders('inbox') becomes
// mailFolders/inbox (OData 4.01 URL conventions, section 4.3), and a folder below folders stands alone.
func canonical(r *http.Request) *http.Request {
	raw := canonicalPath(r.URL.EscapedPath())
	if raw == r.URL.EscapedPath() {
		return r
	}
	path, err := url.PathUnescape(raw)
	if err != nil {
		return r
	}
	out := new(http.Request)
	*out = *r
	u := *r.URL
	u.Path, u.RawPath = path, raw
	out.URL = &u
	return out
}

func canonicalPath(raw string) string {
	rest, ok := strings.CutPrefix(raw, "/v1.0/")
	if !ok {
		return raw
	}
	var out []string
	key := false // the segment is the key of the collection before it
	for s := range strings.SplitSeq(rest, "/") {
		if key && !isAction(s) {
			out, key = append(out, s), false
			continue
		}
		name, argument, call := cutKey(s)
		if known, ok := segments[strings.ToLower(name)]; ok {
			name = known
		}
		out = append(out, name)
		if call {
			out = append(out, argument)
		}
		key = collections[name] && !call
	}
	return "/v1.0/" + strings.Join(hoist(out), "/")
}

// isAction tells what may follow a collection and is no key.
func isAction(s string) bool {
	return strings.HasPrefix(s, "$") || strings.EqualFold(s, "delta") || strings.EqualFold(s, "createUploadSession")
}

// cutKey takes name('argument') apart. Quotes within the argument are doubled.
func cutKey(s string) (name, argument string, ok bool) {
	name, rest, ok := strings.Cut(s, "(")
	inner, ok2 := strings.CutSuffix(rest, ")")
	if !ok || !ok2 {
		return s, "", false
	}
	for _, quote := range []string{"'", "%27"} {
		a, ok := strings.CutPrefix(inner, quote)
		if b, ok2 := strings.CutSuffix(a, quote); ok && ok2 {
			return name, strings.ReplaceAll(b, quote+quote, quote), true
		}
	}
	return s, "", false
}

// hoist turns mailFolders/a/childFolders/b into mailFolders/b.
func hoist(path []string) []string {
	for i := 0; i+3 < len(path); {
		if path[i] == "mailFolders" && path[i+2] == "childFolders" && !isAction(path[i+3]) {
			path = append(path[:i+1], path[i+3:]...)
			continue
		}
		i++
	}
	return path
}
