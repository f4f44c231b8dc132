package exchange

import (
	"context"
	"sync"
)

// pool lends IMAP sessions, opened when first needed and never more than its size.
type pool struct {
	open  func(context.Context) (*session, error)
	slots chan struct{} // holds an element per session that is lent or being opened

	mu     sync.Mutex
	idle   []*session
	all    map[*session]struct{}
	closed bool
}

func newPool(size int, open func(context.Context) (*session, error)) *pool {
	return &pool{open: open, slots: make(chan struct{}, size), all: make(map[*session]struct{})}
}

// get lends a session and says whether it was used before: one that was may have ended unseen.
func (p *pool) get(ctx context.Context) (s *session, used bool, err error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false, ctx.Err()
	}
	if s := p.take(); s != nil {
		return s, true, nil
	}
	s, err = p.open(ctx)
	if err == nil && !p.adopt(s) {
		s.cut()
		err = errClosed
	}
	if err != nil {
		<-p.slots
		return nil, false, err
	}
	return s, false, nil
}

// take pops an idle session that still lives; those that do not are forgotten.
func (p *pool) take() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 {
		s := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if s.alive() {
			return s
		}
		s.cut()
		delete(p.all, s)
	}
	return nil
}

func (p *pool) adopt(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.all[s] = struct{}{}
	return true
}

// put takes a session back. One that is not sound is cut and never lent again.
func (p *pool) put(s *session, sound bool) {
	p.mu.Lock()
	if sound && !p.closed {
		s.conn.Rest()
		p.idle = append(p.idle, s)
	} else {
		s.cut()
		delete(p.all, s)
	}
	p.mu.Unlock()
	<-p.slots
}

// others reports whether sessions besides s are open.
func (p *pool) others(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for other := range p.all {
		if other != s && other.alive() {
			return true
		}
	}
	return false
}

// close cuts every session, lent or not.
func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for s := range p.all {
		s.cut()
	}
	p.all, p.idle = make(map[*session]struct{}), nil
}
