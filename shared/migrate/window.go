package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

// job is one message on its way from the source to a writer. One with an outcome is not written.
type job struct {
	info    MessageInfo
	mark    string // of info as the source gave it
	key     string
	spool   *spooled
	outcome Outcome
	reason  string
	refused bool // the source does not deliver it
}

// result is what became of it. Without a record, nothing is known to have happened; doubtful means
// that the target may have it.
type result struct {
	uid      UID
	mark     string
	record   *Record
	doubtful bool
	err      error
}

// window brings one window of messages over: intent → target writes → ledger → (with the next
// intent, or at the end) checkpoint. Its messages may have been read before.
func (m *mailboxRun) window(f *FolderCursor, r *reader, w *window) error {
	m.cp.Intent = &Intent{Folder: f.Key, UIDs: w.uids, Anywhere: f.View}
	if err := m.save(); err != nil {
		return err
	}
	results, err := m.transfer(f, r, w)
	if m.lost() {
		return context.Cause(m.ctx)
	}
	records, doubtful, writeErr := sortOut(results)
	if KindOf(writeErr) == NoFolder { // users have moved or removed it: the next sync makes it again
		f.Target = TargetFolder{}
	}
	if err == nil && writeErr == nil {
		for _, missing := range w.missing {
			missing.Epoch = m.cp.Epoch
			records = append(records, missing)
		}
	}
	switch came, nothing := r.gave(w); {
	case came:
		f.Ill, f.Slow = nil, nil
	case errors.Is(err, errBudget) && writeErr == nil && m.inVain():
		records, err = f.crawl(r.tooSlow(w), m.cp.Epoch, err)
	case err != nil: // it may be the server that refuses them, not the messages
		records = nil
	case nothing && writeErr == nil:
		if err = f.suffer(w, m.cp.Epoch); err != nil {
			records = nil
		}
	}
	f.blame(err)
	records = append(records, m.giveUp(f, err)...)
	m.noteBreaks(f, results)
	doubtful.Union(f.setAside(results))
	if ledgerErr := m.record(f, records); ledgerErr != nil {
		// What was written is not recorded, or its record is not known: all of it is to be looked up.
		doubtful, writeErr, err = w.uids, ledgerErr, nil
	} else {
		f.anchorAll(results)
	}
	if !doubtful.Empty() {
		m.cp.Doubtful = append(m.cp.Doubtful, &Intent{Folder: f.Key, UIDs: doubtful, Anywhere: f.View, Sent: true, After: time.Now().Add(m.afterBreaks(f, doubtful)).UTC()})
	}
	m.cp.Intent = nil
	return errors.Join(writeErr, err)
}

// transfer writes the messages as they come, several at a time. Every message that was handed to a
// writer has a result.
func (m *mailboxRun) transfer(f *FolderCursor, r *reader, w *window) ([]result, error) {
	ctx, cancel := context.WithCancelCause(m.ctx)
	defer cancel(nil)
	jobs, out := make(chan job), make(chan result)
	var writers sync.WaitGroup
	for range max(1, m.target.Writers()) {
		writers.Go(func() { m.write(ctx, f, jobs, out, cancel) })
	}
	var results []result
	collected := make(chan struct{})
	go func() {
		defer close(collected)
		for r := range out {
			results = append(results, r)
		}
	}()
	err := r.feed(ctx, w, jobs)
	close(jobs)
	writers.Wait()
	close(out)
	<-collected
	if cause := context.Cause(ctx); cause != nil && m.ctx.Err() == nil {
		err = nil // a writer ended it and has its own result
	}
	return results, err
}

// feed hands the window's messages to the writers until all have come.
func (r *reader) feed(ctx context.Context, w *window, jobs chan<- job) error {
	for {
		j, err := r.message(ctx, w)
		if j == nil || err != nil {
			return err
		}
		select {
		case jobs <- *j:
		case <-ctx.Done():
			j.close()
			return context.Cause(ctx)
		}
	}
}

// spool reads the message. One that is left out or that the source does not deliver gets its outcome
// here.
func (m *mailboxRun) spool(ctx context.Context, turn <-chan struct{}, waits func(bool), j *job, octets int64, body io.Reader) (err error) {
	if why := m.endpoint.byMark(j.info.Flags); why != "" {
		j.outcome, j.reason = LeftOut, why
		return nil
	}
	if why := m.endpoint.MessageFilter.bySize(octets); why != "" {
		j.outcome, j.reason = LeftOut, why
		return nil
	}
	j.spool, err = m.Spool.Fill(ctx, turn, waits, octets, body)
	switch {
	case KindOf(err) == Unreadable:
		j.outcome, j.reason, j.refused = NotMigrated, err.Error(), true
		return nil
	case KindOf(err) == TooLarge:
		j.outcome, j.reason = NotMigrated, err.Error()
		return nil
	case err != nil:
		return at(err, j.info.UID)
	}
	header := j.spool.Header()
	j.info.Flags = without(j.info.Flags, Deleted)
	j.info.Received = m.endpoint.Received.Of(j.info.Received, header)
	j.key = ReadFingerprint(header, j.info.Received, m.Words).Key()
	if why := m.endpoint.MessageFilter.byDate(j.info.Received); why != "" {
		j.outcome, j.reason = LeftOut, why
	}
	return nil
}

func (j job) close() {
	if j.spool != nil {
		j.spool.Close()
	}
}

