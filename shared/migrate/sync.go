package migrate

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// mailboxRun is one run of one mailbox. Its checkpoint is changed by the goroutine of the run only.
type mailboxRun struct {
	*Runner
	cp        *Checkpoint
	tag       ETag
	endpoint  Endpoint
	slot      int // its number, for the log
	before    Counts
	keeper    *keeper
	base      context.Context         // outlives the leases: to write the checkpoint and to release
	ctx       context.Context         // ends when a lease is lost
	soft      context.Context         // ends when the budget is used up or the process is to stop
	endSoft   context.CancelCauseFunc // errBudget is the cause when the budget is used up
	began     time.Time
	budget    *time.Timer  // calls endSoft
	part      atomic.Int64 // connections that it may have of the endpoint's, see room
	loans     loans
	roomAsked time.Time
	outside   bool // the source server has not let it in
	leaveGate func()
	begun     bool // the stored checkpoint has this run's epoch
	source    Source
	target    Target
	uncut     func() bool              // ends what cuts the target off with the lease
	arrived   *arrivals                // nil: not read yet
	states    map[string]FolderState   // of folders, at the beginning of the pass
	plain     bool                     // a description broke the connection: see reader
	single    bool                     // likewise
	next      time.Time                // when this mailbox wants to run again
	broken    map[*FolderCursor]UIDSet // that FolderCursor.Breaks counts for this run
	looking   *lookout                 // of pre-flight; nil: mail is moved
	finding   *Problem                 // what pre-flight found that the administrator has to mend
}

// advance is the main loop: every folder, window by window, the newest part first, until nothing is
// left or the budget is used up.
func (m *mailboxRun) advance() error {
	work := m.sync
	if m.looking != nil {
		work = m.look
	}
	var last error
	for broken := 0; ; broken++ {
		err := work()
		m.disconnect()
		if errors.Is(err, errBudget) && last != nil && m.looking == nil && m.inVain() {
			err = last // the next run would fare no better, and say nothing of it
		}
		if err == nil || broken == 3 || m.ctx.Err() != nil || m.soft.Err() != nil || Judge(err, 0).Action != Reconnect {
			return m.orBudget(err)
		}
		last = err
	}
}

// sync brings over what is missing and says when to come back.
func (m *mailboxRun) sync() error {
	m.mayTake(2 * m.Limits.Budget)
	if err := m.connect(); err != nil {
		return err
	}
	// First: another filter, or another name of a folder, is about what a predecessor wrote, too.
	if err := m.absorbTails(); err != nil {
		return err
	}
	m.noteReceived()
	m.refilter()
	if err := m.refreshFolders(); err != nil {
		return err
	}
	m.mayTake(max(m.Limits.Budget, time.Since(m.began)+m.Limits.Budget/2))
	later, err := m.bringAll(m.unchanged())
	if err != nil {
		return err
	}
	if err := m.settleAll(); err != nil {
		return err
	}
	if err := m.lookAgain(); err != nil {
		return err
	}
	if later != nil {
		return later
	}
	return m.finishPass()
}

// finishPass is reached when every message at the source has an outcome, or waits for its look-up.
func (m *mailboxRun) finishPass() error {
	c := m.cp
	if len(c.Doubtful) > 0 {
		m.next = c.nextDoubt().After
		return nil
	}
	ordered, err := completionOrdered(m.ctx, m.Store, m.endpoint.Name, c.Mailbox.Batch)
	if err != nil {
		return err
	}
	c.Deaths, c.Restores = 0, 0
	c.Passes, c.Ended = c.Passes+1, time.Now().UTC()
	if !ordered {
		c.State, m.next = Synced, time.Now().Add(time.Duration(m.endpoint.SyncEvery))
		return nil
	}
	if len(c.Again) > 0 {
		m.next = earliest(c.Again)
		return nil
	}
	c.State = Completing
	return m.complete()
}

// orBudget turns the end of the budget into a normal hand-over.
func (m *mailboxRun) orBudget(err error) error {
	if errors.Is(err, errBudget) {
		m.next = time.Now()
		return nil
	}
	return err
}

// inVain reports whether the run has used up its budget, and nobody stopped it, without an outcome for a message.
func (m *mailboxRun) inVain() bool {
	return errors.Is(context.Cause(m.soft), errBudget) && m.cp.Counts() == m.before
}

// errBudget ends a run at a safe point.
var errBudget = errors.New("the run's budget is used up")

func (m *mailboxRun) lost() bool {
	return KindOf(context.Cause(m.ctx)) == LostOwnership
}

// save writes the checkpoint under the version this run knows.
func (m *mailboxRun) save() error {
	if m.lost() {
		return context.Cause(m.ctx)
	}
	m.cp.Since = time.Now().UTC()
	ctx := context.WithoutCancel(m.base)
	tag, err := SaveCheckpoint(ctx, m.Store, m.cp, Condition{Match: m.tag})
	if errors.Is(err, ErrConflict) && m.begun {
		// A write of ours whose answer got lost may stand there: nobody else writes this epoch as Running.
		stored, now, loadErr := LoadCheckpoint(ctx, m.Store, m.cp.Mailbox.ID)
		if loadErr == nil && stored.Phase == Running && stored.Epoch == m.cp.Epoch {
			tag, err = SaveCheckpoint(ctx, m.Store, m.cp, Condition{Match: now})
		}
	}
	if err != nil {
		return err
	}
	m.tag = tag
	return nil
}

func (m *mailboxRun) release() {
	m.budget.Stop()
	m.endSoft(nil)
	m.keeper.release(context.WithoutCancel(m.base))
	if m.leaveGate != nil {
		m.leaveGate()
	}
}

