package imapsource

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// maxFolders and maxNames, the octets of their names and attributes, bound what a server can make us
// hold.
const (
	maxFolders = 50000
	maxNames   = 32 << 20
)

var errTooMany = errors.New("the server lists more than 50000 folders, or 32 MiB of names")

// Folders implements migrate.Source. INBOX comes first, then the others by name. Folders of others
// are among them as far as the server lists them by itself, or the endpoint asks for them.
func (s *source) Folders(ctx context.Context) ([]migrate.SourceFolder, error) {
	defer s.begin(ctx)()
	const op = "list folders"
	t, list, err := s.namespaces()
	for _, pattern := range t.patterns(list, s.spaces) {
		if err != nil {
			break
		}
		var more []*imap.ListData
		if more, err = s.list(pattern); declined(err) {
			err = nil // nobody shares anything, or there is no such root
		}
		list = append(list, more...)
	}
	if err == nil {
		err = s.markOldStyle(list)
	}
	if err != nil {
		return nil, s.fail(ctx, op, "", err)
	}
	odd := s.reveal(list)
	s.listed = true
	folders := t.folders(list, odd)
	if len(folders) == 0 {
		return nil, s.fail(ctx, op, "", t.nothing(list))
	}
	for i := range folders {
		if folders[i].Name == s.folder { // see States
			folders[i].State = migrate.FolderState{}
		}
	}
	return folders, nil
}

// namespaces asks where whose folders are, and for all that is listed by itself, in one round trip. A
// server without NAMESPACE (RFC 2342), or that refuses it for good, leaves the prefix to be guessed from the
// list. Where it merely has enough for now, nothing is guessed: folders of others would count as the user's.
func (s *source) namespaces() (tree, []*imap.ListData, error) {
	t := tree{root: s.root, guess: true}
	if !s.caps.Has(imap.CapNamespace) {
		list, err := s.list("*")
		return t, list, err
	}
	asked := s.client.Namespace()
	// The list is read first: the library hands over nothing else while it is not taken.
	list, err := s.list("*")
	spaces, refusal := asked.Wait()
	switch {
	case refusal == nil:
		t.namespaces(spaces)
	case !declined(refusal):
		return t, nil, cmp.Or(err, refusal)
	}
	return t, list, err
}

// list asks for folders, with their states where the server tells these in the same answer (RFC 5819).
// One that refuses that is asked without.
func (s *source) list(pattern string) ([]*imap.ListData, error) {
	if !s.caps.Has(imap.CapListExtended) {
		return s.listWith(pattern, nil)
	}
	options := &imap.ListOptions{ReturnSpecialUse: s.caps.Has(imap.CapSpecialUse)}
	if s.caps.Has(imap.CapListStatus) {
		options.ReturnStatus = s.stateItems()
		list, err := s.listWith(pattern, options)
		if !refused(err) {
			return list, err
		}
		options.ReturnStatus = nil
	}
	return s.listWith(pattern, options)
}

func (s *source) listWith(pattern string, options *imap.ListOptions) (list []*imap.ListData, err error) {
	err = s.take(s.client.List("", pattern, options), func(data *imap.ListData) { list = append(list, data) })
	return list, err
}

// take hands over each folder of an answer.
func (s *source) take(cmd *imapclient.ListCommand, folder func(*imap.ListData)) error {
	folders, octets := 0, 0
	for data := cmd.Next(); data != nil; data = cmd.Next() {
		folders, octets = folders+1, octets+len(data.Mailbox)
		for _, attr := range data.Attrs {
			octets += len(attr) + 16 // the string itself
		}
		if folders > maxFolders || octets > maxNames {
			s.wire.abort(errTooMany)
			_ = cmd.Close()
			return errTooMany
		}
		folder(data)
	}
	return cmd.Close()
}

// markOldStyle adds the roles that a server tells by XLIST only, an ancestor of SPECIAL-USE: Zimbra
// is such (ImapHandler.getFolderAttrs). Names are taken from LIST, since Gmail's XLIST gave INBOX a
// localised one.
func (s *source) markOldStyle(list []*imap.ListData) error {
	if !s.caps.Has("XLIST") || s.caps.Has(imap.CapSpecialUse) {
		return nil
	}
	s.wire.xlist.Store(true)
	marked, err := s.listWith("*", nil)
	s.wire.xlist.Store(false)
	if declined(err) {
		return nil
	}
	attributes := make(map[string][]imap.MailboxAttr, len(marked))
	for _, data := range marked {
		attributes[data.Mailbox] = data.Attrs
	}
	for _, data := range list {
		for _, attr := range attributes[data.Mailbox] {
			if !hasAttr(data.Attrs, attr) {
				data.Attrs = append(data.Attrs, attr)
			}
		}
	}
	return err
}

