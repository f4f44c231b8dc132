package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// UIDs stand for one message as long as UIDVALIDITY stays (RFC 9051 section 2.3.1.1). Servers break that
// when a backup is put back, an index is built anew, or the newest message's UID is given once more: the
// cursor would take another message for one that is done.

// past is what a reader holds against the server's list: a copy, since the run goes on.
func (c *FolderCursor) past() *FolderCursor {
	return &FolderCursor{
		Key: c.Key, Name: c.Name, UIDValidity: c.UIDValidity, Ledger: c.Ledger, Done: c.Done, Freed: c.Freed, Seen: c.Seen, Anchors: c.Anchors, Unsure: c.Unsure,
		LeftOut: c.LeftOut, Unsettled: c.Unsettled, Marked: c.Marked}
}

// listing is what a folder holds now.
type listing struct {
	state    FolderState
	existing UIDSet
	few      []MessageInfo // of the anchors
	unmarked UIDSet        // those that are not marked \Deleted any more
	anew     bool          // the UIDs name other messages than before
}

// odd says what about the listing cannot be if UIDs mean what they meant; empty is nothing. The newest message
// that came vouches for the others when it is an anchor and as it was: UIDNEXT falls also on servers that take
// the highest UID for it, and where EXAMINE does not tell it. An older one does not: UIDs that are given anew
// close the gaps that removed messages left, so that those below the first gap stay.
func (c *FolderCursor) odd(l listing) string {
	for _, i := range l.few {
		if mark, ok := c.Anchors[i.UID]; ok && mark != i.mark() {
			return fmt.Sprintf("UID %d is described as %s and was %s", i.UID, i.mark(), mark)
		}
	}
	if vouched, _ := c.vouched(l); vouched {
		return ""
	}
	known := cmp.Or(c.Seen, c.Known)
	next := known.UIDNext
	if next == 0 && !c.Done.Empty() {
		next = c.Done.Max() + 1
	}
	switch below := l.existing.below(next); {
	case l.state.UIDNext != 0 && l.state.UIDNext < next:
		return fmt.Sprintf("UIDNEXT fell from %d to %d", next, l.state.UIDNext)
	case l.state.HighestModSeq != 0 && l.state.HighestModSeq < known.HighestModSeq:
		return fmt.Sprintf("HIGHESTMODSEQ fell from %d to %d", known.HighestModSeq, l.state.HighestModSeq)
	case known.UIDNext != 0 && below.Len() > known.Messages:
		return fmt.Sprintf("%d messages have UIDs below %d, where %d had", below.Len(), next, known.Messages)
	}
	return ""
}

// examine finds out whether a listing that is odd is of other messages, by the headers of a sample. source
// has the folder open; done is what has an outcome or is in doubt. So is one that a process that died brought
// messages of, which no anchor stands for.
func (m *mailboxRun) examine(ctx context.Context, source Source, c *FolderCursor, done UIDSet, l *listing) error {
	if c.UIDValidity == 0 || c.UIDValidity != l.state.UIDValidity || done.Empty() {
		return nil
	}
	why := c.odd(*l)
	if why == "" && !c.Unsure {
		return nil
	}
	equal, other, err := m.compareSample(ctx, source, c, l.existing)
	if err != nil {
		return err
	}
	// Where few are left under their UIDs and there are others, a twin may have one of those.
	left := l.existing.And(c.Done).Len()
	few := 2*left < c.Done.Len() && left < l.existing.Minus(done).Len()
	l.anew = other > 0 || why != "" && (len(equal) == 0 || few)
	l.few = append(l.few, equal...)
	if why == "" && !l.anew {
		return nil
	}
	m.Logger.Warn("UIDs may have been given anew under the same UIDVALIDITY", "mailbox", m.cp.Mailbox.ID, "why", why, "equal", len(equal), "other", other, "anew", l.anew)
	return nil
}

