package migrate

import (
	"fmt"
	"slices"
	"strings"
)

// FolderNote is something about a source folder that the administrator should know: a changed name,
// why it stays behind.
type FolderNote struct {
	Folder string `json:"folder"`           // the source's path, segments joined by "/"
	Target string `json:"target,omitempty"` // where its mail goes
	Text   string `json:"text"`
}

// spot is a folder of the target that source folders have.
type spot struct {
	parent   *spot
	depth    int        // 0: the root
	length   int        // of the whole path in IMAP, about
	role     SpecialUse // of a well-known folder; its parent is nil
	name     string
	taken    bool   // by a source folder, not only on the way to one
	from     string // that folder's path, for messages
	mapped   bool   // from was sent here by the administrator
	kept     bool   // it was made before
	joins    bool   // several source folders may have it, and folders below it that are called the same
	children map[string]*spot
	byRaw    map[string]*spot // children, by the source's name that they were made for
	next     map[string]int   // by a name that children want: the first number that may be free
}

func newSpot(parent *spot, name string) *spot {
	s := &spot{parent: parent, name: name, length: wireLength(name),
		children: make(map[string]*spot), byRaw: make(map[string]*spot), next: make(map[string]int)}
	if parent != nil {
		s.joins, s.depth, s.length = parent.joins, parent.depth+1, parent.length+1+s.length
		parent.children[foldName(name)] = s
	}
	return s
}

func (s *spot) take(from string) { s.taken, s.from = true, from }

// called makes s the place of every folder of that name below the source folders that s.parent has.
func (s *spot) called(raw string) {
	if s.parent.byRaw[raw] == nil {
		s.parent.byRaw[raw] = s
	}
}

// top reports whether folders below s are at the top of the mailbox.
func (s *spot) top() bool { return s.parent == nil && s.role == "" }

// address is what Target.Folder takes.
func (s *spot) address() (use SpecialUse, path []string) {
	for at := s; at != nil && !at.top(); at = at.parent {
		path = append(path, at.name)
		use = at.role
	}
	slices.Reverse(path)
	return use, path
}

// roleTitles are the names of well-known folders for messages, and for a target that has no such folder.
var roleTitles = map[SpecialUse]string{
	UseInbox: "Inbox", UseSent: "Sent Items", UseTrash: "Deleted Items", UseJunk: "Junk Email", UseDrafts: "Drafts", UseArchive: "Archive",
}

// layout says where each source folder goes.
type layout struct {
	rules  *compiledRules
	listed map[string]SourceFolder // by path; of several with one path the first
	marked []SourceFolder          // those with a role of the target
	root   *spot
	base   *spot // root, or the folder that everything goes below
	roles  map[SpecialUse]*spot
	at     map[string]*spot  // by source path
	why    map[string]string // by source path: why the name had to be changed
	err    error             // the first collision of a mapping
}

// layOut places every folder that comes. Folders that the cursors have a place for keep it. The order
// of the list does not matter. Two folders that a mapping brings to one place are an error.
func layOut(listed []SourceFolder, rules *compiledRules, cursors []*FolderCursor) (*layout, error) {
	l := &layout{rules: rules, listed: make(map[string]SourceFolder), root: newSpot(nil, ""),
		roles: make(map[SpecialUse]*spot), at: make(map[string]*spot), why: make(map[string]string)}
	for _, f := range listed {
		if _, twice := l.listed[pathKey(f.Path)]; !twice || f.Use != "" {
			l.listed[pathKey(f.Path)] = f
		}
		if f.Space == Own && f.Use != "" && !f.Use.View() {
			l.marked = append(l.marked, f)
		}
	}
	l.base = l.root
	if len(rules.target) > 0 {
		l.base = l.walk(rules.target)
		l.base.joins = false
	}
	there := make(map[string][]string) // path by name: not always the same one, see imapsource's guessPrefix
	for _, f := range listed {
		if there[f.Name] == nil || f.Selectable { // what is only on the way may have the name of another
			there[f.Name] = f.Path
		}
	}
	for _, here := range []bool{true, false} { // a folder that went away leaves its path to another
		for _, c := range cursors {
			if path, ok := there[c.Name]; ok && here {
				l.hold(c, path)
			} else if !ok && !here {
				l.hold(c, c.Path)
			}
		}
	}
	needed := l.needed(listed)
	for _, path := range needed {
		l.mapFolder(path)
	}
	for _, path := range needed {
		l.spotOf(path)
	}
	return l, l.err
}

