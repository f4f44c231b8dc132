package migratetest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"sync"
	"sync/atomic"
	"time"

	"mailferry/shared/migrate"
)

// ErrKilled is what every call of a killed process gives: it is not seen by anyone.
var ErrKilled = errors.New("the process is killed")

// process is one instance of the program. After a number of side effects it is killed: the last one
// has happened, but nothing that the process calls has an effect or an answer any more.
type process struct {
	world   *World
	planner *migrate.Planner
	runner  *migrate.Runner
	ctx     context.Context
	kill    context.CancelCauseFunc
	soft    context.Context
	stop    context.CancelFunc
	all     sync.WaitGroup

	limit   int64 // side effects until the kill; 0: never
	effects *atomic.Int64
	dead    atomic.Bool
}

func newProcess(w *World, limit int) *process {
	p := &process{world: w, limit: int64(limit), effects: &w.effects}
	if limit > 0 {
		p.effects = new(atomic.Int64)
	}
	p.ctx, p.kill = context.WithCancelCause(context.Background())
	p.soft, p.stop = context.WithCancel(context.Background())
	store := procStore{w.Store, p}
	p.planner = &migrate.Planner{Store: store, Drop: w.Drop, Waker: procWaker{p}, Grace: w.Grace}
	p.runner = &migrate.Runner{
		Store: store, Drop: w.Drop, Waker: procWaker{p}, Planner: p.planner, Gate: migrate.NewGate(),
		Spool: migrate.NewSpool(w.Memory, w.Disk, ""), Words: new(mime.WordDecoder), Limits: w.Limits.Defaults(),
		Logger: slog.New(slog.DiscardHandler),
		Dial: func(ctx context.Context, e migrate.Endpoint, m migrate.Mailbox) (migrate.Source, error) {
			if err := p.alive(); err != nil {
				return nil, err
			}
			w.holds(m.ID, p)
			if dial := w.Boxes[m.ID].Dial; dial != nil {
				return dial(ctx, e, m)
			}
			return w.Boxes[m.ID].Source.Dial(ctx)
		},
		Open: func(ctx context.Context, m migrate.Mailbox) (migrate.Target, error) {
			return procTarget{w.Boxes[m.ID].Target.Open(), p}, p.alive()
		},
	}
	if w.Brake {
		p.runner.Dial = migrate.Brake{Store: store}.Guard(p.runner.Dial)
	}
	if w.Log != nil {
		p.runner.Logger = slog.New(slog.NewTextHandler(w.Log, nil))
	}
	return p
}

func (p *process) start(runs int) {
	for range runs {
		p.all.Go(func() {
			for p.handleOne() {
			}
		})
	}
	p.all.Go(p.tick)
}

// handleOne runs one delivery and reports whether to go on.
func (p *process) handleOne() bool {
	d := p.world.Queue.Receive(p.soft)
	if d == nil {
		return false
	}
	locked := make(chan struct{})
	p.all.Go(func() { p.keepLocked(d, locked) })
	err := p.runner.Run(p.ctx, p.soft, d.WakeUp)
	close(locked)
	switch {
	case p.dead.Load():
		return false
	case err != nil:
		p.world.Queue.Abandon(d)
	default:
		p.world.Queue.Complete(d)
	}
	return true
}

func (p *process) keepLocked(d *Delivery, done <-chan struct{}) {
	tick := time.NewTicker(p.world.Queue.Lock / 3)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-p.ctx.Done():
			return
		case <-tick.C:
			p.world.Queue.Renew(d)
		}
	}
}

func (p *process) tick() {
	tick := time.NewTicker(p.world.TickEvery)
	defer tick.Stop()
	for {
		if err := p.planner.Tick(p.ctx); err != nil && !p.dead.Load() {
			p.world.note(err)
		}
		for _, w := range p.world.Queue.TakeDead() {
			if err := p.planner.DeadLetter(p.ctx, w); err != nil && !p.dead.Load() {
				p.world.note(err)
			}
		}
		select {
		case <-tick.C:
		case <-p.soft.Done():
			return
		}
	}
}

