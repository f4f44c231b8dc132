package migrate

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

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

// anchored are the UIDs of the anchors.
func (c *FolderCursor) anchored() UIDSet { return UIDsOf(slices.Collect(maps.Keys(c.Anchors))...) }

// vouched reports whether the newest message that came and is listed is an anchor and as it was.
func (c *FolderCursor) vouched(l listing) (ok bool, newest UID) {
	newest = l.existing.And(c.Done.Minus(c.LeftOut).Minus(c.Marked).Minus(c.Unsettled)).Max()
	return slices.ContainsFunc(l.few, func(i MessageInfo) bool { return i.UID >= newest && c.Anchors[i.UID] == i.mark() }), newest
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
