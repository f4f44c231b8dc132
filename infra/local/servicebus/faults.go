package servicebus

import (
	"cmp"
	"time"

	"mailferry/infra/local/faults"
)

// operation is work that a client asked for and that faults can strike. Its
// functions run under the broker's lock.
type operation struct {
	point, detail string
	expire        func(now time.Time) // ends the lock or token in question; may be nil
	do            func(now time.Time)
	answer        func()
	refuse        func(status int32, err *amqpError) // answers without doing it
}

// perform does an operation, or what a fault makes of it. While it pauses, the
// connection's reader waits, and so does what the client says meanwhile.
func (c *conn) perform(now time.Time, op operation) {
	rule := c.broker.faults.At(op.point, op.detail)
	if rule == nil {
		op.do(now)
		op.answer()
		return
	}
	switch rule.Do {
	case faults.Delay:
		if !c.pause(rule.After) {
			return
		}
		now = c.broker.now()
	case faults.Cut, faults.WorkLate:
		c.drop()
		if rule.Do == faults.WorkLate {
			c.broker.later(rule.After, op.do)
		}
		return
	case faults.Throttle, faults.Answer:
		op.refuse(refusalOf(rule))
		return
	case faults.Expire:
		if op.expire != nil {
			op.expire(now)
		}
	}
	op.do(now)
	switch rule.Do {
	case faults.LoseAnswer:
		c.drop()
		return
	case faults.AnswerLate:
		if !c.pause(rule.After) {
			return
		}
	case faults.AnswerTwice:
		op.answer()
	}
	op.answer()
}

// pause waits without the broker's lock and says whether the connection is
// still there.
func (c *conn) pause(d time.Duration) bool {
	c.broker.mu.Unlock()
	defer c.broker.mu.Lock()
	return faults.Pause(c.ctx, d) == nil
}

// later does something after a while, unless the broker is closed by then.
func (b *Broker) later(after time.Duration, do func(now time.Time)) {
	b.wg.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-timer.C:
			b.update(do)
		case <-b.done:
		}
	})
}

// refusalOf is how Service Bus throttles, or fails with an HTTP status. The text
// of throttling is that of https://github.com/Azure/azure-sdk-for-python/issues/19376.
func refusalOf(rule *faults.Rule) (int32, *amqpError) {
	status := int32(rule.Status)
	if rule.Do == faults.Throttle {
		status = statusUnavailable
	}
	condition, known := map[int32]symbol{
		statusUnauthorized: condUnauthorized,
		statusForbidden:    condResourceLimit,
		statusNotFound:     condNotFound,
		statusGone:         condMessageLockLost,
		statusUnavailable:  condServerBusy,
	}[status]
	if !known {
		condition = condInternal
	}
	if condition == condServerBusy {
		seconds := int(max(rule.After, 2*time.Second) / time.Second)
		return status, refusal(condition, "The request was terminated because the namespace is being throttled. "+
			"Error code : 50009. Please wait %d seconds and try again.", seconds)
	}
	return cmp.Or(status, statusInternal), refusal(condition, "The service was unable to process the request; please retry the operation.")
}

// hand gives the next message of an entity to a link, or does what a fault
// makes of that.
func (e *entity) hand(now time.Time, l *link) {
	c := l.session.conn
	action := faults.Action("")
	rule := (*faults.Rule)(nil)
	if !l.delayed {
		rule = c.broker.faults.At("bus.deliver", e.name)
	}
	l.delayed = false
	if rule != nil {
		action = rule.Do
	}
	receive := func(now time.Time) *message { return e.queue.receive(now, l.settlesInAdvance()) }
	switch action {
	case faults.Delay:
		l.held = true
		c.broker.later(rule.After, func(time.Time) { l.held, l.delayed = false, true })
	case faults.Cut:
		c.drop()
	case faults.WorkLate:
		c.drop()
		c.broker.later(rule.After, func(now time.Time) { receive(now) })
	case faults.LoseAnswer:
		receive(now)
		c.drop()
	case faults.Throttle, faults.Answer:
		_, err := refusalOf(rule)
		l.detach(err)
	case faults.AnswerTwice:
		m := receive(now)
		l.deliver(m)
		if m.state == stateLocked {
			_ = e.queue.settle(now, m.token, settlement{kind: settleRelease}) // it was locked just now
		} else if l.canSend() {
			l.deliver(m)
		}
	case faults.Expire:
		m := receive(now)
		l.deliver(m)
		e.queue.expireLock(now, m.token)
	default:
		l.deliver(receive(now))
	}
}
