package functionhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// instance is one host with its one handler process. It starts the process,
// restarts it by the host's rules, gives it to those who invoke functions, and
// runs triggers of its own.
type instance struct {
	host     *Host
	index    int
	config   *config
	log      *slog.Logger
	triggers []func()
	conns    connections // to Service Bus

	// alive ends when the instance takes no triggers any more.
	alive context.Context
	end   context.CancelCauseFunc
	// work ends when invocations that still run are given up: after ended.
	work   context.Context
	giveUp context.CancelCauseFunc
	// life ends when the instance crashes. Whatever it would tell others about
	// its work, it tells within life.
	life context.Context
	die  context.CancelCauseFunc

	ended chan struct{}  // closed when no process runs and none will
	tasks sync.WaitGroup // its goroutines

	mu      sync.Mutex
	current *process      // the process that runs, ready or not
	ready   *process      // the process that answered
	dead    error         // why there will never be another process
	changed chan struct{} // closed at the next change of ready or dead
	starts  int
}

// The exit statuses with a meaning of their own (WorkerConstants.cs).
const (
	exitSuccess = 0
	exitRestart = 200
)

var (
	errStopped       = errors.New("the host is stopping")
	errCrashed       = errors.New("the instance crashed")
	errExitedForGood = errors.New("the handler exited with status 0 and is not started again")
	errTooManyErrors = errors.New("exceeded the handler's restart retry count: shutting down the instance")
)

// newInstance makes an instance and its triggers. Nothing runs yet.
func (h *Host) newInstance(index int) (*instance, error) {
	in := &instance{host: h, index: index, config: h.config, log: h.log.With("instance", index),
		changed: make(chan struct{}), ended: make(chan struct{})}
	in.alive, in.end = context.WithCancelCause(h.intake)
	in.work, in.giveUp = context.WithCancelCause(context.Background())
	in.life, in.die = context.WithCancelCause(context.Background())
	var refused []error
	for _, f := range h.functions {
		run, err := in.trigger(f)
		if err != nil {
			refused = append(refused, fmt.Errorf("function %s: %w", f.name, err))
		}
		if run != nil {
			in.triggers = append(in.triggers, run)
		}
	}
	blobs, err := in.blobListener()
	if blobs != nil {
		in.triggers = append(in.triggers, blobs.run)
	}
	return in, errors.Join(append(refused, err)...)
}

// trigger returns what fires a function for as long as the instance is alive.
func (in *instance) trigger(f *function) (run func(), err error) {
	switch {
	case f.trigger.is("serviceBusTrigger"):
		return in.queueTrigger(f)
	case f.trigger.is("timerTrigger"):
		return in.timerTrigger(f)
	}
	return nil, nil // a blobListener and the front door fire the others
}

// start starts the handler process.
func (in *instance) start() {
	in.tasks.Go(func() {
		in.supervise(in.host.hard)
		in.host.ended()
	})
}

// open fires triggers.
func (in *instance) open() {
	for _, run := range in.triggers {
		in.tasks.Go(run)
	}
}

// crash is what the loss of a machine does to the instance: its process is
// gone, its connections are cut, and nobody is told anything.
func (in *instance) crash() {
	in.die(errCrashed)
	in.conns.cut()
	in.end(errCrashed)
	if p, err := in.process(); err == nil {
		p.kill()
	}
	<-in.ended
	in.giveUp(errCrashed)
	in.tasks.Wait()
}

// replace ends the instance as the platform does, to make room for another.
func (in *instance) replace() {
	in.end(errReplaced)
	<-in.ended
	in.giveUp(errReplaced)
	in.tasks.Wait()
}

var errReplaced = errors.New("the instance is being replaced")

// over says whether no process runs and none will.
func (in *instance) over() bool {
	select {
	case <-in.ended:
		return true
	default:
		return false
	}
}

// gone says whether the instance ended by itself.
func (in *instance) gone() bool {
	if !in.over() {
		return false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.dead == errExitedForGood || in.dead == errTooManyErrors
}

func (in *instance) started() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.starts
}

// supervise runs the handler until the instance ends. hard cuts the grace of
// a stop short.
func (in *instance) supervise(hard context.Context) {
	defer close(in.ended)
	var bucket errorBucket
	for {
		p, err := in.runOnce(hard)
		switch {
		case in.alive.Err() != nil:
			in.bury(errStopped)
			return
		case err == nil && p.planned.Load():
			in.log.Info("handler ended by the host")
		case err == nil && p.exitCode() == exitSuccess:
			in.log.Error(errExitedForGood.Error())
			in.bury(errExitedForGood)
			return
		case err == nil && p.exitCode() == exitRestart:
			in.log.Info("handler asked to be restarted")
		default:
			if err == nil {
				err = fmt.Errorf("handler ended: %s", p.command.ProcessState)
			}
			in.log.Error("handler failed", "error", err)
			if bucket.add(in.host.clock.Now()) >= errorThreshold {
				in.log.Error(errTooManyErrors.Error())
				in.bury(errTooManyErrors)
				in.end(errTooManyErrors)
				return
			}
		}
	}
}

// runOnce starts one process and returns when it has ended. The error says
// that it never became ready although it did not end by itself.
func (in *instance) runOnce(hard context.Context) (*process, error) {
	h := in.host
	p, err := startProcess(h.options.Root, in.config, h.settings, h.output.stream(in.index, false), h.output.stream(in.index, true))
	if err != nil {
		return nil, err
	}
	in.mu.Lock()
	in.current = p
	in.starts++
	in.mu.Unlock()
	err = p.waitReady(in.alive, h.client, h.clock, in.config.readyWithin)
	if err != nil && !errors.Is(err, errProcessEnded) {
		p.kill()
		return p, err
	}
	if err == nil {
		in.log.Info("handler ready", "pid", p.command.Process.Pid)
		in.publish(func() { in.ready = p })
	}
	select {
	case <-p.done:
	case <-in.alive.Done():
		if in.life.Err() != nil {
			p.kill()
		} else {
			p.stop(hard, h.clock, h.options.Terminate)
		}
	}
	in.publish(func() { in.ready = nil })
	return p, nil
}

func (in *instance) bury(reason error) { in.publish(func() { in.dead = reason }) }

func (in *instance) publish(change func()) {
	in.mu.Lock()
	defer in.mu.Unlock()
	change()
	close(in.changed)
	in.changed = make(chan struct{})
}

// handler returns the ready process and waits for it while one is starting
// (WorkerFunctionInvoker.DelayUntilFunctionDispatcherInitializedOrShutdown).
func (in *instance) handler(ctx context.Context) (*process, error) {
	for {
		in.mu.Lock()
		ready, dead, changed := in.ready, in.dead, in.changed
		in.mu.Unlock()
		if ready != nil && ready.ended() {
			ready = nil
		}
		if dead != nil || ready != nil {
			return ready, dead
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// process returns the process that runs, ready or not.
func (in *instance) process() (*process, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current != nil && !in.current.ended() {
		return in.current, nil
	}
	return nil, fmt.Errorf("instance %d has no handler process", in.index)
}

// errorThreshold is how many errors end a host: HttpFunctionInvocationDispatcher.
const errorThreshold = 3

// errorBucket counts the errors of a handler. An error that comes more than 30
// minutes after the one before starts the count again.
type errorBucket struct {
	count int
	last  time.Time
}

func (b *errorBucket) add(now time.Time) int {
	if now.Sub(b.last) > 30*time.Minute {
		b.count = 0
	}
	b.count++
	b.last = now
	return b.count
}
