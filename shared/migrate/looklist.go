package migrate

// list takes over the source's folders and where they go. What was found in them stays.
func (r *PreflightReport) list(listed []SourceFolder, l *layout, rules *compiledRules) {
	known := make(map[string]LookedFolder, len(r.Folders))
	for _, f := range r.Folders {
		known[f.Name] = f
	}
	r.Folders, r.Notes = make([]LookedFolder, 0, len(listed)), nil
	others, first := make(map[Space]int), make(map[*spot]string)
	for _, f := range listed {
		reason := l.reason(f)
		if !f.Selectable {
			continue
		}
		if f.Space != Own && reason != "" {
			others[f.Space]++
			continue
		}
		x := known[f.Name]
		x.Name, x.Path, x.View, x.Target, x.Change, x.Note, x.state = f.Name, joinPath(f.Path), f.Use.View() || rules.label(f), "", FolderLeft, reason, f.State
		if reason == "" {
			note, change := l.note(f, "", first)
			x.Target, x.Change, x.Note = note.Target, change, note.Text
		}
		r.Folders = append(r.Folders, x)
	}
	for _, space := range []Space{OtherUsers, Shared} {
		if n := others[space]; n > 0 {
			r.Notes = append(r.Notes, FolderNote{Text: leftToOthers(space, n)})
		}
	}
}

// countFolders asks how much is in the folders and returns the messages that come.
func (m *mailboxRun) countFolders() (total int, err error) {
	r := m.looking.report
	var names []string
	for _, f := range r.Folders {
		if f.state.UIDValidity == 0 && !f.Looked {
			names = append(names, f.Name)
		}
	}
	var states map[string]FolderState
	if len(names) > 0 {
		if states, err = m.source.States(m.ctx, names); err != nil {
			return 0, err
		}
	}
	for i := range r.Folders {
		f := &r.Folders[i]
		if state, told := states[f.Name]; told {
			f.state = state
		}
		if f.state.UIDValidity != 0 && !f.Looked { // what was found stands for the messages of that time
			f.Messages = f.state.Messages
			f.Looked = f.Messages == 0
		}
		f.Looked = f.Looked || f.View || f.Target == ""
		if !f.View && f.Target != "" {
			total += f.Messages
		}
	}
	return total, nil
}
