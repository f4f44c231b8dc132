package functionhost

import (
	"context"
	"time"
)

// clock is the time of everything that lasts longer than a test may wait.
type clock interface {
	Now() time.Time
	// AfterFunc runs do on a goroutine of its own when d has passed, unless stop
	// is called before. stop reports whether it was.
	AfterFunc(d time.Duration, do func()) (stop func() bool)
}

// systemClock is the clock of the system.
type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) AfterFunc(d time.Duration, do func()) func() bool {
	return time.AfterFunc(d, do).Stop
}

// sleep waits d, or until ctx ends, whose cause it returns.
func sleep(ctx context.Context, c clock, d time.Duration) error {
	over := make(chan struct{})
	defer c.AfterFunc(d, func() { close(over) })()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// withTimeout is context.WithTimeoutCause by a clock. When d has passed, the
// context's cause is reason, and its Err is context.Canceled.
func withTimeout(ctx context.Context, c clock, d time.Duration, reason error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := c.AfterFunc(d, func() { cancel(reason) })
	return ctx, func() {
		stop()
		cancel(context.Canceled)
	}
}
