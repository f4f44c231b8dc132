package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

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
