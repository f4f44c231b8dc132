package migrate

import (
	"fmt"
	"slices"
)

// refreshFolders lists the source's folders, says where each goes, and keeps the cursors of those
// known. The order of the cursors is that of their discovery.
func (m *mailboxRun) refreshFolders() error {
	listed, err := m.source.Folders(m.ctx)
	if err != nil {
		return err
	}
	rules, err := m.endpoint.FolderRules.compile()
	if err != nil {
		return &Error{Op: "read folder rules", Kind: Configuration, Err: err}
	}
	held, fingerprint := m.cp.Folders, m.endpoint.FolderRules.fingerprint()
	if fingerprint != m.cp.Rules {
		held = nil
	}
	l, err := layOut(listed, rules, held)
	if err != nil {
		return err
	}
	coming := l.coming(listed)
	if err := m.askStates(coming); err != nil {
		return err
	}
	renamed, err := m.findRenamed(coming)
	if err == nil && renamed {
		l, err = layOut(listed, rules, held)
	}
	if err != nil {
		return err
	}
	m.cp.Rules = fingerprint
	known := make(map[string]*FolderCursor, len(m.cp.Folders))
	for _, cursor := range m.cp.Folders {
		cursor.Gone, cursor.Unlisted = true, true
		known[cursor.Name] = cursor
	}
	for _, f := range listed {
		if known[f.Name] != nil {
			known[f.Name].Unlisted = false
		}
		if !f.Selectable || l.reason(f) != "" {
			continue
		}
		if known[f.Name] == nil {
			known[f.Name] = m.newCursor(f.Name)
		}
		known[f.Name].place(f, l.at[pathKey(f.Path)], rules.label(f))
		m.takeUp(known[f.Name])
	}
	for _, cursor := range m.cp.Folders {
		if cursor.Gone {
			cursor.Total = 0
		}
	}
	m.cp.Notes = boundNotes(l.notes(listed, m.cp.Folders))
	return nil
}

// coming are the folders that come, by name.
func (l *layout) coming(listed []SourceFolder) map[string]SourceFolder {
	coming := make(map[string]SourceFolder, len(listed))
	for _, f := range listed {
		if f.Selectable && l.reason(f) == "" {
			coming[f.Name] = f
		}
	}
	return coming
}

// newCursor makes the cursor of a folder.
func (m *mailboxRun) newCursor(name string) *FolderCursor {
	key := folderKey(name)
	for n := 2; m.cp.folder(key) != nil; n++ { // of a folder that has another name now
		key = folderKey(fmt.Sprintf("%s\x00%d", name, n))
	}
	c := &FolderCursor{Name: name, Key: key}
	m.cp.Folders = append(m.cp.Folders, c)
	return c
}

// place says where the folder goes. A folder of the target that it had stays its own unless the
// place is another now, as new rules want it; what lies in the old one stays there.
func (c *FolderCursor) place(f SourceFolder, s *spot, label bool) {
	use, place := s.address()
	if len(c.Place) > 0 && (use != c.Use || !slices.Equal(place, c.Place)) {
		c.Target = TargetFolder{}
	}
	c.Gone, c.View, c.Label, c.Path = false, f.Use.View() || label, label, slices.Clone(f.Path)
	c.Use, c.Place = use, place
}

// makeFolder makes the cursor's folder at the target, once.
func (m *mailboxRun) makeFolder(f *FolderCursor) error {
	if f.Target.ID != "" {
		return nil
	}
	made, err := m.target.Folder(m.ctx, f.Use, f.Place)
	if err != nil {
		return err
	}
	f.Target = made
	if note, ok := f.renamedByTarget(); ok && len(m.cp.Notes) < maxNotes { // else counted by the next sync
		m.cp.Notes = append(m.cp.Notes, note)
	}
	return nil
}

// maxNotes bounds what a checkpoint holds of notes: it is written with each window.
const maxNotes = 200

// boundNotes lets a last note say how many are left out.
func boundNotes(notes []FolderNote) []FolderNote {
	if len(notes) <= maxNotes {
		return notes
	}
	more := FolderNote{Text: fmt.Sprintf("and %d more notes about folders", len(notes)-maxNotes+1)}
	return append(notes[:maxNotes-1:maxNotes-1], more)
}

// renamedByTarget tells when the target gave the folder another name than it was asked for.
func (c *FolderCursor) renamedByTarget() (FolderNote, bool) {
	if len(c.Place) < 2 && c.Use != "" || len(c.Target.Path) == 0 || len(c.Place) == 0 {
		return FolderNote{}, false // well-known folders have names in the mailbox's language
	}
	want, got := c.Place[len(c.Place)-1], c.Target.Path[len(c.Target.Path)-1]
	if foldName(want) == foldName(got) {
		return FolderNote{}, false
	}
	return FolderNote{Folder: joinPath(c.Path), Target: joinPath(c.Target.Path),
		Text: fmt.Sprintf("Exchange does not let a mail folder be called %q here", want)}, true
}

