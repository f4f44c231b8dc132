package migrate

// seekAll looks elsewhere in the mailbox for what is not in its folder, in portions.
func (m *mailboxRun) seekAll() error {
	for _, f := range m.cp.Folders {
		for !f.Missing.Empty() {
			if err := m.seek(f, f.Missing.Newest(m.Limits.WindowMessages)); err != nil {
				return err
			}
			if err := m.afterStep(); err != nil {
				return err
			}
		}
	}
	return nil
}

// seek tells of missing messages, and of their twins in other folders, how many were moved. Copies that records
// of messages in their folders stand for do not count.
func (m *mailboxRun) seek(f *FolderCursor, uids UIDSet) error {
	groups, gone, err := m.readTwinsIfOpen(f, uids)
	if err != nil {
		return err
	}
	there, err := m.findAll(groups)
	if err != nil {
		return err
	}
	arrived, err := m.allArrived()
	if err != nil {
		return err
	}
	v := m.cp.Verifying
	v.Absent += gone.Len()
	f.Missing = f.Missing.Minus(gone)
	for _, g := range groups {
		missing, copies := g.takeMissing(f, arrived)
		for _, key := range g.keys {
			for _, n := range there[key] {
				copies += n
			}
		}
		moved := max(0, min(copies, missing))
		v.Moved, v.Absent = v.Moved+moved, v.Absent+missing-moved
	}
	return nil
}

// takeMissing takes the twins, f's and those of other folders, out of what is missing and counts them; and, below
// zero, the records of those that are not missing.
func (g *twins) takeMissing(f *FolderCursor, arrived *arrivals) (missing, others int) {
	var own UIDSet
	for _, i := range g.messages {
		own.Add(i.UID)
	}
	own = own.And(f.Missing) // another group may have had some
	missing, f.Missing = own.Len(), f.Missing.Minus(own)
	for _, key := range g.keys {
		for _, x := range arrived.of(key) {
			switch {
			case x.folder == f && own.Contains(x.uid):
			case x.folder.Missing.Contains(x.uid):
				missing++
				x.folder.Missing = x.folder.Missing.Minus(UIDsOf(x.uid))
			default:
				others--
			}
		}
	}
	return missing, others
}