// needed lists the paths of the folders that come and of those above them, in order.
func (l *layout) needed(listed []SourceFolder) [][]string {
	var paths [][]string
	known := make(map[string]bool)
	for _, f := range listed {
		if !f.Selectable || l.left(f) != "" {
			continue
		}
		for n := len(f.Path); n > 0 && !known[pathKey(f.Path[:n])]; n-- {
			known[pathKey(f.Path[:n])] = true
			paths = append(paths, f.Path[:n])
		}
	}
	slices.SortFunc(paths, slices.Compare[[]string])
	return paths
}

func pathKey(path []string) string { return fmt.Sprintf("%q", path) }

// left says why a folder stays behind; empty is that it comes.
func (l *layout) left(f SourceFolder) string { return l.rules.left(f, l.rolePath(f.Path)) }

// role is the well-known folder that a source folder has by what the source says.
func (l *layout) role(path []string) SpecialUse {
	f, ok := l.listed[pathKey(path)]
	if !ok && len(path) == 1 && strings.EqualFold(path[0], "INBOX") {
		return UseInbox
	}
	if f.Space != Own || f.Use.View() {
		return ""
	}
	return f.Use
}

// rolePath finds the nearest folder with a role that path is or lies below.
func (l *layout) rolePath(path []string) rolePath {
	use, depth := SpecialUse(""), 0
	if strings.EqualFold(path[0], "INBOX") {
		use, depth = UseInbox, 1
	}
	for _, f := range l.marked {
		if n := len(f.Path); n > depth && n <= len(path) && slices.Equal(f.Path, path[:n]) {
			use, depth = f.Use, n
		}
	}
	for name, role := range roleNames {
		if role == use {
			return rolePath{role: name, rest: path[depth:]}
		}
	}
	return rolePath{}
}

// hold gives a folder, whose path is this now, the place that it had, and those above it theirs.
func (l *layout) hold(c *FolderCursor, path []string) {
	if len(c.Place) == 0 || c.Target.ID == "" {
		return
	}
	s, names := l.root, c.Place
	if c.Use != "" {
		s, names = l.wellKnown(c.Use), c.Place[1:]
	}
	_, _, mapped := l.rules.mapped(path, l.rolePath(path))
	for i, name := range names {
		child := s.children[foldName(name)]
		if child == nil {
			child = newSpot(s, name)
		}
		s = child
		depth := len(path) - (len(names) - 1 - i) // of the source folder that lies as far above c
		if depth < 1 || depth < len(path) && (mapped || !resembles(name, path[depth-1], s.parent.top())) {
			continue
		}
		if !s.taken {
			s.take(joinPath(path[:depth]))
			if !mapped {
				s.called(path[depth-1])
			}
		}
		if key := pathKey(path[:depth]); l.at[key] == nil {
			l.at[key] = s
		}
	}
	s.kept = true
	if key := pathKey(path); l.at[key] == nil {
		l.at[key] = s
	}
}

// resembles reports whether a source folder can have got that name.
func resembles(name, raw string, top bool) bool {
	cleaned, _ := cleanName(raw, top)
	rest, ok := strings.CutPrefix(name, cleaned)
	return ok && (rest == "" || strings.HasPrefix(rest, " ("))
}

func (l *layout) wellKnown(use SpecialUse) *spot {
	s := l.roles[use]
	if s == nil {
		s = newSpot(nil, roleTitles[use])
		s.role, s.joins, s.depth = use, true, 1
		l.roles[use] = s
	}
	return s
}

