package functionhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// instance is one host with its one handler process. It starts the process,
// restarts it by the host's rules and gives it to those who invoke functions.
type instance struct {
	index  int
	root   string
	config *config
	env    settings
	grace  time.Duration
	output *output
	log    *slog.Logger
	client *http.Client

	// alive ends when the instance takes no triggers any more.
	alive context.Context
	end   context.CancelCauseFunc
	ended chan struct{} // closed when no process runs and none will

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
	errExitedForGood = errors.New("the handler exited with status 0 and is not started again")
	errTooManyErrors = errors.New("exceeded the handler's restart retry count: shutting down the instance")
)

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
			in.log.Info("handler ended by the host", "instance", in.index)
		case err == nil && p.exitCode() == exitSuccess:
			in.log.Error(errExitedForGood.Error(), "instance", in.index)
			in.bury(errExitedForGood)
			return
		case err == nil && p.exitCode() == exitRestart:
			in.log.Info("handler asked to be restarted", "instance", in.index)
		default:
			if err == nil {
				err = fmt.Errorf("handler ended: %s", p.command.ProcessState)
			}
			in.log.Error("handler failed", "instance", in.index, "error", err)
			if bucket.add(time.Now()) >= errorThreshold {
				in.log.Error(errTooManyErrors.Error(), "instance", in.index)
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
	p, err := startProcess(in.root, in.config, in.env, in.output.stream(in.index, false), in.output.stream(in.index, true))
	if err != nil {
		return nil, err
	}
	in.mu.Lock()
	in.current = p
	in.starts++
	in.mu.Unlock()
	err = p.waitReady(in.alive, in.client, in.config.readyWithin)
	if err != nil && !errors.Is(err, errProcessEnded) {
		p.kill()
		return p, err
	}
	if err == nil {
		in.log.Info("handler ready", "instance", in.index, "pid", p.command.Process.Pid)
		in.publish(func() { in.ready = p })
	}
	select {
	case <-p.done:
	case <-in.alive.Done():
		p.stop(hard, in.grace)
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
