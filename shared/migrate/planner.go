package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Planner decides who is woken next. It keeps nothing between calls: any number of planners on any
// number of instances may work at once.
type Planner struct {
	Store Store
	Drop  Store // holds <endpoint>/endpoint.json
	Waker Waker
	// Grace is how long a wake-up or a run may give no sign before it counts as lost.
	Grace time.Duration
}

const (
	maxRestores = 10   // of one mailbox without progress
	hintLength  = 2000 // mailboxes a plan names
)

// plan is the hint that lets a run which ends find its successor without a listing.
type plan struct {
	Version int         `json:"v"`
	Waiting []MailboxID `json:"waiting"`
}

func planName(endpoint string) string { return "plans/" + endpoint + ".json" }

// LoadEndpoint reads the description of an endpoint from the drop zone. None is a *Error of kind
// Configuration.
func LoadEndpoint(ctx context.Context, drop Store, name string) (Endpoint, error) {
	if !ValidEndpointName(name) {
		return Endpoint{}, &Error{Op: "load endpoint", Kind: Configuration, Err: fmt.Errorf("%q is no endpoint name: use lower-case letters, digits and hyphens", name)}
	}
	content, _, err := drop.Get(ctx, name+"/endpoint.json")
	if errors.Is(err, ErrNotFound) {
		return Endpoint{}, &Error{Op: "load endpoint", Kind: Configuration, Err: fmt.Errorf("there is no %s/endpoint.json", name)}
	}
	if err != nil {
		return Endpoint{}, fmt.Errorf("load endpoint: %w", err)
	}
	e, err := ParseEndpoint(name, content)
	if err != nil {
		return Endpoint{}, &Error{Op: "load endpoint", Kind: Configuration, Err: err}
	}
	return e, nil
}

