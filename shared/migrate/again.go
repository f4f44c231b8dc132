package migrate

import (
	"errors"
	"slices"
	"time"
)

// again remembers messages that are about to be written a second time, since the target did not have
// them when the longest request time was over. Should the first request act even later, the target has
// them twice.
func (m *mailboxRun) again(f *FolderCursor, uids UIDSet) {
	if uids.Empty() {
		return
	}
	after := time.Now().Add(m.Limits.LongestRequest).UTC()
	for _, i := range m.cp.Again {
		if i.Folder == f.Key {
			i.UIDs.Union(uids)
			i.After = after
			return
		}
	}
	m.cp.Again = append(m.cp.Again, &Intent{Folder: f.Key, UIDs: uids, After: after})
}

func earliest(intents []*Intent) time.Time {
	return slices.MinFunc(intents, func(a, b *Intent) int { return a.After.Compare(b.After) }).After
}

// lookAgain looks once more for what was written a second time, when its time has come. Nothing is
// removed at the target: of two equal copies, none says which of them a user has worked on.
func (m *mailboxRun) lookAgain() error {
	for _, i := range m.cp.Again {
		f := m.cp.folder(i.Folder)
		if f == nil || f.Gone {
			i.UIDs = UIDSet{}
			continue
		}
		if time.Now().Before(i.After) {
			continue
		}
		unknown := m.doubtful(f.Key) // whose second answer got lost, too
		for known := i.UIDs.Minus(unknown); !known.Empty(); known = i.UIDs.Minus(unknown) {
			if m.soft.Err() != nil {
				return errBudget
			}
			part := known.Newest(m.Limits.WindowMessages)
			if err := m.findDoubles(f, part.And(f.Done)); err != nil && !unanswered(f, err) {
				return err
			}
			i.UIDs = i.UIDs.Minus(part)
		}
	}
	m.cp.Again = slices.DeleteFunc(m.cp.Again, func(i *Intent) bool { return i.UIDs.Empty() })
	return nil
}

// unanswered reports whether the error means that the look-up cannot be made; the verification counts
// what it would have found.
func unanswered(f *FolderCursor, err error) bool {
	var e *Error
	return errors.As(err, &e) && (e.UID != 0 || f.givenUp() && Judge(err, 0).Action == SkipFolder)
}

// findDoubles counts the copies of messages in their own folder against the ledgers.
func (m *mailboxRun) findDoubles(f *FolderCursor, uids UIDSet) error {
	if uids.Empty() {
		return nil
	}
	groups, _, err := m.readTwins(f, uids) // what is gone at the source is left to the verification
	if err != nil {
		return err
	}
	arrived, err := m.allArrived()
	if err != nil {
		return err
	}
	for _, g := range groups {
		there, extra := make(copies), 0
		if err := m.find(g, there); err != nil {
			return err
		}
		for _, key := range g.keys {
			extra += there[key][f.Target.ID]
			for _, x := range arrived.of(key) {
				if x.folder.Target.ID == f.Target.ID {
					extra--
				}
			}
		}
		for n, info := range g.messages {
			if n < extra {
				f.Doubled.Union(UIDsOf(info.UID))
				m.Logger.Warn("a request acted after the longest request time, so the target has a message twice",
					"mailbox", m.cp.Mailbox.ID, "folder", f.Key, "uid", info.UID)
			}
		}
	}
	return nil
}
