package migrate

import (
	"cmp"
	"context"
	"errors"
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
	return &FolderCursor{
		Key: c.Key, Name: c.Name, UIDValidity: c.UIDValidity, Ledger: c.Ledger, Done: c.Done, Freed: c.Freed, Seen: c.Seen, Anchors: c.Anchors, Unsure: c.Unsure,
		LeftOut: c.LeftOut, Unsettled: c.Unsettled, Marked: c.Marked}
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

// vouched reports whether the newest message that came and is listed is an anchor and as it was.
func (c *FolderCursor) vouched(l listing) (ok bool, newest UID) {
	newest = l.existing.And(c.Done.Minus(c.LeftOut).Minus(c.Marked).Minus(c.Unsettled)).Max()
	return slices.ContainsFunc(l.few, func(i MessageInfo) bool { return i.UID >= newest && c.Anchors[i.UID] == i.mark() }), newest
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

// markAnew takes over what the server says of the anchors now.
func (c *FolderCursor) markAnew(l listing) {
	for _, i := range l.few {
		if c.Done.Contains(i.UID) {
			c.anchor(i.UID, i.mark())
		}
	}
	c.Unsure = false
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
// that may be known by others; done is what has an outcome or is in doubt. They
// may be what they were, and the list in between that of a replica that lags, or of a disk that was not
// mounted (doveadm-mount(8): "the user will see an empty mailbox").
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

// sampleSize is how many of the newest and how many of the oldest messages are compared.
const sampleSize = 12

// compareSample compares messages of the folder that is open with what the ledger says of c's under the
// same UIDs.
func (m *mailboxRun) compareSample(ctx context.Context, source Source, c *FolderCursor, existing UIDSet) (equal []MessageInfo, other int, err error) {
	shared := existing.And(c.Done)
	sample := shared.Newest(sampleSize)
	for _, r := range shared.Ranges() {
		for u := r.First; u <= r.Last && sample.Len() < 2*sampleSize; u++ {
			sample.Add(u)
		}
	}
	sample.Union(shared.And(c.anchored()))
	if sample.Empty() {
		return nil, 0, nil
	}
	want := make(map[UID]string)
	err = readLedger(ctx, m.Store, m.cp.Mailbox.ID, c, func(r Record) {
		if r.arrived() && r.Key != "" && sample.Contains(r.UID) {
			want[r.UID] = r.Key
		}
	})
	if err != nil {
		return nil, 0, err
	}
	err = source.Headers(ctx, sample, func(info MessageInfo, header []byte) error {
		switch key := want[info.UID]; {
		case key == "":
		case hasKey(m.prints(info, header), key):
			equal = append(equal, info)
		default:
			other++
		}
		return nil
	})
	return equal, other, err
}
