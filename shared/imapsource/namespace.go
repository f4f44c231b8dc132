package imapsource

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"golang.org/x/text/unicode/norm"

	"mailferry/shared/migrate"
)

// tree tells by the names of LIST responses whose folders they are and where they lie.
type tree struct {
	root     string        // UserRoot, or empty
	personal string        // the prefix of the user's own folders, such as "INBOX."
	guess    bool          // personal is to be guessed from the list
	also     []string      // prefixes of the user's other namespaces
	virtual  []string      // those of them whose folders show what others hold
	foreign  []space       // what belongs to others
	rest     migrate.Space // whose everything else is
}

type space struct {
	prefix string
	whose  migrate.Space
}

// namespaces takes over the answer to NAMESPACE (RFC 2342). Of several personal namespaces the first
// is the default one (section 5); the others keep their prefix as a folder.
func (t *tree) namespaces(n *imap.NamespaceData) {
	if len(n.Personal) > 0 {
		t.guess = false
		t.personal = decodedPrefix(n.Personal[0].Prefix)
		if end := string(n.Personal[0].Delim); t.personal != "" && n.Personal[0].Delim != 0 && !strings.HasSuffix(t.personal, end) {
			t.personal += end // else INBOX itself would be the prefix, and no folder
		}
	}
	for _, s := range n.Personal[min(1, len(n.Personal)):] {
		prefix := decodedPrefix(s.Prefix)
		t.also = append(t.also, prefix)
		// The virtual plugin's namespace is called so in Dovecot's documentation (virtual_plugin) and is a private
		// one. It may lie below the other's prefix, such as INBOX.virtual.
		if path := segments(prefix, s.Delim); len(path) > 0 && strings.HasPrefix(strings.ToLower(path[len(path)-1]), "virtual") {
			t.virtual = append(t.virtual, prefix)
		}
	}
	t.others(n.Other, migrate.OtherUsers)
	t.others(n.Shared, migrate.Shared)
}

func (t *tree) others(spaces []imap.NamespaceDescriptor, whose migrate.Space) {
	for _, s := range spaces {
		switch prefix := decodedPrefix(s.Prefix); {
		case prefix == "" && t.personal != "": // all that does not begin with the personal prefix, as at Cyrus
			t.rest = whose
		case prefix != "" && prefix != t.personal:
			t.foreign = append(t.foreign, space{prefix, whose})
		}
	}
}

func decodedPrefix(raw string) string {
	name, err := decodeName(raw)
	if err != nil {
		return readableName(raw)
	}
	return name
}

// patterns returns what else is to be listed: a root that the server does not list by itself, such as
// another user's folders, and the namespaces of others that are asked for.
func (t *tree) patterns(list []*imap.ListData, wanted []migrate.Space) []string {
	if t.root != "" {
		if slices.ContainsFunc(list, t.belowRoot) {
			return nil
		}
		delimiter := "/"
		if len(list) > 0 && list[0].Delim != 0 {
			delimiter = string(list[0].Delim)
		}
		return []string{strings.TrimSuffix(t.root, delimiter) + delimiter + "*"}
	}
	var patterns []string
	for _, s := range t.foreign {
		if slices.Contains(wanted, s.whose) {
			patterns = append(patterns, s.prefix+"*")
		}
	}
	return patterns
}

// guessPrefix takes INBOX for the prefix of a server that does not tell its namespaces and has every
// folder below INBOX, as old Courier and Cyrus servers have.
func (t *tree) guessPrefix(list []*imap.ListData) {
	if !t.guess || t.root != "" {
		return
	}
	prefix := ""
	for _, data := range list {
		if strings.EqualFold(data.Mailbox, "INBOX") {
			continue
		}
		this := "INBOX" + string(data.Delim)
		if data.Delim == 0 || !hasPrefix(data.Mailbox, this) || prefix != "" && this != prefix {
			return
		}
		prefix = this
	}
	t.personal = prefix
}

func (t *tree) belowRoot(d *imap.ListData) bool {
	path, ok := t.pathBelowRoot(d.Mailbox, d.Delim)
	return ok && len(path) > 0
}

