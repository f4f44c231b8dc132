package migrate

import (
	"fmt"
	"time"
)

// maxBreaks is in how many runs the connection to the target may break while a message is on its way, until it is
// given up: its content breaks it, then, such as for a filter on the way. With the growing pauses that takes most of a
// day, so that a target, or a line, which breaks with every message until somebody mends it costs nothing.
const maxBreaks = 48

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

// setAside returns the messages whose connection broke again: as those in doubt, they wait and are looked up, and
// the others go on.
func (f *FolderCursor) setAside(results []result) (uids UIDSet) {
	for _, r := range results {
		if broke(r.err) && f.Breaks[r.uid] > 1 {
			uids.Add(r.uid)
		}
	}
	return uids
}

func (f *FolderCursor) brokeOff(uid UID, epoch int64) Record {
	return Record{Epoch: epoch, UID: uid, Outcome: NotMigrated,
		Reason: fmt.Sprintf("in %d runs the connection to the target broke while this message was on its way, and the target does not have it", f.Breaks[uid])}
}
