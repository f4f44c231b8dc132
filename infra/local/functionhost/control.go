package functionhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Kill ends handler process i by SIGKILL, waits for its end and leaves the rest
// to the instance: what it was working on fails, and a new process is started.
// The death does not count as one of the three errors that end an instance.
func (h *Host) Kill(i int) error {
	in, err := h.instance(i)
	if err != nil {
		return err
	}
	p, err := in.process()
	if err != nil {
		return err
	}
	p.kill()
	return nil
}

// Crash takes instance i away at once, as the loss of its machine would: the
// handler, the receivers and the timers are gone, and nothing is told to
// anybody. Messages stay locked until their locks expire, found blobs stay
// hidden for BlobVisibility, and a timer's lease is held until it runs out.
// Restart brings the instance back.
func (h *Host) Crash(i int) error {
	h.turn.Lock()
	defer h.turn.Unlock()
	in, err := h.instance(i)
	if err != nil {
		return err
	}
	if in.alive.Err() != nil {
		return fmt.Errorf("crash instance %d: it does not run", i)
	}
	in.crash()
	return nil
}

// Restart ends instance i, if it runs, as the platform does (SIGTERM and grace,
// or SIGKILL; what is in flight fails and is abandoned), and starts a new one
// in its place. It returns when the new handler answers or ctx ends.
func (h *Host) Restart(ctx context.Context, i int) error {
	h.turn.Lock()
	defer h.turn.Unlock()
	old, err := h.instance(i)
	if err != nil {
		return err
	}
	select {
	case <-h.done:
		return fmt.Errorf("restart instance %d: the host has ended", i)
	case <-h.intake.Done():
		return fmt.Errorf("restart instance %d: %w", i, errStopped)
	default:
	}
	fresh, err := h.newInstance(i)
	if err != nil {
		return fmt.Errorf("restart instance %d: %w", i, err)
	}
	old.replace()
	h.mu.Lock()
	h.instances[i] = fresh
	h.restarts += old.started()
	h.mu.Unlock()
	fresh.start()
	fresh.open()
	if _, err := fresh.handler(ctx); err != nil {
		return fmt.Errorf("restart instance %d: %w", i, err)
	}
	return nil
}

// Stop fires no more triggers, ends the handlers and returns when nothing of
// the host is left. What was still being worked on fails and is abandoned. When
// ctx ends, handlers that are still in their grace are killed at once; that is
// no error. Stop may be called again.
func (h *Host) Stop(ctx context.Context) error {
	defer context.AfterFunc(ctx, h.stopPatience)()
	h.stopIntake() // ends a Restart that waits
	h.turn.Lock()
	defer h.turn.Unlock()
	h.mu.Lock()
	again := h.stopped
	h.stopped = true
	h.mu.Unlock()
	if again {
		return nil
	}
	for _, in := range h.all() {
		<-in.ended
	}
	h.ended()
	for _, in := range h.all() {
		in.giveUp(errStopped)
	}
	err := h.closeFrontDoor()
	for _, in := range h.all() {
		in.tasks.Wait()
	}
	h.tasks.Wait()
	h.client.CloseIdleConnections()
	return err
}

// closeFrontDoor gives requests whose handler has just ended a moment to be
// answered.
func (h *Host) closeFrontDoor() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := h.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.server.Close()
	}
	h.listener.Close() // the server knows it only once it serves
	return err
}

// registerVerbs makes kill, crash and restart available to the fault plan.
func (h *Host) registerVerbs() {
	plan := h.options.Faults
	plan.Verb("host.kill", forInstance(func(_ context.Context, i int) error { return h.Kill(i) }))
	plan.Verb("host.crash", forInstance(func(_ context.Context, i int) error { return h.Crash(i) }))
	plan.Verb("host.restart", forInstance(h.Restart))
}

// forInstance reads the argument {"instance": i}; without one it is instance 0.
func forInstance(do func(ctx context.Context, i int) error) func(context.Context, json.RawMessage) error {
	return func(ctx context.Context, args json.RawMessage) error {
		var of struct{ Instance int }
		if len(args) > 0 {
			if err := json.Unmarshal(args, &of); err != nil {
				return fmt.Errorf("read the argument: %w", err)
			}
		}
		return do(ctx, of.Instance)
	}
}