// survey lists a folder's UIDs.
func (m *mailboxRun) survey(f *FolderCursor) (UIDSet, error) {
	l, err := survey(m.ctx, m.source, f.Name, f.anchored())
	if err == nil {
		err = m.examine(m.ctx, m.source, f, m.settledOrDoubtful(f), &l)
	}
	if err == nil {
		m.listed(f, l)
		err = l.complete(f.Name)
	}
	return l.existing, err
}

// stillMeans returns an error if the UIDs of the folder were given anew since it was listed. The next pass lists
// it, and starts over with it.
func (m *mailboxRun) stillMeans(f *FolderCursor) error {
	l, err := survey(m.ctx, m.source, f.Name, f.anchored())
	if err == nil {
		err = m.examine(m.ctx, m.source, f, m.settledOrDoubtful(f), &l)
	}
	if err == nil && l.anew {
		f.Known = FolderState{}
		err = &Error{Op: "open folder", Folder: f.Name, Kind: Unreachable, Err: errors.New("its UIDs have just been given anew under the same UIDVALIDITY")}
	}
	if err == nil {
		f.markAnew(l)
	}
	return err
}

// listed takes over what a folder holds. Where every UID was given anew, the cursor starts over, and each
// message is looked up at the target before it is written.
func (m *mailboxRun) listed(f *FolderCursor, l listing) {
	f.Total = max(l.existing.Len(), l.state.Messages)
	if f.renumbered(l) {
		m.startOver(f, l)
		return
	}
	f.UIDValidity = l.state.UIDValidity
	f.freeRemoved(l)
	after, sent := m.mayStillAct(f)
	m.doubt(f, &Intent{UIDs: f.lookedUp(l, m.settledOrDoubtful(f)).Minus(m.doubtful(f.Key)), Anywhere: f.View, After: after, Sent: sent})
	f.Seen = l.state
	f.free(l)
	f.unmark(l.unmarked)
	f.markAnew(l)
}

// renumbered reports whether the UIDs name other messages than the cursor means by them.
func (c *FolderCursor) renumbered(l listing) bool {
	return c.UIDValidity != 0 && (c.UIDValidity != l.state.UIDValidity || l.anew)
}

func (m *mailboxRun) startOver(f *FolderCursor, l listing) {
	state, existing, freed := l.state, l.existing, UIDSet{}
	if f.UIDValidity == state.UIDValidity {
		freed = f.Freed
		freed.Union(f.Done)
		existing.Union(m.doubtful(f.Key)) // what is not there may come back
	}
	if l.complete(f.Name) != nil { // what is listed later may have come before, too
		freed.AddRange(1, max(state.UIDNext, existing.Max()+1)-1)
	}
	f.UIDValidity = state.UIDValidity
	f.Done, f.Freed, f.Removed, f.LeftOut, f.Unsettled, f.Doubled = UIDSet{}, freed, UIDSet{}, UIDSet{}, UIDSet{}, UIDSet{}
	f.Counts, f.Stumbles, f.Breaks, f.Known, f.Anchors, f.Marked = Counts{}, nil, nil, FolderState{}, nil, UIDSet{}
	f.Seen, f.Unsure = state, false
	f.Ledger = LedgerMark{Generation: f.Ledger.Generation + 1}
	m.arrived, m.cp.Verifying = nil, nil // what they say of this folder does not count any more
	after, sent := m.mayStillAct(f)
	theirs := func(i *Intent) bool { return i.Folder == f.Key }
	m.cp.Doubtful, m.cp.Again = slices.DeleteFunc(m.cp.Doubtful, theirs), slices.DeleteFunc(m.cp.Again, theirs)
	m.doubt(f, &Intent{UIDs: existing, Anywhere: f.View, After: after, Sent: sent})
}

// mayStillAct returns until when requests of the past may bring a message of the folder, and whether there were any.
func (m *mailboxRun) mayStillAct(f *FolderCursor) (after time.Time, sent bool) {
	after = time.Now()
	for _, i := range slices.Concat(m.cp.Doubtful, m.cp.Again) {
		if i.Folder == f.Key && i.After.After(after) {
			after = i.After
		}
		sent = sent || i.Folder == f.Key && i.Sent
	}
	return after, sent
}
