package migrate

import (
	"fmt"
	"time"
)

// maxBreaks is in how many runs the connection to the target may break while a message is on its way, until it is
// given up: its content breaks it, then, such as for a filter on the way. With the growing pauses that takes hours, so
// that a target which is ill for a while costs nothing.
const maxBreaks = 12

// broke reports whether a Put ended with its connection, after it had begun to send.
func broke(err error) bool {
	return KindOf(err) == Unreachable && (OutcomeUnknown(err) || ReasonOf(err) == BrokeOff)
}

// noteBreaks counts the messages whose connection broke, once in a run.
func (m *mailboxRun) noteBreaks(f *FolderCursor, results []result) {
	for _, r := range results {
		if !broke(r.err) || m.broken[f].Contains(r.uid) {
			continue
		}
		if f.Breaks == nil {
			f.Breaks = make(map[UID]int)
		}
		f.Breaks[r.uid]++
		if m.broken == nil {
			m.broken = make(map[*FolderCursor]UIDSet)
		}
		uids := m.broken[f]
		uids.Add(r.uid)
		m.broken[f] = uids
	}
}

// afterBreaks is how long messages are left alone before they are looked up.
func (m *mailboxRun) afterBreaks(f *FolderCursor, uids UIDSet) time.Duration {
	pause := m.Limits.LongestRequest
	for uid := range uids.Ascending {
		if n := f.Breaks[uid]; n > 1 {
			pause = max(pause, backoff(n))
		}
	}
	return pause
}

// tooManyBreaks gives an outcome to messages that broke the connection in too many runs, but for those in doubt: they
// are looked up first.
func (m *mailboxRun) tooManyBreaks(f *FolderCursor, doubtful UIDSet) (records []Record) {
	for uid, n := range f.Breaks {
		if n >= maxBreaks && !doubtful.Contains(uid) && !m.doubtful(f.Key).Contains(uid) {
			records = append(records, f.brokeOff(uid, m.cp.Epoch))
		}
	}
	return records
}

func (f *FolderCursor) brokeOff(uid UID, epoch int64) Record {
	return Record{Epoch: epoch, UID: uid, Outcome: NotMigrated,
		Reason: fmt.Sprintf("in %d runs the connection to the target broke while this message was on its way, and the target does not have it", f.Breaks[uid])}
}
