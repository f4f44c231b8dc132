package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// UIDs stand for one message as long as UIDVALIDITY stays (RFC 9051 section 2.3.1.1). Servers break that
// when a backup is put back, an index is built anew, or the newest message's UID is given once more: the
// cursor would take another message for one that is done.

// maxAnchors is how many messages of a folder are known by what the server says of them.
const maxAnchors = 4

// mark is what a server says of a message and never changes, for a map of anchors.
func (i MessageInfo) mark() string { return fmt.Sprintf("%d@%d", i.Size, i.Received.Unix()) }

// anchor remembers a message that came; the newest stay, one of those that look alike.
func (c *FolderCursor) anchor(uid UID, mark string) {
	if mark == "" {
		return
	}
	anchors := maps.Clone(c.Anchors) // a reader has the old ones
	if anchors == nil {
		anchors = make(map[UID]string)
	}
	for other, same := range anchors {
		if same == mark {
			delete(anchors, other)
			uid = max(uid, other)
		}
	}
	if anchors[uid] = mark; len(anchors) > maxAnchors {
		delete(anchors, slices.Min(slices.Collect(maps.Keys(anchors))))
	}
	c.Anchors = anchors
}

// past is what a reader holds against the server's list: a copy, since the run goes on.
func (c *FolderCursor) past() *FolderCursor {
	return &FolderCursor{Key: c.Key, Name: c.Name, UIDValidity: c.UIDValidity, Ledger: c.Ledger, Done: c.Done, Freed: c.Freed, Known: c.Known, Anchors: c.Anchors, Marked: c.Marked}
}

// anchored are the UIDs of the anchors.
func (c *FolderCursor) anchored() UIDSet { return UIDsOf(slices.Collect(maps.Keys(c.Anchors))...) }

// listing is what a folder holds now.
type listing struct {
	state    FolderState
	existing UIDSet
	few      []MessageInfo // of the anchors
	unmarked UIDSet        // those that are not marked \Deleted any more
	anew     bool          // the UIDs name other messages than before
}