func (p *process) alive() error {
	if p.dead.Load() {
		return ErrKilled
	}
	return nil
}

// effect counts a side effect, and kills the process at its limit.
func (p *process) effect() {
	if n := p.effects.Add(1); p.limit > 0 && n >= p.limit && !p.dead.Load() && !(p.world.Mercy && p.world.LastChance()) {
		p.end()
	}
}

// LastChance reports whether a mailbox has seen two processes die without progress.
func (w *World) LastChance() bool {
	for id := range w.Boxes {
		content, known := w.Store.peek(migrate.CheckpointName(id))
		var c migrate.Checkpoint
		if known && json.Unmarshal(content, &c) == nil && c.Deaths >= 2 {
			return true
		}
	}
	return false
}

// end kills the process.
func (p *process) end() {
	p.dead.Store(true)
	p.kill(ErrKilled)
	p.stop()
}

// done counts a side effect that happened; its answer may be lost by the kill.
func (p *process) done(err error) error {
	if err == nil {
		p.effect()
	}
	if dead := p.alive(); dead != nil {
		return dead
	}
	return err
}

// procStore is the store as one process reaches it.
type procStore struct {
	migrate.Store
	p *process
}

func (s procStore) Get(ctx context.Context, name string) ([]byte, migrate.ETag, error) {
	if err := s.p.alive(); err != nil {
		return nil, "", err
	}
	return s.Store.Get(ctx, name)
}

func (s procStore) Put(ctx context.Context, name string, content []byte, metadata map[string]string, c migrate.Condition) (migrate.ETag, error) {
	if err := s.p.alive(); err != nil {
		return "", err
	}
	tag, err := s.Store.Put(ctx, name, content, metadata, c)
	return tag, s.p.done(err)
}

func (s procStore) Append(ctx context.Context, name string, block []byte, at int64) (int64, error) {
	if err := s.p.alive(); err != nil {
		return 0, err
	}
	n, err := s.Store.Append(ctx, name, block, at)
	return n, s.p.done(err)
}

func (s procStore) List(ctx context.Context, prefix string, yield func(migrate.Entry) error) error {
	if err := s.p.alive(); err != nil {
		return err
	}
	return s.Store.List(ctx, prefix, yield)
}

func (s procStore) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	if err := s.p.alive(); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx, name, offset)
}

func (s procStore) Acquire(ctx context.Context, name string, d time.Duration) (migrate.Lease, error) {
	if err := s.p.alive(); err != nil {
		return nil, err
	}
	l, err := s.Store.Acquire(ctx, name, d)
	if err = s.p.done(err); err != nil {
		return nil, err
	}
	return procLease{l, s.p}, nil
}

type procLease struct {
	migrate.Lease
	p *process
}

func (l procLease) Renew(ctx context.Context) error {
	if err := l.p.alive(); err != nil {
		return err
	}
	return l.Lease.Renew(ctx)
}

func (l procLease) Release(ctx context.Context) error {
	if err := l.p.alive(); err != nil {
		return err
	}
	return l.p.done(l.Lease.Release(ctx))
}

type procWaker struct{ p *process }

func (k procWaker) Wake(ctx context.Context, w migrate.WakeUp, at time.Time) error {
	if err := k.p.alive(); err != nil {
		return err
	}
	return k.p.done(k.p.world.Queue.Wake(ctx, w, at))
}

// procTarget is a target as one process reaches it: what it sent before its end still acts.
type procTarget struct {
	migrate.Target
	p *process
}

func (t procTarget) Put(ctx context.Context, folder migrate.TargetFolder, m migrate.Outgoing) (migrate.Receipt, error) {
	if err := t.p.alive(); err != nil {
		return migrate.Receipt{}, err
	}
	// The request is on its way before the kill, which then ends the caller's context.
	receipt, err := t.Target.Put(context.WithoutCancel(ctx), folder, m)
	return receipt, t.p.done(err)
}
