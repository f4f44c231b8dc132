package migrate

import (
	"context"
	"errors"
	"sync"
)

// errBusy says that another run has this process alone.
var errBusy = errors.New("another mailbox runs alone in this process")

// Gate lets runs share a process, or one run have it alone.
type Gate struct {
	mu      sync.Mutex
	inside  int
	alone   bool
	leave   chan struct{} // closed to ask those inside to end soon
	emptied chan struct{} // closed when the last of them has left
}

// NewGate returns an open gate.
func NewGate() *Gate { return &Gate{leave: make(chan struct{})} }

// enter lets a run in, or gives errBusy while one is, or waits to be, alone. A run that wants to be
// alone asks the others to end and waits for them. The channel closes when this run should end soon.
func (g *Gate) enter(ctx context.Context, alone bool) (asked <-chan struct{}, leave func(), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.alone {
		return nil, nil, errBusy
	}
	if !alone {
		g.inside++
		return g.leave, g.exit, nil
	}
	g.alone = true
	close(g.leave)
	g.leave = make(chan struct{})
	if g.inside > 0 {
		g.emptied = make(chan struct{})
		emptied := g.emptied
		g.mu.Unlock()
		select {
		case <-emptied:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		g.mu.Lock()
	}
	if err != nil {
		g.alone = false
		return nil, nil, err
	}
	return nil, g.open, nil
}

func (g *Gate) exit() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inside--; g.inside == 0 && g.emptied != nil {
		close(g.emptied)
		g.emptied = nil
	}
}

func (g *Gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.alone = false
}
