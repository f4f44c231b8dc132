package migrate

import (
	"maps"
	"slices"
)

// free takes UIDs that the server may give once more out of what is done: those from UIDNEXT on.
func (c *FolderCursor) free(l listing) {
	if l.state.UIDNext == 0 {
		return
	}
	freed := c.Done.Minus(c.Done.below(l.state.UIDNext)).Minus(l.existing)
	if freed.Empty() {
		return
	}
	c.Counts.Skipped -= c.skipped().And(freed).Len()
	c.Done, c.LeftOut, c.Unsettled = c.Done.Minus(freed), c.LeftOut.Minus(freed), c.Unsettled.Minus(freed)
	c.Marked, c.Removed = c.Marked.Minus(freed), c.Removed.Minus(freed)
	c.Freed.Union(freed)
	c.Anchors = maps.Clone(c.Anchors)
	maps.DeleteFunc(c.Anchors, func(uid UID, _ string) bool { return freed.Contains(uid) })
}

// freeRemoved takes UIDs out of what is done whose message was removed before it came: what is listed under them
// now is another message, or the list that lacked them was not true.
func (c *FolderCursor) freeRemoved(l listing) {
	back := c.Removed.And(l.existing)
	c.Done, c.Removed = c.Done.Minus(back), c.Removed.Minus(back)
	c.Counts.Skipped -= back.Len()
	c.Freed.Union(back)
}

// shifted returns messages with UIDs that nobody had when the folder was listed before, although they lie below
// UIDNEXT: known ones that were given others may be among them. Where the last list was not worked off, only a
// UIDNEXT that fell tells them, above the newest message that came and is as it was.
func (c *FolderCursor) shifted(l listing, done UIDSet) UIDSet {
	unknown := l.existing.Minus(done)
	shifted := unknown.below(c.Known.UIDNext)
	if next := l.state.UIDNext; next != 0 && next < c.Seen.UIDNext {
		vouched, newest := c.vouched(l)
		if unknown = unknown.below(c.Seen.UIDNext); vouched {
			unknown = unknown.Minus(unknown.below(newest))
		}
		shifted.Union(unknown)
	}
	return shifted
}

// lookedUp returns the messages that are looked up before they are written: those whose UIDs were freed, and those
// that may be known by others; done is what has an outcome or is in doubt. They may be what they were, and the
// list in between that of a replica that lags, or of a disk that was not mounted (doveadm-mount(8): "the user will
// see an empty mailbox").
func (c *FolderCursor) lookedUp(l listing, done UIDSet) UIDSet {
	uids := c.Freed.And(l.existing).Minus(c.Done)
	uids.Union(c.shifted(l, done))
	return uids
}

// cameBefore is the reason of messages that have an outcome under their UIDs already, although these were freed.
const cameBefore = "came before, and is back at the source"

// cameBack takes those messages out of the groups that are what the ledger says of their UIDs, although
// these were freed.
func (m *mailboxRun) cameBack(f *FolderCursor, groups []*twins) (rest []*twins, records []Record, err error) {
	if f.Freed.Empty() {
		return groups, nil, nil
	}
	arrived, err := m.allArrived()
	if err != nil {
		return nil, nil, err
	}
	for _, g := range groups {
		var before UIDSet
		for _, key := range g.keys {
			for _, x := range arrived.of(key) {
				if x.folder == f && f.Freed.Contains(x.uid) {
					before.Add(x.uid)
				}
			}
		}
		g.messages = slices.DeleteFunc(g.messages, func(i MessageInfo) bool {
			back := before.Contains(i.UID)
			if back {
				records = append(records, Record{Epoch: m.cp.Epoch, UID: i.UID, Outcome: AlreadyThere, Flags: i.Flags, Reason: cameBefore})
			}
			return back
		})
		if len(g.messages) > 0 {
			rest = append(rest, g)
		}
	}
	return rest, records, nil
}