// mayTake sets how long the run may take, at most twice the budget. The list of the folders with their states takes
// minutes where the server reads all of a folder for that, and each run has to have time for something else.
func (m *mailboxRun) mayTake(d time.Duration) {
	m.budget.Reset(min(d, 2*m.Limits.Budget) - time.Since(m.began))
}

// softenBy ends the soft context when the channel closes.
func (m *mailboxRun) softenBy(asked <-chan struct{}) {
	if asked == nil {
		return
	}
	soft, end := m.soft, m.endSoft
	go func() {
		select {
		case <-asked:
			end(nil)
		case <-soft.Done():
		}
	}()
}

// bringAll brings over what the folders have and their ledgers have not. What keeps single folders from
// it is returned as later.
func (m *mailboxRun) bringAll(quiet map[*FolderCursor]bool) (later, err error) {
	var folders []*FolderCursor
	var shelves []*shelf
	for _, f := range illLast(m.cp.Folders) {
		if !f.Gone && !quiet[f] {
			done := m.settledOrDoubtful(f)
			folders = append(folders, f)
			shelves = append(shelves, &shelf{name: f.Name, past: f.past(), done: done, closed: f.View, expected: m.expected(f, done), next: m.states[f.Name].UIDNext})
		}
	}
	if len(shelves) == 0 {
		return nil, nil
	}
	r := m.read(shelves)
	defer r.close()
	for i, f := range folders {
		err := m.syncFolder(f, r, shelves[i])
		if errors.Is(err, errBudget) && later != nil && m.inVain() {
			return nil, later // the next run would end so, too
		}
		if err != nil && Judge(err, 0).Action != SkipFolder {
			return nil, err
		}
		if err != nil {
			r.drop(shelves[i])
		}
		later = errors.Join(later, f.refuse(err))
	}
	return later, nil
}

// expected is how many messages the folder has to read, as far as the server told.
func (m *mailboxRun) expected(f *FolderCursor, done UIDSet) int {
	if f.View {
		return 0
	}
	return max(0, m.states[f.Name].Messages-done.Len())
}

// syncFolder brings over what one folder has and its ledger has not.
func (m *mailboxRun) syncFolder(f *FolderCursor, r *reader, s *shelf) error {
	if err := r.list(s); err != nil {
		return err
	}
	m.listed(f, s.listing)
	if f.View {
		m.doubt(f, &Intent{UIDs: s.listing.existing.Minus(f.Done).Minus(m.doubtful(f.Key)), Anywhere: true, After: time.Now()})
	} else if err := m.makeFolder(f); err != nil { // an empty one, too
		return err
	} else if err := m.bringOver(f, r, s); err != nil {
		return err
	}
	if err := s.listing.complete(f.Name); err != nil {
		return err
	}
	f.Known, f.Listed = s.state, s.at
	return nil
}

// bringOver moves the messages of a shelf, window by window.
func (m *mailboxRun) bringOver(f *FolderCursor, r *reader, s *shelf) error {
	for {
		w, err := r.next(s)
		if w == nil || err != nil {
			return err
		}
		m.mindRoom(r)
		if err := m.window(f, r, w); err != nil {
			return err
		}
	}
}

// trustStates is how long a folder that looks unchanged is not listed again. Servers whose STATUS is
// wrong are found out within it.
const trustStates = 24 * time.Hour

// unchanged returns the folders in which nothing arrived and nothing changed since their last message
// got its outcome: equal UIDNEXT means no arrival, and then an equal number of messages no removal.
func (m *mailboxRun) unchanged() map[*FolderCursor]bool {
	byName := make(map[string]*FolderCursor)
	for _, f := range m.cp.Folders {
		if !f.Gone && f.Known.UIDNext != 0 && f.Known.UIDValidity == f.UIDValidity && time.Since(f.Listed) < trustStates {
			byName[f.Name] = f
		}
	}
	quiet := make(map[*FolderCursor]bool)
	for name, state := range m.states {
		// Who takes the mark \Deleted away changes HIGHESTMODSEQ at most.
		if f := byName[name]; f != nil && state == f.Known && m.doubtful(f.Key).Empty() && (f.Marked.Empty() || state.HighestModSeq != 0) {
			f.Total, quiet[f] = state.Messages, true
		}
	}
	return quiet
}

// reopen makes the folder current again, to read messages by the UIDs that its cursor knows.
func (m *mailboxRun) reopen(f *FolderCursor) error {
	state, err := m.source.Open(m.ctx, f.Name)
	if err == nil && state.UIDValidity != f.UIDValidity {
		err = validityChanged(f.Name, f.UIDValidity, state.UIDValidity)
	}
	return err
}

func validityChanged(folder string, from, to uint32) error {
	return &Error{Op: "open folder", Folder: folder, Kind: Unreachable, Err: fmt.Errorf("its UIDVALIDITY has just changed from %d to %d", from, to)}
}

// doubt has messages looked up before they are written.
func (m *mailboxRun) doubt(f *FolderCursor, i *Intent) {
	if !i.UIDs.Empty() {
		i.Folder, i.After = f.Key, i.After.UTC()
		m.cp.Doubtful = append(m.cp.Doubtful, i)
	}
}

// settledOrDoubtful are the messages of a folder that have an outcome or are in doubt.
func (m *mailboxRun) settledOrDoubtful(f *FolderCursor) UIDSet {
	s := m.doubtful(f.Key)
	s.Union(f.Done)
	return s
}

func (m *mailboxRun) doubtful(folder string) UIDSet {
	var s UIDSet
	for _, i := range m.cp.Doubtful {
		if i.Folder == folder {
			s.Union(i.UIDs)
		}
	}
	return s
}