// walk finds or makes the spot of a path of the target. INBOX at the top, which a wildcard may have stood
// for, is the inbox: Exchange has no other folder of that name.
func (l *layout) walk(path []string) *spot {
	s, use := l.root, roleNames[strings.ToLower(path[0])]
	if strings.EqualFold(path[0], "INBOX") {
		use = UseInbox
	}
	if use != "" {
		s, path = l.wellKnown(use), path[1:]
	}
	for _, raw := range path {
		name, _ := cleanName(raw, s.top())
		child := s.children[foldName(name)]
		if child == nil {
			if !fits(s, name) {
				return s
			}
			child = newSpot(s, name)
		}
		s = child
	}
	return s
}

func fits(parent *spot, name string) bool {
	return parent.depth < maxFolderDepth && parent.length+1+wireLength(name) < maxFolderPath
}

// mapFolder places a folder that the administrator has a mapping for.
func (l *layout) mapFolder(path []string) {
	to, merge, ok := l.rules.mapped(path, l.rolePath(path))
	if !ok {
		return
	}
	s := l.at[pathKey(path)]
	if s == nil {
		s = l.walk(to)
		l.at[pathKey(path)] = s
	}
	if s.role != "" {
		return
	}
	from := joinPath(path)
	if s.taken && s.from != from && !merge && !s.joins {
		l.collide(from, s)
		return
	}
	s.take(from)
	s.mapped, s.joins = true, s.joins || merge
}

func (l *layout) collide(from string, s *spot) {
	if l.err != nil {
		return
	}
	_, path := s.address()
	l.err = &Error{Op: "place folders", Kind: Configuration,
		Advice: `Give one of them another place by folderMap, or say "merge": true if both are to come into one folder.`,
		Err:    fmt.Errorf("folderMap brings %q and %q to the same folder %q", from, s.from, joinPath(path))}
}

// spotOf finds or makes the place of a source folder.
func (l *layout) spotOf(path []string) *spot {
	key := pathKey(path)
	s := l.at[key]
	if s == nil {
		s = l.find(path)
		l.at[key] = s
	}
	return s
}

func (l *layout) find(path []string) *spot {
	if l.base == l.root {
		if use := l.role(path); use != "" {
			return l.wellKnown(use)
		}
		if l.listed[pathKey(path)].Use == UseAll { // what only a view of everything shows is archived
			return l.wellKnown(UseArchive)
		}
	}
	parent := l.base
	if len(path) > 1 {
		parent = l.spotOf(path[:len(path)-1])
	}
	return l.child(parent, path)
}

// child makes the spot of a folder below its parent's. Another name is taken when another folder has
// it already, a shallower place when the path would be too deep or too long.
func (l *layout) child(parent *spot, path []string) *spot {
	raw, from := path[len(path)-1], joinPath(path)
	name, why := cleanName(raw, parent.top())
	for !fits(parent, name) && parent.parent != nil {
		parent, raw = parent.parent, from
		name, _ = cleanName(path[len(path)-1], parent.top())
		why = "the path is too deep or too long"
	}
	if s := parent.byRaw[raw]; s != nil && parent.joins {
		return s
	}
	key := foldName(name)
	if s := parent.children[key]; s != nil && s.mapped && (s.joins || !s.kept) { // what a user makes later stops nothing
		if !s.joins {
			l.collide(from, s)
		}
		return s
	}
	n := max(1, parent.next[key])
	for s := parent.children[foldName(numbered(name, n))]; s != nil && s.taken; s = parent.children[foldName(numbered(name, n))] {
		n++
	}
	parent.next[key] = n + 1
	s := parent.children[foldName(numbered(name, n))]
	if s == nil {
		s = newSpot(parent, numbered(name, n))
	}
	s.take(from)
	s.called(raw)
	if n > 1 {
		why = joinReasons(why, takenName)
	}
	l.why[pathKey(path)] = why
	return s
}

const takenName = "another folder has the name"
