package migrate

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// settleAll looks up the messages whose outcome is unknown, as far as their time has come, and
// writes those that are not there, in portions of a window. A message leaves its intent only when it has
// an outcome or stands in the next intent.
func (m *mailboxRun) settleAll() error {
	for saved := false; len(m.cp.Doubtful) > 0; {
		intent := m.cp.nextDoubt()
		if time.Now().Before(intent.After) {
			return nil
		}
		if m.soft.Err() != nil {
			return errBudget
		}
		if !saved { // a successor reads the ledgers of the folders that the stored checkpoint doubts
			if err := m.save(); err != nil {
				return err
			}
			saved = true
		}
		if err := m.settle(intent); err != nil {
			return err
		}
	}
	return nil
}

func (m *mailboxRun) settle(intent *Intent) error {
	f := m.cp.folder(intent.Folder)
	if f == nil {
		return &Error{Op: "settle unknown outcomes", Mailbox: string(m.cp.Mailbox.ID), Kind: Corrupt, Err: fmt.Errorf("no folder has the key %s", intent.Folder)}
	}
	part := *intent // a folder that was numbered anew may have a million
	part.UIDs = intent.UIDs.Newest(m.Limits.WindowMessages)
	absent, err := m.lookUp(f, &part)
	if err != nil && f.givenUp() && Judge(err, 0).Action == SkipFolder && !errors.Is(err, errNothingComes) { // has a count of its own
		err = m.record(f, f.unknown(&part, m.cp.Epoch))
	}
	if err != nil {
		return err
	}
	intent.UIDs = intent.UIDs.Minus(part.UIDs)
	m.cp.Doubtful = slices.DeleteFunc(m.cp.Doubtful, func(i *Intent) bool { return i.UIDs.Empty() })
	if intent.Sent {
		m.again(f, absent)
	}
	return m.resend(f, absent)
}

