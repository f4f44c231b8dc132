package migrate

// markedDeleted is the reason of messages that are left out by SkipDeleted.
const markedDeleted = `it is marked \Deleted at the source, and the endpoint says to skip such`

// byMark says why a message with these flags stays behind; empty is that it comes.
func (e Endpoint) byMark(flags []Flag) string {
	if e.Deleted == SkipDeleted && HasFlag(flags, Deleted) {
		return markedDeleted
	}
	return ""
}

// unmarked returns those of these messages that are not marked \Deleted any more. The folder was listed
// just now.
func (h *hand) unmarked(marked UIDSet) (free UIDSet, err error) {
	if marked.Empty() {
		return free, nil
	}
	err = h.source.Describe(h.ctx, marked, func(i MessageInfo) error {
		if !HasFlag(i.Flags, Deleted) {
			free.Add(i.UID)
		}
		return nil
	})
	return free, err
}

// unmark takes up again what was left out for its mark.
func (c *FolderCursor) unmark(uids UIDSet) {
	if uids = uids.And(c.Marked); uids.Empty() {
		return
	}
	c.Done, c.Marked = c.Done.Minus(uids), c.Marked.Minus(uids)
	c.Counts.Skipped -= uids.Len()
	c.Known = FolderState{}
}
