package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
