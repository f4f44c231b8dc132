package migrate

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Preflight says how far pre-flight is with a mailbox of which nothing was moved yet. What it found in
// full is the PreflightReport. Such a mailbox stays Queued and is never Failed: what is wrong with it
// stands in the checkpoint's Problem.
type Preflight struct {
	At      time.Time `json:"at,omitzero"`     // when the mailbox was looked at; zero: that is under way
	Order   string    `json:"order,omitempty"` // the order that was followed; empty: the endpoint's setting alone
	Folders int       `json:"folders"`         // that come
	Extent            // of these, but for views
	Shown   int       `json:"shown,omitempty"`   // messages in views: those of them come that lie nowhere else
	Renamed int       `json:"renamed,omitempty"` // folders whose name has to be changed
	Merged  int       `json:"merged,omitempty"`  // folders that share one with another
	LeftOut int       `json:"leftOut,omitempty"` // folders that stay behind
	Astray  int       `json:"astray,omitempty"`  // messages of the sample with a spoilt received date
}

func (p *Preflight) done() bool     { return p != nil && !p.At.IsZero() }
func (p *Preflight) underWay() bool { return p != nil && p.At.IsZero() }

// text is for a blob's metadata.
func (p *Preflight) text() string {
	if p == nil {
		return ""
	}
	at := "-"
	if p.done() {
		at = p.At.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprint(at, " ", cmp.Or(p.Order, "-"), " ", p.Folders, " ", p.Extent.text())
}

// parsePreflight reads what text wrote.
func parsePreflight(text string) *Preflight {
	words := strings.Fields(text)
	if len(words) < 5 {
		return nil
	}
	p := &Preflight{Extent: parseExtent(words[3:])}
	p.Folders, _ = strconv.Atoi(words[2])
	p.At, _ = time.Parse(time.RFC3339Nano, words[0])
	if words[1] != "-" {
		p.Order = words[1]
	}
	return p
}

// hold keeps the mailboxes of a batch from being moved while they are in pre-flight.
type hold struct {
	on   bool
	look string // the order to look again that is to be followed
}

func holdBy(e Endpoint, o batchOrders) hold { return hold{on: e.Preflight && !o.start, look: o.look} }

// holdOf reads the orders of a batch, if the endpoint says that there is a pre-flight.
func holdOf(ctx context.Context, s Store, e Endpoint, batch string) (hold, error) {
	if !e.Preflight {
		return hold{}, nil
	}
	start, err := readOrder(ctx, s, e.Name, batch, toStart)
	if err != nil || start != "" {
		return hold{}, err
	}
	look, err := readOrder(ctx, s, e.Name, batch, toLook)
	return holdBy(e, batchOrders{look: look}), err
}

// keeps reports whether a mailbox has been looked at and waits for the start. A password that was
// refused is not tried again for an order: servers count refusals towards a lock.
func (h hold) keeps(state State, p *Preflight, problem Kind) bool {
	return h.on && state == Queued && p.done() && (p.Order == h.look || problem == SignIn)
}

// hurries reports whether an order to look again ends a mailbox's pause: what stopped it may be mended. A pause
// that the server asked for has its time.
func (h hold) hurries(state State, p *Preflight, problem Kind) bool {
	followed := ""
	if p != nil {
		followed = p.Order
	}
	return h.on && state == Queued && h.look != followed && (problem == Unreachable || problem == Configuration)
}

// untouched reports whether nothing of the mailbox was moved yet.
func (c *Checkpoint) untouched() bool { return c.State == Queued && len(c.Folders) == 0 }

// kind is that of the mailbox's problem, or nothing.
func (c *Checkpoint) kind() Kind {
	if c.Problem == nil {
		return ""
	}
	return c.Problem.Kind
}

// reason is that of the mailbox's problem, or none.
func (c *Checkpoint) reason() Reason {
	if c.Problem == nil {
		return ""
	}
	return c.Problem.Reason
}

// refusedBefore reports whether pre-flight found that the server refuses the sign-in. New credentials
// end that.
func (c *Checkpoint) refusedBefore() bool { return c.Preflight.done() && c.kind() == SignIn }

// describe loads the endpoint of a mailbox and what holds it. An order is given after the settings were
// mended: it is read before them.
func (r *Runner) describe(ctx context.Context, c *Checkpoint) (Endpoint, hold, error) {
	name := c.Mailbox.ID.Endpoint()
	endpoint, err := LoadEndpoint(ctx, r.Drop, name)
	if err != nil || !endpoint.Preflight || !c.untouched() {
		return endpoint, hold{}, err
	}
	h, err := holdOf(ctx, r.Store, endpoint, c.Mailbox.Batch)
	if err == nil {
		endpoint, err = LoadEndpoint(ctx, r.Drop, name)
	}
	h.on = h.on && endpoint.Preflight
	return endpoint, h, err
}

// held reports whether a mailbox that was looked at waits for the start.
func (p *Planner) held(ctx context.Context, c *Checkpoint) (bool, error) {
	if !c.Preflight.done() || !c.untouched() {
		return false, nil
	}
	endpoint, err := LoadEndpoint(ctx, p.Drop, c.Mailbox.ID.Endpoint())
	if KindOf(err) == Configuration {
		return true, nil // the administrator is at it
	}
	if err != nil {
		return false, err
	}
	h, err := holdOf(ctx, p.Store, endpoint, c.Mailbox.Batch)
	return h.keeps(c.State, c.Preflight, c.kind()), err
}

// ordered reports whether an order ends a mailbox's pause. One that only waits for its next sync need not
// be due when it was ordered to complete, nor one in pre-flight that may be mended; any other pause has a
// reason.
func (p *Planner) ordered(ctx context.Context, c *Checkpoint) (bool, error) {
	endpoint := c.Mailbox.ID.Endpoint()
	switch {
	case c.State == Synced:
		return completionOrdered(ctx, p.Store, endpoint, c.Mailbox.Batch)
	case c.State != Queued || !c.untouched():
		return false, nil
	}
	e, err := LoadEndpoint(ctx, p.Drop, endpoint)
	if err != nil {
		return false, err
	}
	h, err := holdOf(ctx, p.Store, e, c.Mailbox.Batch)
	return h.hurries(c.State, c.Preflight, c.kind()), err
}
