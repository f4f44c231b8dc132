package migrate

import (
	"fmt"
	"slices"
	"time"
)

// settleAll looks up the messages whose outcome is unknown, as far as their time has come, and
// writes those that are not there. An intent leaves the list only when each of its messages has an
// outcome or stands in the next intent.
func (m *mailboxRun) settleAll() error {
	for {
		i := slices.IndexFunc(m.cp.Doubtful, func(i *Intent) bool { return !time.Now().Before(i.After) })
		if i < 0 {
			return nil
		}
		if m.soft.Err() != nil {
			return errBudget
		}
		intent := m.cp.Doubtful[i]
		f := m.cp.folder(intent.Folder)
		if f == nil {
			return &Error{Op: "settle unknown outcomes", Mailbox: string(m.cp.Mailbox.ID), Kind: Corrupt, Err: fmt.Errorf("no folder has the key %s", intent.Folder)}
		}
		absent, err := m.lookUp(f, intent)
		if err != nil {
			return err
		}
		m.cp.Doubtful = slices.Delete(m.cp.Doubtful, i, i+1)
		if err := m.resend(f, absent); err != nil {
			return err
		}
	}
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
	return nil
}

// resend writes messages that were looked up and not found.
func (m *mailboxRun) resend(f *FolderCursor, absent UIDSet) error {
	if absent.Empty() {
		return nil
	}
	if f.Target.ID == "" {
		var err error
		if f.Target, err = m.target.Folder(m.ctx, f.Use, f.Path); err != nil {
			return err
		}
	}
	return m.window(f, absent)
}

// lookUp gives an outcome to each of these messages that the ledger or the target has, and returns
// the others. Equal messages are counted: of n sent and m found, n − m are absent. Those of the m
// that the ledger names already are somebody else's.
func (m *mailboxRun) lookUp(f *FolderCursor, intent *Intent) (UIDSet, error) {
	uids := intent.UIDs.Minus(f.Done)
	if uids.Empty() {
		return uids, nil
	}
	if _, err := m.source.Open(m.ctx, f.Name); err != nil {
		return UIDSet{}, err
	}
	groups, gone, err := m.fingerprints(uids)
	if err != nil {
		return UIDSet{}, err
	}
	var records []Record
	for u := range gone.Descending {
		records = append(records, Record{Epoch: m.cp.Epoch, UID: u, Outcome: Skipped, Reason: "removed at the source while its outcome was unknown"})
	}
	var absent UIDSet
	for _, g := range groups {
		free, err := m.unaccounted(g, intent.Anywhere)
		if err != nil {
			return UIDSet{}, err
		}
		for _, u := range g.uids {
			if free > 0 {
				records = append(records, Record{Epoch: m.cp.Epoch, UID: u, Outcome: AlreadyThere, Key: g.print.Key(), Reason: "looked up and found at the target"})
				if !intent.Anywhere {
					free--
				}
			} else {
				absent.Add(u)
			}
		}
	}
	return absent, m.record(f, records)
}

// twins are messages of one folder with equal fingerprints.
type twins struct {
	print Fingerprint
	uids  []UID
}

func (m *mailboxRun) fingerprints(uids UIDSet) (groups []*twins, gone UIDSet, err error) {
	byKey := make(map[string]*twins)
	gone = uids
	err = m.source.Headers(m.ctx, uids, func(info MessageInfo, header []byte) error {
		gone = gone.Minus(UIDsOf(info.UID))
		print := ReadFingerprint(header, info.Received, m.Words)
		g := byKey[print.Key()]
		if g == nil {
			g = &twins{print: print}
			byKey[print.Key()] = g
			groups = append(groups, g)
		}
		g.uids = append(g.uids, info.UID)
		return nil
	})
	return groups, gone, err
}

// unaccounted counts the target's messages with that fingerprint: those that no ledger record stands
// for, or all of them for a folder that shows what other folders hold.
func (m *mailboxRun) unaccounted(g *twins, all bool) (int, error) {
	found := 0
	err := m.target.Find(m.ctx, g.print, func(x Found) error {
		if g.print.Matches(x.Fingerprint) {
			found++
		}
		return nil
	})
	if err != nil || found == 0 || all {
		return found, err
	}
	accounted := 0
	for _, f := range m.cp.Folders {
		err := readLedger(m.ctx, m.Store, m.cp.Mailbox.ID, f.Key, f.Ledger, func(r Record) {
			if r.Key == g.print.Key() && r.arrived() {
				accounted++
			}
		})
		if err != nil {
			return 0, err
		}
	}
	return found - accounted, nil
}
