package migrate

import (
	"context"
	"errors"
	"time"
)

// patience is how long, for a mailbox in all, pre-flight waits for sizes: it can do without, and a server
// that has them not at hand reads every message for them.
const patience = 3 * time.Minute

var errSlowSizes = &Error{Op: "ask for sizes", Kind: Unreachable, Err: errors.New("the server takes too long; they are estimated")}

// patiently asks for what pre-flight can do without, as long as there is patience left. A server that
// takes longer loses its connection, and the error asks for another. A connection that breaks takes some
// of the patience, too.
func (m *mailboxRun) patiently(ask func(ctx context.Context) error) error {
	r := m.looking.report
	left := patience - time.Duration(r.Waited)
	if left <= 0 {
		return nil
	}
	ctx, cancel := context.WithCancelCause(m.ctx)
	defer cancel(nil)
	defer context.AfterFunc(m.soft, func() { cancel(errBudget) })()
	defer time.AfterFunc(left, func() { cancel(errSlowSizes) }).Stop()
	began := time.Now()
	err := ask(ctx)
	r.Waited, m.looking.news = r.Waited+Duration(time.Since(began)), true
	switch {
	case Judge(err, 0).Action == Reconnect && ctx.Err() == nil:
		r.Waited += Duration(patience / breaksLeft)
	case KindOf(err) == Throttled: // what need not be known is not worth a pause each
		r.Waited = Duration(patience)
	}
	return err
}

// askSizes asks how large the folders are that come and that were not looked into yet.
func (m *mailboxRun) askSizes() error {
	r := m.looking.report
	if r.SizesAsked {
		return nil
	}
	at := make(map[string]int)
	var names []string
	for i, f := range r.Folders {
		if !f.Looked && !f.Sized {
			at[f.Name], names = i, append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	err := m.patiently(func(ctx context.Context) error {
		sizes, err := m.source.Sizes(ctx, names)
		for name, size := range sizes {
			if size < 0 || size > maxSize {
				continue
			}
			f := &r.Folders[at[name]]
			f.Octets, f.Sized, f.Estimated = size, true, false
		}
		return err
	})
	r.SizesAsked = err == nil
	return err
}

// measure takes the size of each message of the current folder, which a sample of headers cannot tell: few
// messages are too large for the target.
func (m *mailboxRun) measure(f *LookedFolder, uids UIDSet) error {
	err := m.patiently(func(ctx context.Context) error {
		seen := &tally{endpoint: m.endpoint}
		err := m.source.Describe(ctx, uids, func(i MessageInfo) error {
			received := time.Time{}
			if m.endpoint.Received.internal() {
				received = i.Received
			}
			seen.add(i, received)
			return nil
		})
		if err == nil {
			f.take(seen)
		}
		return err
	})
	if action := Judge(err, 0).Action; action == SkipFolder || action == SkipMessage {
		return nil // it has just gone away
	}
	return err
}
