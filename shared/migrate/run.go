package migrate

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"mime"
	"time"
)

// Limits are the numbers a run keeps to.
type Limits struct {
	Budget         time.Duration // a run hands over after this, or half of it after it has the list of the folders, default 4m
	Lease          time.Duration // default 20s
	Renew          time.Duration // default 5s
	LongestRequest time.Duration // a target request may still act so long after its connection died, default 60s
	WindowMessages int           // default 200
	WindowOctets   int64         // default 32 MiB, by the source's word
}

// Defaults fills in what is zero.
func (l Limits) Defaults() Limits {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	set(&l.Budget, 4*time.Minute)
	set(&l.Lease, 20*time.Second)
	set(&l.Renew, 5*time.Second)
	set(&l.LongestRequest, time.Minute)
	if l.WindowMessages == 0 {
		l.WindowMessages = 200
	}
	if l.WindowOctets == 0 {
		l.WindowOctets = 32 << 20
	}
	return l
}

// Runner handles wake-ups.
type Runner struct {
	Store   Store
	Drop    Store
	Waker   Waker
	Planner *Planner
	Dial    DialSource
	Open    OpenTarget
	Spool   *Spool
	Gate    *Gate
	Words   *mime.WordDecoder
	Limits  Limits
	Logger  *slog.Logger
	company company
}

// Run handles one wake-up: the mailbox advances for at most the budget, then hands over. It ends
// early, at a safe point, when soft ends; ctx ends everything at once.
//
// A nil error means that the wake-up is used up: everything that went wrong with the mailbox stands
// in its checkpoint. An error means that the wake-up should be delivered again.
func (r *Runner) Run(ctx, soft context.Context, w WakeUp) error {
	m, err := r.claim(ctx, soft, w)
	if m == nil || err != nil {
		return err
	}
	began := time.Now()
	err = m.advance()
	verdict := m.conclude(err, time.Since(began))
	if verdict.Action != Leave {
		err = m.save()
	}
	m.release()
	r.Logger.Info("run ended", "mailbox", w.Mailbox, "seq", w.Seq, "epoch", m.cp.Epoch, "slot", m.slot, "state", m.cp.State,
		"migrated", m.cp.Counts().Migrated-m.before.Migrated, "took", time.Since(began).Round(time.Millisecond), "cause", causeText(err, m.cp))
	if verdict.Action == Leave {
		return m.handBack(context.WithoutCancel(ctx))
	}
	if errors.Is(err, ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	if m.outside && verdict.Action != FailMailbox || m.part.Load() == 0 {
		return nil // the next would fare no better, or has no slot: the tick finds out
	}
	return r.Planner.Next(context.WithoutCancel(ctx), w.Mailbox.Endpoint(), w.Mailbox)
}

func causeText(err error, c *Checkpoint) string {
	if err != nil {
		return err.Error()
	}
	if c.Problem != nil {
		return string(c.Problem.Kind)
	}
	return ""
}

// claim loads the checkpoint the wake-up is for, takes slot and lease, and shuts out any predecessor
// with a new epoch. Nothing to do is nil, nil.
func (r *Runner) claim(ctx, soft context.Context, w WakeUp) (*mailboxRun, error) {
	c, tag, err := LoadCheckpoint(ctx, r.Store, w.Mailbox)
	if errors.Is(err, ErrNotFound) || KindOf(err) == Newer || KindOf(err) == Corrupt {
		return nil, ignore(r.Logger, w, err)
	}
	if err != nil {
		return nil, err
	}
	if c.Seq != w.Seq || c.Phase == Waiting || c.State.Final() {
		return nil, nil
	}
	endpoint, hold, err := r.describe(ctx, c)
	if err != nil {
		return nil, r.wait(ctx, w, c, tag, err)
	}
	if soft.Err() != nil || hold.keeps(c.State, c.Preflight, c.kind()) {
		return nil, r.wait(ctx, w, c, tag, nil)
	}
	deaths := c.Deaths
	if c.Phase == Running {
		deaths++ // not counted yet
	}
	asked, leave, err := r.Gate.enter(ctx, deaths >= maxDeaths-1)
	if errors.Is(err, errBusy) {
		return nil, r.wakeAgain(ctx, w)
	}
	if err != nil {
		return nil, err
	}
	m, err := r.takeOver(ctx, soft, w, c, tag, endpoint, hold)
	if m == nil {
		leave()
		return nil, err
	}
	m.leaveGate = leave
	m.softenBy(asked)
	return m, nil
}

func ignore(log *slog.Logger, w WakeUp, err error) error {
	log.Warn("wake-up ignored", "mailbox", w.Mailbox, "seq", w.Seq, "cause", err)
	return nil
}

// wait gives a woken mailbox back to the planner. A running one is its run's; should that be dead,
// a later wake-up finds it so.
func (r *Runner) wait(ctx context.Context, w WakeUp, c *Checkpoint, tag ETag, cause error) error {
	if c.Phase == Running {
		return r.wakeAgain(ctx, w)
	}
	due := time.Now()
	if cause != nil {
		c.Problem = problemOf(cause)
		due = due.Add(Judge(cause, c.Failures).After)
	}
	c.moveTo(Waiting, due)
	if _, err := SaveCheckpoint(ctx, r.Store, c, Condition{Match: tag}); err != nil && !errors.Is(err, ErrConflict) {
		return err
	}
	return nil
}

// handBack ends a run that lost its lease, if nobody else has the mailbox: without it, the run would
// pass for one that died. What it was writing stays in doubt.
func (m *mailboxRun) handBack(ctx context.Context) error {
	lease, err := m.Store.Acquire(ctx, leaseName(m.cp.Mailbox.Target.GUID), m.Limits.Lease)
	if err != nil {
		return nil // somebody else has it, or the planner finds out
	}
	defer lease.Release(ctx)
	c, tag, err := LoadCheckpoint(ctx, m.Store, m.cp.Mailbox.ID)
	if err != nil || c.Epoch != m.cp.Epoch || c.Phase != Running {
		return nil
	}
	c.Failures++
	c.moveTo(Waiting, time.Now().Add(backoff(c.Failures)))
	if _, err = SaveCheckpoint(ctx, m.Store, c, Condition{Match: tag}); errors.Is(err, ErrConflict) {
		return nil
	}
	return err
}

// wakeAgain sends the same wake-up once more, for when the lease that is held now may have ended.
func (r *Runner) wakeAgain(ctx context.Context, w WakeUp) error {
	w.Attempt++
	return r.Waker.Wake(ctx, w, time.Now().Add(r.Limits.Lease/4))
}

// takeOver acquires slot and mailbox, in this order, and writes the new epoch.
func (r *Runner) takeOver(ctx, soft context.Context, w WakeUp, c *Checkpoint, tag ETag, endpoint Endpoint, hold hold) (*mailboxRun, error) {
	acquired := time.Now()
	room, err := loadRoom(ctx, r.Store, endpoint)
	if err != nil {
		return nil, err
	}
	slot, number, err := acquireSlot(ctx, r.Store, endpoint.Name, room.runs, r.Limits.Lease, int(hash(string(w.Mailbox))))
	if errors.Is(err, ErrLeaseHeld) {
		return nil, r.wait(ctx, w, c, tag, nil) // the slot may be a dead run's
	}
	if err != nil {
		return nil, fmt.Errorf("take a slot: %w", err)
	}
	mailbox, err := r.Store.Acquire(ctx, leaseName(c.Mailbox.Target.GUID), r.Limits.Lease)
	if err != nil {
		_ = slot.Release(ctx)
		if errors.Is(err, ErrLeaseHeld) {
			return nil, r.wakeAgain(ctx, w)
		}
		return nil, fmt.Errorf("take the mailbox: %w", err)
	}
	m := &mailboxRun{Runner: r, cp: c, tag: tag, endpoint: endpoint, before: c.Counts()}
	m.base, m.slot, m.roomAsked = ctx, number, acquired
	m.part.Store(int64(room.of(number)))
	m.ctx, m.keeper = keep(ctx, acquired, r.Limits.Lease, r.Limits.Renew, mailbox, slot)
	m.soft, m.endSoft = context.WithCancelCause(soft)
	m.began, m.budget = time.Now(), time.AfterFunc(r.Limits.Budget, func() { m.endSoft(errBudget) })
	if hold.on {
		m.looking = &lookout{order: hold.look}
	}
	runs := m.begin()
	err = m.save()
	if err != nil || !runs {
		m.release()
		if errors.Is(err, ErrConflict) {
			err = nil
		}
		return nil, err
	}
	m.begun = true
	r.Logger.Info("run began", "mailbox", w.Mailbox, "seq", w.Seq, "epoch", c.Epoch, "slot", number)
	return m, nil
}

func hash(s string) uint16 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return uint16(h.Sum32())
}