// views reports whether a folder that comes shows every message of the mailbox.
func (l *layout) views() bool {
	for _, f := range l.listed {
		if f.Use == UseAll && f.Selectable && l.left(f) == "" {
			return true
		}
	}
	return false
}

// reason says why a folder stays behind; empty is that it comes. A view of some messages is left out
// where another shows them all; each of its messages lies in a folder of its own, or in that one.
func (l *layout) reason(f SourceFolder) string {
	if left := l.left(f); left != "" {
		return left
	}
	if f.Use.View() && f.Use != UseAll && l.views() {
		return "shows messages of other folders only"
	}
	return ""
}

// notes says what the administrator should know of the folders: which names had to be changed and
// why, which folders share one at the target, which stay behind.
func (l *layout) notes(listed []SourceFolder, cursors []*FolderCursor) []FolderNote {
	var notes []FolderNote
	others := make(map[Space]int)
	first := make(map[*spot]string)
	was := make(map[string]string) // by name
	for _, c := range cursors {
		was[c.Name] = c.Was
	}
	for _, f := range listed {
		path := joinPath(f.Path)
		reason := l.reason(f)
		switch {
		case !f.Selectable:
			continue
		case f.Space != Own && reason != "":
			others[f.Space]++
			continue
		case reason != "":
			notes = append(notes, FolderNote{Folder: path, Text: reason})
			continue
		}
		if note, _ := l.note(f, was[f.Name], first); note.Text != "" {
			notes = append(notes, note)
		}
	}
	for _, space := range []Space{OtherUsers, Shared} {
		if n := others[space]; n > 0 {
			notes = append(notes, FolderNote{Text: leftToOthers(space, n)})
		}
	}
	for _, c := range cursors {
		if note, ok := c.renamedByTarget(); ok && !c.Gone {
			notes = append(notes, note)
		}
		if c.givenUp() && !c.Gone {
			notes = append(notes, FolderNote{Folder: joinPath(c.Path), Text: c.Refusal})
		}
	}
	return notes
}

// Change is what becomes of a folder besides that it comes.
type Change string

// The changes.
const (
	Unchanged  Change = ""
	Renamed    Change = "renamed"  // its name had to be changed
	Merged     Change = "merged"   // it shares its folder at the target with another
	FolderLeft Change = "left-out" // it stays behind
)

// note says where a folder that comes goes and what is to be said of that. Was is its former path;
// first has the first folder of each place and gets this one.
func (l *layout) note(f SourceFolder, was string, first map[*spot]string) (note FolderNote, change Change) {
	s := l.at[pathKey(f.Path)]
	use, place := s.address()
	if use != "" {
		place[0] = roleTitles[use]
	}
	note = FolderNote{Folder: joinPath(f.Path), Target: joinPath(place)}
	if was != "" {
		note.Text = fmt.Sprintf("was called %q when its mail was brought, and keeps that place", was)
	} else if why := l.changed(f, s); why != "" {
		note.Text, change = "the name had to be changed: "+why, Renamed
	}
	if other, shared := first[s]; shared {
		note.Text, change = joinTexts(note.Text, fmt.Sprintf("shares its folder with %q", other)), Merged
	} else {
		first[s] = note.Folder
	}
	if f.Odd != "" {
		note.Text = joinTexts(note.Text, f.Odd)
	}
	return note, change
}

func leftToOthers(space Space, n int) string {
	if space == Shared {
		return fmt.Sprintf("folders of shared namespaces stay behind (%d); includeShared brings them", n)
	}
	return fmt.Sprintf("folders of other users stay behind (%d); includeOtherUsers brings them", n)
}

func joinTexts(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}

// changed says why a folder's name at the target is not the source's, for a reason that the
// administrator did not give.
func (l *layout) changed(f SourceFolder, s *spot) string {
	if s.role != "" || s.mapped {
		return ""
	}
	if why := l.why[pathKey(f.Path)]; why != "" {
		return why
	}
	raw := f.Path[len(f.Path)-1]
	if s.name == raw {
		return ""
	}
	name, why := cleanName(raw, s.parent.top())
	if s.name != name {
		why = joinReasons(why, takenName)
	}
	return why
}

func joinReasons(a, b string) string {
	if a == "" {
		return b
	}
	return a + ", " + b
}
