package migrate

import (
	"cmp"
	"maps"
	"slices"
)

// askStates asks for the states of the folders that come and are known, once for the whole pass.
func (m *mailboxRun) askStates(coming map[string]SourceFolder) (err error) {
	known := make(map[string]bool, len(m.cp.Folders))
	for _, c := range m.cp.Folders {
		known[c.Name] = c.UIDValidity != 0
	}
	m.states = make(map[string]FolderState, len(coming))
	var asked []string
	for name, f := range coming {
		if f.State.UIDValidity != 0 {
			m.states[name] = f.State
		} else if known[name] {
			asked = append(asked, name)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	slices.Sort(asked)
	more, err := m.source.States(m.ctx, asked)
	maps.Copy(m.states, more)
	return err
}

// findRenamed gives the cursors of folders that are not listed any more, or have another UIDVALIDITY
// now, to listed folders that have theirs, with the same UIDs and messages: their mail came already. It
// reports whether there were any. A new UIDVALIDITY with the new name, as some servers give, looks like
// another folder.
func (m *mailboxRun) findRenamed(coming map[string]SourceFolder) (found bool, err error) {
	owners := make(map[string]*FolderCursor) // by name
	for _, c := range m.cp.Folders {
		owners[c.Name] = c
	}
	states := m.states
	lost := m.lostCursors(coming, states)
	for _, name := range slices.Sorted(maps.Keys(coming)) {
		owner, state := owners[name], states[name]
		if coming[name].Use.View() || owner.has(state) {
			continue
		}
		c, err := m.formerly(coming[name], state.UIDValidity, lost)
		if err != nil {
			return found, err
		}
		if c == nil {
			continue
		}
		if owner != nil && owner.Name == name {
			owner.Name += " (another folder now, " + owner.Key + ")" // until it is found under its own new name
		}
		c.Was, c.Name, c.Path = joinPath(c.Path), name, slices.Clone(coming[name].Path)
		lost, found = slices.DeleteFunc(lost, func(x *FolderCursor) bool { return x == c }), true
	}
	return found, nil
}

// has reports whether a folder in this state, unknown if zero, can be c's as it was: not if c has never
// been listed.
func (c *FolderCursor) has(state FolderState) bool {
	if c == nil || c.UIDValidity == 0 {
		return false
	}
	return state.UIDValidity == c.UIDValidity || state.UIDValidity == 0 && !c.Gone
}

// lostCursors are those that brought something, or may have, and whose folder is not there any more.
func (m *mailboxRun) lostCursors(coming map[string]SourceFolder, states map[string]FolderState) []*FolderCursor {
	return slices.DeleteFunc(slices.Clone(m.cp.Folders), func(c *FolderCursor) bool {
		_, listed := coming[c.Name]
		now := states[c.Name].UIDValidity
		return c.View || c.Done.Empty() && m.doubtful(c.Key).Empty() || listed && (now == 0 || now == c.UIDValidity)
	})
}

// formerly finds the cursor of a folder that has another name now. An unknown UIDVALIDITY is zero. Where several
// folders have the same, those come first whose paths end alike, as with a parent that was renamed.
func (m *mailboxRun) formerly(f SourceFolder, validity uint32, lost []*FolderCursor) (*FolderCursor, error) {
	if len(lost) == 0 || validity != 0 && !slices.ContainsFunc(lost, func(c *FolderCursor) bool { return c.UIDValidity == validity }) {
		return nil, nil
	}
	state, err := m.source.Open(m.ctx, f.Name)
	if err != nil && Judge(err, 0).Action == SkipFolder {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	likeliest := slices.SortedStableFunc(slices.Values(lost), func(a, b *FolderCursor) int {
		return cmp.Compare(sharedEnd(b.Path, f.Path), sharedEnd(a.Path, f.Path))
	})
	for _, c := range likeliest {
		if c.UIDValidity != state.UIDValidity {
			continue
		}
		if c.Done.Minus(c.Unsettled).Empty() {
			if m.soleCursor(c) {
				return c, nil
			}
			continue
		}
		if same, err := m.sameMessages(c); same || err != nil {
			return c, err
		}
	}
	return nil, nil
}

// sharedEnd is how many segments two paths have in common at their ends.
func sharedEnd(a, b []string) (n int) {
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	return n
}

// soleCursor reports whether no other folder has c's UIDVALIDITY. It is all there is to know a folder by
// whose first window is in doubt. Each message of that is looked up: an error would cost the place only.
func (m *mailboxRun) soleCursor(c *FolderCursor) bool {
	return !slices.ContainsFunc(m.cp.Folders, func(o *FolderCursor) bool { return o != c && o.UIDValidity == c.UIDValidity })
}

// sameMessages reports whether the folder that is open has c's messages: all of a sample have to have
// the same fingerprints under the same UIDs.
func (m *mailboxRun) sameMessages(c *FolderCursor) (bool, error) {
	existing, err := m.source.UIDs(m.ctx, 1, c.Done.Max())
	if err != nil {
		return false, err
	}
	equal, other, err := m.compareSample(m.ctx, m.source, c, existing)
	return len(equal) > 0 && other == 0, err
}