// maxDeaths is one death alone in its process after two in company.
const maxDeaths = 3

// begin moves the checkpoint to Running, or gives the mailbox up. A run that was Running before has died.
func (m *mailboxRun) begin() (runs bool) {
	c := m.cp
	if c.Phase == Running {
		c.Deaths++
	}
	if c.Deaths >= maxDeaths {
		c.fail(&Error{Op: "run", Kind: Died, Err: fmt.Errorf("the process died %d times, the last time with this mailbox alone in it", c.Deaths)})
		return false
	}
	if m.looking == nil && c.State == Queued && c.refusedBefore() {
		c.giveUp()
		return false
	}
	c.Epoch++
	if m.looking != nil {
		c.Preflight = &Preflight{Order: m.looking.order}
		c.moveTo(Running, time.Time{})
		return true
	}
	c.Preflight = nil
	if c.Started.IsZero() {
		c.Started = time.Now().UTC()
	}
	switch c.State {
	case Queued:
		c.State = Syncing
	case Synced:
		c.State = IncrementalSyncing
	}
	if c.Intent != nil { // a predecessor was writing these when it died
		c.Intent.Sent, c.Intent.After = true, time.Now().Add(m.Limits.LongestRequest).UTC()
		c.Doubtful, c.Intent = append(c.Doubtful, c.Intent), nil
	}
	c.moveTo(Running, time.Time{})
	return true
}

// conclude writes into the checkpoint what follows from how the run ended.
func (m *mailboxRun) conclude(err error, took time.Duration) Verdict {
	c := m.cp
	c.Active += Duration(took)
	if m.lost() {
		return Verdict{Action: Leave}
	}
	if err == nil {
		c.Failures, c.Problem = 0, m.finding
		c.moveTo(Waiting, m.next)
		return Verdict{}
	}
	tries := &c.Failures
	if ReasonOf(err) == NotConnected {
		if c.reason() != NotConnected {
			c.Failures = 0 // what went wrong before says nothing of the password
		}
	} else if m.turnedAway(err) {
		tries = &c.Outside
	}
	*tries++
	v := Judge(err, *tries)
	if v.Action == Leave {
		return v
	}
	if v.Action == FailMailbox {
		c.fail(err)
		return v
	}
	c.Problem = problemOf(err)
	c.moveTo(Waiting, time.Now().Add(v.After))
	return v
}