// place returns a folder's segments and whose it is; not ok is outside of the root. The path is empty
// for the root itself.
func (t *tree) place(name string, delimiter rune) (path []string, whose migrate.Space, ok bool) {
	if t.root != "" {
		path, ok = t.pathBelowRoot(name, delimiter)
		return underInbox(path), migrate.Own, ok
	}
	for _, s := range t.foreign {
		// hMailServer gives the prefix without the delimiter at its end.
		top := strings.TrimSuffix(s.prefix, string(delimiter))
		if strings.EqualFold(name, top) || hasPrefix(name, top+string(delimiter)) {
			return segments(name, delimiter), s.whose, true
		}
	}
	if t.rest != migrate.Own && !t.isOwn(name) && !t.isVirtual(name, delimiter) {
		return segments(name, delimiter), t.rest, true
	}
	return underInbox(segments(t.withoutPrefix(name), delimiter)), migrate.Own, true
}

// isOwn reports whether a name lies in one of the user's own namespaces.
func (t *tree) isOwn(name string) bool {
	return strings.EqualFold(name, "INBOX") || hasPrefix(name, t.personal) ||
		slices.ContainsFunc(t.also, func(prefix string) bool { return hasPrefix(name, prefix) })
}

// underInbox spells INBOX at the top in one way: there is one, whatever its case (RFC 3501 section 5.1), and
// servers list Inbox and INBOX/Sub.
func underInbox(path []string) []string {
	if len(path) > 0 && strings.EqualFold(path[0], "INBOX") {
		path[0] = "INBOX"
	}
	return path
}

// isVirtual reports whether a folder shows what others hold by its name. The personal namespace's
// prefix is such a name: Dovecot lists "Mail" for a prefix "Mail/", and shows INBOX in it.
func (t *tree) isVirtual(name string, delimiter rune) bool {
	if t.root == "" && len(t.personal) > 0 && name == strings.TrimSuffix(t.personal, string(delimiter)) && !strings.EqualFold(name, "INBOX") {
		return true
	}
	return slices.ContainsFunc(t.virtual, func(prefix string) bool { return hasPrefix(name, prefix) })
}

func (t *tree) withoutPrefix(name string) string {
	if hasPrefix(name, t.personal) {
		return name[len(t.personal):]
	}
	return name
}

// hasPrefix compares INBOX at the beginning without case (RFC 3501 section 5.1).
func hasPrefix(name, prefix string) bool {
	if inbox := len("INBOX"); len(prefix) >= inbox && len(name) >= inbox && strings.EqualFold(prefix[:inbox], "INBOX") {
		return strings.EqualFold(name[:inbox], "INBOX") && strings.HasPrefix(name[inbox:], prefix[inbox:])
	}
	return strings.HasPrefix(name, prefix)
}

func (t *tree) pathBelowRoot(name string, delimiter rune) (path []string, ok bool) {
	whole := underInbox(segments(name, delimiter))
	own := underInbox(segments(t.withoutPrefix(name), delimiter))
	for _, root := range [][]string{underInbox(segments(t.root, delimiter)), underInbox(segments(t.root, '/'))} {
		for _, path := range [][]string{whole, own} {
			if len(path) >= len(root) && slices.Equal(path[:len(root)], root) {
				return path[len(root):], true
			}
		}
	}
	return nil, false
}

// maxSegments bounds how deep a name can go. What lies deeper is one name.
const maxSegments = 500

// segments splits a name, leaving out empty parts. A zero delimiter is none.
func segments(name string, delimiter rune) []string {
	if delimiter == 0 {
		delimiter = -1
	}
	path := strings.FieldsFunc(norm.NFC.String(name), func(r rune) bool { return r == delimiter })
	if len(path) > maxSegments {
		path[maxSegments-1] = strings.Join(path[maxSegments-1:], string(delimiter))
		path = path[:maxSegments]
	}
	return path
}

// nothing is the error of a list without a folder of the mailbox: every mailbox has INBOX, and a UserRoot
// that is not there may be misspelt.
func (t *tree) nothing(list []*imap.ListData) error {
	if t.root == "" {
		return &migrate.Error{Kind: migrate.Unreachable, Err: errors.New("the server lists no folder, not even INBOX")}
	}
	const most = 10
	var tops []string
	for _, data := range list {
		if path := segments(data.Mailbox, data.Delim); len(path) > 0 && !slices.Contains(tops, path[0]) && len(tops) < most {
			tops = append(tops, path[0])
		}
	}
	return &migrate.Error{Kind: migrate.Configuration, Reason: migrate.NoRoot,
		Err: fmt.Errorf("no folder lies below the UserRoot %q; the server lists %q", t.root, tops)}
}
