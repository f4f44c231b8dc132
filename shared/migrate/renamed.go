package migrate

import "slices"

// renamedSample is how many of the newest and how many of the oldest messages are compared.
const renamedSample = 12

// findRenamed gives the cursors of folders that are not listed any more to listed folders without one
// that have the same UIDVALIDITY, UIDs and messages: their mail came already. It reports whether there
// were any. A new UIDVALIDITY with the new name, as some servers give, looks like another folder.
func (m *mailboxRun) findRenamed(listed []SourceFolder, l *layout) (found bool, err error) {
	lost := m.lostCursors(listed)
	for _, f := range listed {
		if len(lost) == 0 {
			return found, nil
		}
		if !f.Selectable || f.Use.View() || l.reason(f) != "" || m.knows(f.Name) {
			continue
		}
		state, err := m.source.Open(m.ctx, f.Name)
		if err != nil && Judge(err, 0).Action == SkipFolder {
			continue
		}
		if err != nil {
			return found, err
		}
		for i, c := range lost {
			if c.UIDValidity != state.UIDValidity {
				continue
			}
			same, err := m.sameMessages(c)
			if err != nil {
				return found, err
			}
			if same {
				c.Was, c.Name, c.Path = joinPath(c.Path), f.Name, slices.Clone(f.Path)
				lost, found = slices.Delete(lost, i, i+1), true
				break
			}
		}
	}
	return found, nil
}

func (m *mailboxRun) knows(name string) bool {
	return slices.ContainsFunc(m.cp.Folders, func(c *FolderCursor) bool { return c.Name == name })
}

// lostCursors are those of folders that brought something and are not listed.
func (m *mailboxRun) lostCursors(listed []SourceFolder) []*FolderCursor {
	names := make(map[string]bool, len(listed))
	for _, f := range listed {
		names[f.Name] = f.Selectable
	}
	return slices.DeleteFunc(slices.Clone(m.cp.Folders), func(c *FolderCursor) bool { return names[c.Name] || c.View || c.Done.Empty() })
}

// sameMessages compares the folder that is open with what the ledger says of c's messages: all of a
// sample have to have the same fingerprints under the same UIDs.
func (m *mailboxRun) sameMessages(c *FolderCursor) (bool, error) {
	existing, err := m.source.UIDs(m.ctx, 1, c.Done.Max())
	if err != nil {
		return false, err
	}
	shared := existing.And(c.Done)
	sample := shared.Newest(renamedSample)
	for _, r := range shared.Ranges() {
		for u := r.First; u <= r.Last && sample.Len() < 2*renamedSample; u++ {
			sample.Add(u)
		}
	}
	want := make(map[UID]string)
	err = readLedger(m.ctx, m.Store, m.cp.Mailbox.ID, c.Key, c.Ledger, func(r Record) {
		if r.arrived() && r.Key != "" && sample.Contains(r.UID) {
			want[r.UID] = r.Key
		}
	})
	if err != nil {
		return false, err
	}
	equal, other := 0, 0
	err = m.source.Headers(m.ctx, sample, func(info MessageInfo, header []byte) error {
		received := m.endpoint.Received.Of(info.Received, header)
		switch key := want[info.UID]; {
		case key == "":
		case key == ReadFingerprint(header, received, m.Words).Key():
			equal++
		default:
			other++
		}
		return nil
	})
	return equal > 0 && other == 0, err
}