// maxStumbles is how often the connection may break within one message before it counts as
// unreadable: it is the message then, not the network.
const maxStumbles = 8

// blame counts a lost connection against the message that the error names.
func (f *FolderCursor) blame(err error) {
	uid := uidOf(err)
	if KindOf(err) != Unreachable || uid == 0 {
		return
	}
	if f.Stumbles == nil {
		f.Stumbles = make(map[UID]int)
	}
	f.Stumbles[uid]++
}

// uidOf returns the UID of the message that an error names, or 0.
func uidOf(err error) UID {
	var e *Error
	for errors.As(err, &e) && e.UID == 0 {
		err = e.Err
	}
	if e == nil {
		return 0
	}
	return e.UID
}

// at names the message that an error is about.
func at(err error, uid UID) error {
	var e *Error
	if !errors.As(err, &e) || e.UID != 0 {
		return err
	}
	named := *e
	named.UID = uid
	return &named
}

// giveUp gives an outcome to messages that broke the connection too often, the last time with err.
func (m *mailboxRun) giveUp(f *FolderCursor, err error) (records []Record) {
	for uid, n := range f.Stumbles {
		if n >= maxStumbles {
			records = append(records, Record{Epoch: m.cp.Epoch, UID: uid, Outcome: NotMigrated,
				Reason: fmt.Sprintf("the source server broke off at this message %d times; the last time: %v", n, err)})
		}
	}
	return records
}

// write is one writer. An error that is not about the message ends the transfer, once the messages
// that are being written have an answer.
func (m *mailboxRun) write(ctx context.Context, f *FolderCursor, jobs <-chan job, out chan<- result, cancel context.CancelCauseFunc) {
	for j := range jobs {
		r := m.put(ctx, f, j)
		j.close()
		if r.err != nil {
			cancel(r.err)
		}
		out <- r
	}
}

func (m *mailboxRun) put(ctx context.Context, f *FolderCursor, j job) result {
	r := result{uid: j.info.UID, mark: j.mark}
	if j.outcome != "" {
		r.record = &Record{Epoch: m.cp.Epoch, UID: j.info.UID, Outcome: j.outcome, Reason: j.reason}
		return r
	}
	if ctx.Err() != nil {
		return r
	}
	if !m.keeper.holds() {
		r.err = &Error{Op: "write message", Kind: LostOwnership, Err: ErrLeaseLost}
		return r
	}
	receipt, err := m.target.Put(m.ctx, f.Target, Outgoing{Flags: j.info.Flags, Received: j.info.Received, Size: j.spool.octets, Open: j.spool.Open})
	rec := Record{Epoch: m.cp.Epoch, UID: j.info.UID, Key: j.key, Octets: j.spool.octets, Flags: j.info.Flags}
	switch {
	case err == nil:
		rec.Outcome, rec.TargetValid, rec.TargetUID = Migrated, receipt.UIDValidity, receipt.UID
		r.record = &rec
	case OutcomeUnknown(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		r.doubtful, r.err = true, err
	case Judge(err, 0).Action == SkipMessage:
		rec.Outcome, rec.Reason = NotMigrated, err.Error()
		r.record = &rec
	default:
		r.err = err
	}
	return r
}

// sortOut folds the results of a window.
func sortOut(results []result) (records []Record, doubtful UIDSet, err error) {
	for _, r := range results {
		if r.record != nil {
			records = append(records, *r.record)
		}
		if r.doubtful {
			doubtful.Add(r.uid)
		}
		if r.err != nil && err == nil {
			err = r.err
		}
	}
	return records, doubtful, err
}

// record writes outcomes to the ledger and then into the cursor. Progress forgives past trouble.
func (m *mailboxRun) record(f *FolderCursor, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	mark, err := appendRecords(context.WithoutCancel(m.base), m.Store, m.cp.Mailbox.ID, f.Key, f.Ledger, records)
	if err != nil {
		return err
	}
	f.Ledger = mark
	f.absorb(records)
	if m.arrived != nil {
		m.arrived.add(f, records)
	}
	m.cp.Deaths, m.cp.Restores, m.cp.Failures = 0, 0, 0
	return nil
}

// anchorAll remembers the newest messages that came.
func (f *FolderCursor) anchorAll(results []result) {
	for _, r := range results {
		if r.record != nil && r.record.arrived() {
			f.anchor(r.uid, r.mark)
		}
	}
}

// absorb counts records of UIDs that had no outcome yet.
func (f *FolderCursor) absorb(records []Record) {
	var fresh UIDSet
	for _, r := range records {
		if !f.Done.Contains(r.UID) && !fresh.Contains(r.UID) {
			fresh.Add(r.UID)
			if r.Reason != cameBefore { // counted then
				f.Counts.add(r)
			}
			switch {
			case r.Outcome == Skipped:
				f.Removed.Union(UIDsOf(r.UID)) // a reader has the old set
			case r.Outcome == LeftOut && r.Reason == folderGone:
				f.Unsettled.Add(r.UID)
			case r.Outcome == LeftOut && r.Reason == markedDeleted:
				f.Marked.Union(UIDsOf(r.UID)) // a reader has the old set
			case r.Outcome == LeftOut:
				f.LeftOut.Add(r.UID)
			}
			delete(f.Stumbles, r.UID)
			delete(f.Breaks, r.UID)
		}
	}
	f.Done.Union(fresh)
}