// Tick fills the free slots of every endpoint that has mailboxes. One endpoint's trouble does not
// keep the others waiting.
func (p *Planner) Tick(ctx context.Context) error {
	names, err := Endpoints(ctx, p.Store)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range names {
		if err := p.Fill(ctx, name); err != nil {
			errs = append(errs, fmt.Errorf("plan endpoint %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// Endpoints lists the endpoints that have mailboxes. Each writes its name once, at intake.
func Endpoints(ctx context.Context, s Store) ([]string, error) {
	var names []string
	err := s.List(ctx, "endpoints/", func(e Entry) error {
		if name := e.Name[len("endpoints/"):]; ValidEndpointName(name) {
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list endpoints: %w", err)
	}
	return names, nil
}

// AnnounceEndpoint makes an endpoint known to Endpoints.
func AnnounceEndpoint(ctx context.Context, s Store, name string) error {
	_, err := s.Put(ctx, "endpoints/"+name, []byte("{}"), nil, Condition{Absent: true})
	if err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("announce endpoint: %w", err)
	}
	return nil
}

// Fill lists one endpoint's checkpoints, restores what was lost, writes the plan and wakes as many
// mailboxes as there are free slots.
func (p *Planner) Fill(ctx context.Context, name string) error {
	endpoint, err := LoadEndpoint(ctx, p.Drop, name)
	if err != nil {
		return err
	}
	orders, err := listOrders(ctx, p.Store, name)
	if err != nil {
		return err
	}
	now := time.Now()
	var waiting, running []Summary
	var lost []MailboxID
	err = Summaries(ctx, p.Store, name, func(s Summary) error {
		switch {
		case s.Phase != Waiting && now.Sub(s.Since) < p.patience(s):
			running = append(running, s)
		case s.Phase != Waiting:
			lost = append(lost, s.ID)
		case holdBy(endpoint, orders[s.Batch]).keeps(s.State, s.Preflight, s.Kind): // waits for the start
		case !s.State.Final() && (!s.Due.After(now) || orders[s.Batch].complete && s.State == Synced ||
			holdBy(endpoint, orders[s.Batch]).hurries(s.State, s.Preflight, s.Kind)):
			waiting = append(waiting, s)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list checkpoints: %w", err)
	}
	active := len(running)
	for _, id := range lost {
		alive, err := p.restore(ctx, id)
		if err != nil {
			return err
		}
		if alive {
			active++
		}
	}
	order(waiting, running, endpoint, orders)
	room, err := loadRoom(ctx, p.Store, endpoint)
	if err != nil {
		return err
	}
	return p.wakeFirst(ctx, name, waiting, room.runs-active)
}

// patience is how long nothing may be heard of a mailbox. A wake-up need not be lost because it waits in the
// queue, such as while few instances are up for many slots, and one that is sent anew waits behind all
// others: each is given twice as long as the last.
func (p *Planner) patience(s Summary) time.Duration {
	if s.Phase == Woken {
		return p.Grace << min(s.Restores, maxRestores)
	}
	return p.Grace
}

// order sorts: completing, overdue incremental, pre-flight, then the rest, each by the time it became due.
// Incremental ones get every second place at most: with many mailboxes some are always overdue, and the rest
// would never get a turn. The first place is the rest's while more incremental ones run: where runs take long,
// each plan is read once at most.
func order(waiting, running []Summary, endpoint Endpoint, orders map[string]batchOrders) {
	class := func(s Summary) int {
		switch {
		case orders[s.Batch].complete && (s.State == Synced || s.State == Completing):
			return 0
		case s.State == Synced || s.State == IncrementalSyncing || s.State == Draining:
			return 1
		case s.State == Queued && holdBy(endpoint, orders[s.Batch]).on:
			return 2
		default:
			return 3
		}
	}
	slices.SortStableFunc(waiting, func(a, b Summary) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID))
	})
	behind := func(last int) int {
		n, _ := slices.BinarySearchFunc(waiting, last, func(s Summary, last int) int { return cmp.Or(cmp.Compare(class(s), last), -1) })
		return n
	}
	incremental := 0 // more of them than of the rest
	for _, s := range running {
		switch n := class(s); {
		case orders[s.Batch].complete:
		case n == 1:
			incremental++
		default:
			incremental--
		}
	}
	turn := 0
	if incremental > 0 {
		turn = 1
	}
	alternate(waiting[behind(0):], behind(1)-behind(0), turn)
}

// alternate takes one of the first n and one of the others in turn; it begins with the others in turn 1.
func alternate(list []Summary, n, turn int) {
	first, others := slices.Clone(list[:n]), slices.Clone(list[n:])
	for i := range list {
		from := &others
		if len(others) == 0 || (i+turn)%2 == 0 && len(first) > 0 {
			from = &first
		}
		list[i], *from = (*from)[0], (*from)[1:]
	}
}

// wakeFirst wakes the first free mailboxes and leaves the rest as the plan.
func (p *Planner) wakeFirst(ctx context.Context, endpoint string, waiting []Summary, free int) error {
	for free > 0 && len(waiting) > 0 {
		woken, err := p.claim(ctx, waiting[0].ID)
		if err != nil {
			return err
		}
		if woken {
			free--
		}
		waiting = waiting[1:]
	}
	hint := plan{Version: 1}
	for _, s := range waiting[:min(len(waiting), hintLength)] {
		hint.Waiting = append(hint.Waiting, s.ID)
	}
	return p.savePlan(ctx, endpoint, hint, Condition{})
}

func (p *Planner) savePlan(ctx context.Context, endpoint string, hint plan, c Condition) error {
	content, err := json.Marshal(hint)
	if err == nil {
		_, err = p.Store.Put(ctx, planName(endpoint), content, nil, c)
	}
	if err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

// Next wakes one mailbox of the endpoint in place of one whose run has just ended: the first of the
// plan that still waits, else the given one if it is due.
func (p *Planner) Next(ctx context.Context, endpoint string, last MailboxID) error {
	var hint plan
	content, tag, err := p.Store.Get(ctx, planName(endpoint))
	if err == nil {
		err = json.Unmarshal(content, &hint)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("read plan: %w", err)
	}
	for i, id := range hint.Waiting {
		woken, err := p.claim(ctx, id)
		if err != nil {
			return err
		}
		if woken {
			hint.Waiting = hint.Waiting[i+1:]
			return p.savePlan(ctx, endpoint, hint, Condition{Match: tag})
		}
	}
	_, err = p.claim(ctx, last)
	return err
}

// claim gives a waiting mailbox a new wake-up, if it may run now.
func (p *Planner) claim(ctx context.Context, id MailboxID) (bool, error) {
	c, tag, err := LoadCheckpoint(ctx, p.Store, id)
	if KindOf(err) == Newer || KindOf(err) == Corrupt || errors.Is(err, ErrNotFound) {
		return false, nil // a newer program's, or the administrator's, to deal with
	}
	if err != nil {
		return false, err
	}
	if c.Phase != Waiting || c.State.Final() {
		return false, nil
	}
	if held, err := p.held(ctx, c); held || err != nil {
		return false, err
	}
	if c.Due.After(time.Now()) {
		if ordered, err := p.ordered(ctx, c); !ordered || err != nil {
			return false, err
		}
	}
	return p.wake(ctx, c, tag)
}

// wake moves a checkpoint to Woken under its ETag and sends the wake-up. Losing the race is no error.
// What cannot be sent goes back to waiting, as it is not the mailbox that is in trouble.
func (p *Planner) wake(ctx context.Context, c *Checkpoint, tag ETag) (bool, error) {
	c.Seq++
	c.moveTo(Woken, c.Due)
	tag, err := SaveCheckpoint(ctx, p.Store, c, Condition{Match: tag})
	if errors.Is(err, ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	err = p.Waker.Wake(ctx, WakeUp{Version: WakeUpVersion, Mailbox: c.Mailbox.ID, Seq: c.Seq, Attempt: 1}, time.Time{})
	if err == nil {
		return true, nil
	}
	c.moveTo(Waiting, c.Due)
	_, undone := SaveCheckpoint(context.WithoutCancel(ctx), p.Store, c, Condition{Match: tag})
	if errors.Is(undone, ErrConflict) {
		undone = nil // it was sent all the same
	}
	return false, errors.Join(err, undone)
}

// restore looks after a mailbox that gave no sign for the grace. One whose lease is held is alive;
// any other goes back to waiting, to be woken with the next tick under a new Seq.
func (p *Planner) restore(ctx context.Context, id MailboxID) (alive bool, err error) {
	c, tag, err := LoadCheckpoint(ctx, p.Store, id)
	if KindOf(err) == Newer || KindOf(err) == Corrupt || errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lease, err := p.Store.Acquire(ctx, leaseName(c.Mailbox.Target.GUID), 15*time.Second)
	if errors.Is(err, ErrLeaseHeld) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look whether a run is alive: %w", err)
	}
	defer lease.Release(context.WithoutCancel(ctx))
	if c.Phase == Waiting {
		return false, nil
	}
	if c.abandon() {
		_, err = SaveCheckpoint(ctx, p.Store, c, Condition{Match: tag})
	} else {
		_, err = p.wake(ctx, c, tag)
	}
	if errors.Is(err, ErrConflict) {
		err = nil
	}
	return err == nil && c.Phase == Woken, err
}

// abandon counts a wake-up or run that vanished. It gives the mailbox up, and says so, when that
// happened too often without progress.
func (c *Checkpoint) abandon() (givenUp bool) {
	c.Restores++
	if c.Phase == Running {
		c.Deaths++
	}
	c.moveTo(Waiting, time.Now())
	if c.Restores <= maxRestores {
		return false
	}
	c.fail(&Error{Op: "run", Kind: Died, Err: fmt.Errorf("%d wake-ups in a row ended without progress", c.Restores)})
	return true
}

// fail gives the mailbox up.
func (c *Checkpoint) fail(err error) {
	c.Problem = problemOf(err)
	if c.Problem.Reason == NotConnected {
		c.Problem.Kind = SignIn // and new credentials give it another try
	}
	c.giveUp()
}

// giveUp leaves the mailbox to the administrator. In pre-flight that is what was found.
func (c *Checkpoint) giveUp() {
	if c.State == Queued && c.Preflight.underWay() {
		c.Preflight.At = time.Now().UTC()
		c.Deaths, c.Restores, c.Failures = 0, 0, 0
	} else {
		c.State = Failed
	}
	c.moveTo(Waiting, time.Now())
}

// DeadLetter handles a wake-up that was delivered too often: the mailbox goes back to waiting, and
// fails if that keeps happening.
func (p *Planner) DeadLetter(ctx context.Context, w WakeUp) error {
	c, _, err := LoadCheckpoint(ctx, p.Store, w.Mailbox)
	if errors.Is(err, ErrNotFound) || err == nil && (c.Seq != w.Seq || c.Phase == Waiting) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = p.restore(ctx, w.Mailbox)
	return err
}