func hasAttr(attrs []imap.MailboxAttr, wanted imap.MailboxAttr) bool {
	return slices.ContainsFunc(attrs, func(a imap.MailboxAttr) bool { return strings.EqualFold(string(a), string(wanted)) })
}

// reveal gives folders that are known by a placeholder a readable name, and remembers what to send
// for it. It returns what is to be said of names that could not be read as they stand.
func (s *source) reveal(list []*imap.ListData) (notes map[string]string) {
	odd := s.wire.oddNames()
	var hidden []*imap.ListData
	taken := make(map[string]bool, len(list))
	for _, data := range list {
		if _, ok := odd[data.Mailbox]; ok {
			hidden = append(hidden, data)
		} else {
			taken[data.Mailbox] = true
		}
	}
	// In an order that does not depend on the server's, so that a folder has the same name next time.
	slices.SortStableFunc(hidden, func(a, b *imap.ListData) int { return strings.Compare(odd[a.Mailbox], odd[b.Mailbox]) })
	s.hidden, notes = make(map[string]string, len(hidden)), make(map[string]string)
	revealed := make(map[string]string, len(hidden)) // by placeholder
	for _, data := range hidden {
		name, again := revealed[data.Mailbox]
		if !again {
			var note string
			name, note = nameOf(odd[data.Mailbox])
			for taken[name] {
				name, note = name+"~", "the server has several names that read the same"
			}
			taken[name], revealed[data.Mailbox] = true, name
			s.hidden[name] = data.Mailbox
			if note != "" {
				notes[name] = note
			}
		}
		data.Mailbox = name
	}
	return notes
}

// nameOf reads a name as well as can be.
func nameOf(raw string) (name, note string) {
	name, err := decodeName(raw)
	if err != nil {
		note = "the server's name is no valid modified UTF-7"
		if name, err = decodeUTF7(raw, false); err != nil {
			name = readableName(raw)
		}
	}
	if name == "" {
		name = "_"
	}
	return name, note
}

// folders maps the list.
func (t *tree) folders(list []*imap.ListData, odd map[string]string) []migrate.SourceFolder {
	t.guessPrefix(list)
	var out []migrate.SourceFolder
	attributes := make([][]imap.MailboxAttr, 0, len(list))
	seen := make(map[string]bool, len(list))
	sorted := slices.SortedStableFunc(slices.Values(list), func(a, b *imap.ListData) int { return strings.Compare(a.Mailbox, b.Mailbox) })
	for _, data := range sorted {
		path, space, ok := t.place(data.Mailbox, data.Delim)
		if !ok || seen[data.Mailbox] {
			continue
		}
		selectable := !hasAttr(data.Attrs, imap.MailboxAttrNoSelect) && !hasAttr(data.Attrs, imap.MailboxAttrNonExistent)
		if len(path) == 0 {
			if t.root == "" || !selectable {
				continue
			}
			path = []string{"INBOX"} // the root holds mail itself
		}
		seen[data.Mailbox] = true
		f := migrate.SourceFolder{Name: data.Mailbox, Path: path, Selectable: selectable, Space: space, Odd: odd[data.Mailbox]}
		f.State, _ = stateOf(data.Status)
		if t.isVirtual(data.Mailbox, data.Delim) {
			f.Use = migrate.UseVirtual
		}
		out = append(out, f)
		attributes = append(attributes, data.Attrs)
	}
	out = withParents(out)
	assignUses(out, append(attributes, make([][]imap.MailboxAttr, len(out)-len(attributes))...))
	slices.SortStableFunc(out, compareFolders)
	return out
}

// withParents adds the folders above others that a server leaves out because they hold nothing, as
// Dovecot does: Archives may have a role although only Archives/2019 exists.
func withParents(folders []migrate.SourceFolder) []migrate.SourceFolder {
	key := func(path []string) string { return strings.Join(path, "\x00") }
	known := make(map[string]bool, len(folders))
	for _, f := range folders {
		known[key(f.Path)] = true
	}
	for _, f := range folders {
		for n := len(f.Path) - 1; n > 0 && !known[key(f.Path[:n])] && len(folders) < 2*maxFolders; n-- {
			known[key(f.Path[:n])] = true
			folders = append(folders, migrate.SourceFolder{Name: strings.Join(f.Path[:n], "/"), Path: f.Path[:n:n], Space: f.Space})
		}
	}
	return folders
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