// odd says what about the listing cannot be if UIDs mean what they meant; empty is nothing. An anchor
// that is as it was vouches for the others: UIDNEXT falls also on servers that take the highest UID for
// it, and where EXAMINE does not tell it.
func (c *FolderCursor) odd(l listing) string {
	vouched := false
	for _, i := range l.few {
		mark, ok := c.Anchors[i.UID]
		if ok && mark != i.mark() {
			return fmt.Sprintf("UID %d is described as %s and was %s", i.UID, i.mark(), mark)
		}
		vouched = vouched || ok
	}
	if vouched {
		return ""
	}
	known, next := c.Known, c.Known.UIDNext
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

// isAnew finds out whether a listing that is odd is of other messages, by the headers of a sample. source
// has the folder open.
func (m *mailboxRun) isAnew(ctx context.Context, source Source, c *FolderCursor, l listing) (bool, error) {
	if c.UIDValidity == 0 || c.UIDValidity != l.state.UIDValidity {
		return false, nil
	}
	why := c.odd(l)
	if why == "" {
		return false, nil
	}
	equal, other, err := m.compareSample(ctx, source, c, l.existing)
	if err != nil {
		return false, err
	}
	anew := other > 0 || equal == 0
	m.Logger.Warn("UIDs may have been given anew under the same UIDVALIDITY", "mailbox", m.cp.Mailbox.ID, "why", why, "equal", equal, "other", other, "anew", anew)
	return anew, nil
}

// survey lists a folder's UIDs.
func (m *mailboxRun) survey(f *FolderCursor) (UIDSet, error) {
	l, err := survey(m.ctx, m.source, f.Name, f.anchored())
	if err == nil {
		l.anew, err = m.isAnew(m.ctx, m.source, f, l)
	}
	if err == nil {
		m.listed(f, l)
		err = l.complete(f.Name)
	}
	return l.existing, err
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
	m.doubt(f, &Intent{UIDs: f.lookedUp(l).Minus(m.doubtful(f.Key)), Anywhere: f.View, After: time.Now()})
	f.free(l)
	f.unmark(l.unmarked)
	for _, i := range l.few {
		if f.Anchors[i.UID] != "" {
			f.anchor(i.UID, i.mark())
		}
	}
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
	f.Done, f.Freed, f.LeftOut, f.Unsettled, f.Doubled = UIDSet{}, freed, UIDSet{}, UIDSet{}, UIDSet{}
	f.Counts, f.Stumbles, f.Known, f.Anchors, f.Marked = Counts{}, nil, FolderState{}, nil, UIDSet{}
	f.Ledger = LedgerMark{Generation: f.Ledger.Generation + 1}
	m.arrived = nil     // what it says of this folder does not count any more
	after := time.Now() // of requests that may still act
	sent := false
	theirs := func(i *Intent) bool {
		if i.Folder == f.Key && i.After.After(after) {
			after = i.After
		}
		sent = sent || i.Folder == f.Key && i.Sent
		return i.Folder == f.Key
	}
	m.cp.Doubtful, m.cp.Again = slices.DeleteFunc(m.cp.Doubtful, theirs), slices.DeleteFunc(m.cp.Again, theirs)
	m.doubt(f, &Intent{UIDs: existing, Anywhere: f.View, After: after, Sent: sent})
}

// free takes UIDs that the server may give once more out of what is done: those from UIDNEXT on.
func (c *FolderCursor) free(l listing) {
	if l.state.UIDNext == 0 {
		return
	}
	freed := c.Done.Minus(c.Done.below(l.state.UIDNext)).Minus(l.existing)
	if freed.Empty() {
		return
	}
	c.Done, c.LeftOut, c.Unsettled = c.Done.Minus(freed), c.LeftOut.Minus(freed), c.Unsettled.Minus(freed)
	c.Marked = c.Marked.Minus(freed)
	c.Freed.Union(freed)
	c.Anchors = maps.Clone(c.Anchors)
	maps.DeleteFunc(c.Anchors, func(uid UID, _ string) bool { return freed.Contains(uid) })
}

// lookedUp returns the messages that are looked up before they are written: those whose UIDs were freed. They
// may be what they were, and the list in between that of a replica that lags, or of a disk that was not
// mounted (doveadm-mount(8): "the user will see an empty mailbox").
func (c *FolderCursor) lookedUp(l listing) UIDSet { return c.Freed.And(l.existing).Minus(c.Done) }

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
				records = append(records, Record{Epoch: m.cp.Epoch, UID: i.UID, Outcome: AlreadyThere, Flags: i.Flags, Reason: "came before, and is back at the source"})
			}
			return back
		})
		if len(g.messages) > 0 {
			rest = append(rest, g)
		}
	}
	return rest, records, nil
}

// sampleSize is how many of the newest and how many of the oldest messages are compared.
const sampleSize = 12

// compareSample compares messages of the folder that is open with what the ledger says of c's under the
// same UIDs.
func (m *mailboxRun) compareSample(ctx context.Context, source Source, c *FolderCursor, existing UIDSet) (equal, other int, err error) {
	shared := existing.And(c.Done)
	sample := shared.Newest(sampleSize)
	for _, r := range shared.Ranges() {
		for u := r.First; u <= r.Last && sample.Len() < 2*sampleSize; u++ {
			sample.Add(u)
		}
	}
	sample.Union(shared.And(c.anchored()))
	if sample.Empty() {
		return 0, 0, nil
	}
	want := make(map[UID]string)
	err = readLedger(ctx, m.Store, m.cp.Mailbox.ID, c, func(r Record) {
		if r.arrived() && r.Key != "" && sample.Contains(r.UID) {
			want[r.UID] = r.Key
		}
	})
	if err != nil {
		return 0, 0, err
	}
	err = source.Headers(ctx, sample, func(info MessageInfo, header []byte) error {
		switch key := want[info.UID]; {
		case key == "":
		case hasKey(m.prints(info, header), key):
			equal++
		default:
			other++
		}
		return nil
	})
	return equal, other, err
}
