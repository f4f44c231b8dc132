package imapsource

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// maxFolders bounds what a server can make us hold.
const maxFolders = 50000

var errTooMany = errors.New("the server lists more than 50000 folders")

// Folders implements migrate.Source. INBOX comes first, then the others by name.
func (s *source) Folders(ctx context.Context) ([]migrate.SourceFolder, error) {
	defer s.begin(ctx)()
	const op = "list folders"
	t := tree{root: s.root}
	if s.caps.Has(imap.CapNamespace) {
		spaces, err := s.client.Namespace().Wait()
		if err != nil && !refusedNo(err) {
			return nil, s.fail(ctx, op, "", err)
		}
		if err == nil {
			t.namespaces(spaces)
		}
	}
	list, err := s.list("*")
	if err == nil && t.root != "" && !slices.ContainsFunc(list, func(d *imap.ListData) bool { return t.belowRoot(d) }) {
		// Roots outside of what the server lists by itself, such as another user's folders.
		delimiter := "/"
		if len(list) > 0 && list[0].Delim != 0 {
			delimiter = string(list[0].Delim)
		}
		list, err = s.list(strings.TrimSuffix(t.root, delimiter) + delimiter + "*")
	}
	if err != nil {
		return nil, s.fail(ctx, op, "", err)
	}
	s.reveal(list)
	s.listed = true
	return t.folders(list), nil
}

func (s *source) list(pattern string) ([]*imap.ListData, error) {
	var options *imap.ListOptions
	if s.caps.Has(imap.CapSpecialUse) && s.caps.Has(imap.CapListExtended) {
		options = &imap.ListOptions{ReturnSpecialUse: true}
	}
	cmd := s.client.List("", pattern, options)
	var list []*imap.ListData
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		if len(list) == maxFolders {
			s.wire.abort(errTooMany)
			_ = cmd.Close()
			return nil, errTooMany
		}
		list = append(list, data)
	}
	return list, cmd.Close()
}

// reveal gives folders whose names are not valid modified UTF-7 a readable name, and remembers what
// to send for it.
func (s *source) reveal(list []*imap.ListData) {
	odd := s.wire.oddNames()
	taken := make(map[string]bool, len(list))
	for _, data := range list {
		taken[data.Mailbox] = true
	}
	s.hidden = make(map[string]string, len(odd))
	for _, data := range list {
		raw, ok := odd[data.Mailbox]
		if !ok {
			continue
		}
		name := readableName(raw)
		for taken[name] {
			name += "~"
		}
		taken[name] = true
		s.hidden[name] = data.Mailbox
		data.Mailbox = name
	}
}

// tree turns LIST responses into the folders of one mailbox.
type tree struct {
	root     string   // UserRoot, or empty
	personal string   // the prefix of the user's own folders, such as "INBOX."
	foreign  []string // the prefixes of what belongs to others
}

// namespaces takes over the answer to NAMESPACE (RFC 2342).
func (t *tree) namespaces(n *imap.NamespaceData) {
	if len(n.Personal) > 0 {
		t.personal = decodedPrefix(n.Personal[0].Prefix)
	}
	for _, space := range append(slices.Clone(n.Other), n.Shared...) {
		if prefix := decodedPrefix(space.Prefix); prefix != "" && prefix != t.personal {
			t.foreign = append(t.foreign, prefix)
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

func (t *tree) belowRoot(d *imap.ListData) bool {
	path, ok := t.path(d.Mailbox, d.Delim)
	return ok && len(path) > 0
}

// path returns a folder's segments; not ok is a folder of someone else or outside of the root. It is
// empty for the root itself.
func (t *tree) path(name string, delimiter rune) (path []string, ok bool) {
	if t.root != "" {
		return t.pathBelowRoot(name, delimiter)
	}
	for _, prefix := range t.foreign {
		if strings.HasPrefix(name, prefix) || name == strings.TrimSuffix(prefix, string(delimiter)) {
			return nil, false
		}
	}
	return segments(strings.TrimPrefix(name, t.personal), delimiter), true
}

func (t *tree) pathBelowRoot(name string, delimiter rune) (path []string, ok bool) {
	whole := segments(name, delimiter)
	own := segments(strings.TrimPrefix(name, t.personal), delimiter)
	for _, root := range [][]string{segments(t.root, delimiter), segments(t.root, '/')} {
		for _, path := range [][]string{whole, own} {
			if len(path) >= len(root) && slices.Equal(path[:len(root)], root) {
				return path[len(root):], true
			}
		}
	}
	return nil, false
}

// segments splits a name, leaving out empty parts. A zero delimiter is none.
func segments(name string, delimiter rune) []string {
	if delimiter == 0 {
		delimiter = -1
	}
	return strings.FieldsFunc(name, func(r rune) bool { return r == delimiter })
}

// folders maps the list.
func (t *tree) folders(list []*imap.ListData) []migrate.SourceFolder {
	var out []migrate.SourceFolder
	attributes := make([][]imap.MailboxAttr, 0, len(list))
	seen := make(map[string]bool, len(list))
	sorted := slices.SortedStableFunc(slices.Values(list), func(a, b *imap.ListData) int { return strings.Compare(a.Mailbox, b.Mailbox) })
	for _, data := range sorted {
		path, ok := t.path(data.Mailbox, data.Delim)
		if !ok || seen[data.Mailbox] {
			continue
		}
		selectable := !slices.Contains(data.Attrs, imap.MailboxAttrNoSelect) && !slices.Contains(data.Attrs, imap.MailboxAttrNonExistent)
		if len(path) == 0 {
			if t.root == "" || !selectable {
				continue
			}
			path = []string{"INBOX"} // the root holds mail itself
		}
		seen[data.Mailbox] = true
		out = append(out, migrate.SourceFolder{Name: data.Mailbox, Path: path, Selectable: selectable})
		attributes = append(attributes, data.Attrs)
	}
	assignUses(out, attributes)
	slices.SortStableFunc(out, compareFolders)
	return out
}

// compareFolders puts INBOX first, then orders by path.
func compareFolders(a, b migrate.SourceFolder) int {
	if inA, inB := a.Use == migrate.UseInbox, b.Use == migrate.UseInbox; inA != inB {
		if inA {
			return -1
		}
		return 1
	}
	byCase := func(a, b string) int {
		if c := strings.Compare(strings.ToLower(a), strings.ToLower(b)); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	}
	if c := slices.CompareFunc(a.Path, b.Path, byCase); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}
