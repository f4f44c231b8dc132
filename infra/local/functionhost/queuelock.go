package functionhost

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mailferry/infra/local/faults"
)

// renewal keeps the lock of one message while it is worked on.
type renewal struct {
	settler  settler
	message  *azservicebus.ReceivedMessage
	limit    time.Duration // negative is none
	clock    clock
	log      *slog.Logger
	plan     *faults.Plan
	function string

	cancel context.CancelFunc
	task   sync.WaitGroup
}

// settler is the part of azservicebus.Receiver that a renewal needs.
type settler interface {
	RenewMessageLock(context.Context, *azservicebus.ReceivedMessage, *azservicebus.RenewMessageLockOptions) error
	AbandonMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.AbandonMessageOptions) error
}

func (l *queueListener) startRenewal(m *azservicebus.ReceivedMessage) *renewal {
	in := l.instance
	r := &renewal{settler: l.queue.settler, message: m, limit: in.config.queues.renewFor, clock: in.host.clock,
		log: in.log, plan: in.host.options.Faults, function: l.function.name}
	r.start(in.life)
	return r
}

func (r *renewal) start(ctx context.Context) {
	ctx, r.cancel = context.WithCancel(ctx)
	r.task.Go(func() {
		if r.limit >= 0 {
			var stop context.CancelFunc
			ctx, stop = withTimeout(ctx, r.clock, r.limit, nil)
			defer stop()
		}
		r.run(ctx)
	})
}

func (r *renewal) stop() {
	r.cancel()
	r.task.Wait()
}

// run renews the lock ten seconds before it ends, or at half of a shorter one
// (ReceiverManager in azure-sdk-for-net), for at most
// maxAutoLockRenewalDuration. Nobody is told when the lock is lost.
func (r *renewal) run(ctx context.Context) {
	for r.message.LockedUntil != nil {
		left := r.message.LockedUntil.Sub(r.clock.Now())
		if sleep(ctx, r.clock, left-min(left/2, 10*time.Second)) != nil {
			return
		}
		err := r.renew(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.log.Warn("renew message lock", "function", r.function, "message", r.message.MessageID, "error", err)
			if !r.message.LockedUntil.After(r.clock.Now()) || isLockLost(err) {
				return
			}
		}
	}
}

var (
	errRenewalFailed = errors.New("the renewal failed (fault)")
	errLockTaken     = &azservicebus.Error{Code: azservicebus.CodeLockLost}
)

// renew renews once, as the plan has it at host.renew.
func (r *renewal) renew(ctx context.Context) error {
	rule := r.plan.At("host.renew", r.function+" "+r.message.MessageID)
	if rule == nil {
		return r.settler.RenewMessageLock(ctx, r.message, nil)
	}
	switch rule.Do {
	case faults.Delay:
		if err := faults.Pause(ctx, rule.After); err != nil {
			return err
		}
	case faults.Cut, faults.Answer:
		return errRenewalFailed
	case faults.LoseAnswer:
		before := *r.message.LockedUntil
		err := r.settler.RenewMessageLock(ctx, r.message, nil)
		r.message.LockedUntil = &before
		return errors.Join(errRenewalFailed, err)
	case faults.Expire:
		r.giveUp(ctx)
		return errLockTaken
	}
	return r.settler.RenewMessageLock(ctx, r.message, nil)
}

// expire takes the lock away in the middle of the invocation: no renewal
// follows, and the message is for anybody.
func (r *renewal) expire(ctx context.Context) {
	r.stop()
	r.giveUp(ctx)
}

// giveUp abandons the message. To everybody else that is the same as a lock
// that runs out: the delivery has counted, the message is there again, and what
// is said about it by the old lock token is refused.
func (r *renewal) giveUp(ctx context.Context) {
	token := &azservicebus.ReceivedMessage{LockToken: r.message.LockToken}
	if err := r.settler.AbandonMessage(ctx, token, nil); err != nil {
		r.log.Warn("expire message lock", "function", r.function, "error", err)
	}
}

func isLockLost(err error) bool {
	var e *azservicebus.Error
	return errors.As(err, &e) && e.Code == azservicebus.CodeLockLost
}