// absorbTails reads what a predecessor wrote to ledgers behind the checkpoint it left.
func (m *mailboxRun) absorbTails() error {
	for _, intent := range m.cp.Doubtful {
		if f := m.cp.folder(intent.Folder); f != nil {
			if err := m.absorbTail(f); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *mailboxRun) absorbTail(f *FolderCursor) error {
	var tail []Record
	mark, err := readTail(m.ctx, m.Store, m.cp.Mailbox.ID, f.Key, f.Ledger, func(r Record) { tail = append(tail, r) })
	if err != nil {
		return err
	}
	f.Ledger = mark
	f.absorb(tail)
	if len(tail) > 0 {
		m.cp.Deaths, m.cp.Restores = 0, 0 // it got on before it died
		f.Unsure = true
		m.arrived = nil // read before they were there, if at all
	}
	return nil
}

// resend writes messages that were looked up and not found.
func (m *mailboxRun) resend(f *FolderCursor, absent UIDSet) error {
	if absent.Empty() {
		return nil
	}
	known := f.Known
	f.Known = FolderState{} // what ends early leaves messages that only a list of UIDs shows
	if err := m.makeFolder(f); err != nil {
		return err
	}
	s := &shelf{name: f.Name, state: FolderState{UIDValidity: f.UIDValidity, UIDNext: known.UIDNext}, rest: absent, begun: true, listed: true}
	r := m.read([]*shelf{s})
	defer r.close()
	if err := m.bringOver(f, r, s); err != nil {
		return err
	}
	f.Known = known
	return nil
}

// lookUp gives an outcome to each of these messages that the ledger or the target has, and returns
// the others. Equal messages are counted: of n sent and m found, n − m are absent. Those of the m
// that the ledger names already are somebody else's.
func (m *mailboxRun) lookUp(f *FolderCursor, intent *Intent) (UIDSet, error) {
	uids := intent.UIDs.Minus(f.Done)
	if uids.Empty() {
		return uids, nil
	}
	groups, missing, err := m.readTwins(f, uids)
	if err != nil {
		f.blame(err)
		return UIDSet{}, errors.Join(err, m.record(f, m.giveUp(f, err)))
	}
	records, err := m.accountDoubtful(f, missing, len(groups) > 0)
	if err != nil {
		return UIDSet{}, err
	}
	groups, back, err := m.cameBack(f, groups)
	if err != nil {
		return UIDSet{}, err
	}
	records = append(records, back...)
	if err := m.match(groups, intent); err != nil {
		return UIDSet{}, err
	}
	var absent UIDSet
	var there []MessageInfo
	for _, g := range groups {
		for n, info := range g.messages {
			if n >= len(g.found) && !g.anywhere {
				switch {
				case !g.findable() && (intent.Sent || !intent.Anywhere):
					records = append(records, Record{Epoch: m.cp.Epoch, UID: info.UID, Outcome: NotMigrated, Reason: nothingTells})
				case f.Breaks[info.UID] >= maxBreaks:
					records = append(records, f.brokeOff(info.UID, m.cp.Epoch))
				default:
					absent.Add(info.UID)
				}
				continue
			}
			r := Record{Epoch: m.cp.Epoch, UID: info.UID, Outcome: AlreadyThere, Flags: info.Flags, Reason: "looked up and found at the target"}
			if !intent.Anywhere {
				r.Key = g.found[n]
			}
			records, there = append(records, r), append(there, info)
		}
	}
	if err := m.record(f, records); err != nil {
		return absent, err
	}
	for _, info := range there {
		f.anchor(info.UID, info.mark())
	}
	return absent, nil
}

const nothingTells = "it may have been written, and has neither a Message-ID nor a date to look it up by"

// accountDoubtful gives an outcome to messages whose header did not come: gone, or not to be had. Where
// no other came either, the server may be ill.
func (m *mailboxRun) accountDoubtful(f *FolderCursor, missing UIDSet, others bool) ([]Record, error) {
	if missing.Empty() {
		return nil, nil
	}
	if f.Gone {
		return unsettled(missing, m.cp.Epoch), nil
	}
	gone, now, err := removed(m.ctx, m.source, f.Name, FolderState{UIDValidity: f.UIDValidity, UIDNext: f.Known.UIDNext}, missing)
	if err != nil {
		return nil, err
	}
	next, whole := now.state.UIDNext, now.complete(f.Name)
	if whole != nil && !gone.Empty() && !f.givenUp() {
		return nil, whole
	}
	still := missing.Minus(gone)
	var free UIDSet // may come back, or others under their UIDs
	if seen := f.Seen.UIDNext; seen != 0 {
		free = still.Minus(still.below(seen)) // arrived just now
		still = still.Minus(free)
	}
	if others {
		f.Ill = nil
	} else if !still.Empty() {
		if err := m.headerless(f); err != nil {
			return nil, err
		}
	}
	switch {
	case whole != nil:
		free.Union(gone)
	case next != 0:
		free.Union(gone.Minus(gone.below(next)))
	}
	if !free.Empty() {
		f.Freed.Union(free)
		f.Known, gone = FolderState{}, gone.Minus(free)
	}
	records := skipped(gone, m.cp.Epoch)
	for u := range still.Descending {
		records = append(records, Record{Epoch: m.cp.Epoch, UID: u, Outcome: NotMigrated,
			Reason: "it may have been written, and the source server does not deliver its header to look it up with"})
	}
	return records, nil
}

func skipped(gone UIDSet, epoch int64) (records []Record) {
	for u := range gone.Descending {
		records = append(records, Record{Epoch: epoch, UID: u, Outcome: Skipped, Reason: "removed at the source while its outcome was unknown"})
	}
	return records
}

// folderGone is the reason of messages whose folder went away while their outcome was unknown. Should
// it come back, they are looked up.
const folderGone = "its folder went away, or was excluded, while its outcome was unknown"

func unsettled(uids UIDSet, epoch int64) (records []Record) {
	for u := range uids.Descending {
		records = append(records, Record{Epoch: epoch, UID: u, Outcome: LeftOut, Reason: folderGone})
	}
	return records
}

// takeUp doubts again what was unsettled when the folder went away.
func (m *mailboxRun) takeUp(f *FolderCursor) {
	if f.Unsettled.Empty() {
		return
	}
	f.Done = f.Done.Minus(f.Unsettled)
	f.Counts.Skipped -= f.Unsettled.Len()
	m.doubt(f, &Intent{UIDs: f.Unsettled, Anywhere: f.View, After: time.Now()})
	f.Unsettled, f.Known = UIDSet{}, FolderState{}
}
