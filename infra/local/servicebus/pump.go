package servicebus

import "time"

// update runs f under the lock and then does what has become possible or due.
func (b *Broker) update(f func(now time.Time)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	f(now)
	now = b.now() // f may have waited
	if due := b.pump(now); !due.IsZero() && (b.planned.IsZero() || due.Before(b.planned)) {
		b.planned = due
		signal(b.wake)
	}
}

// pump delivers to every receiver that has credit and returns when the next
// message changes by itself.
func (b *Broker) pump(now time.Time) (due time.Time) {
	b.watch(now)
	due = b.look
	for _, e := range b.order {
		for e.queue.available(now) {
			l := e.turn()
			if l == nil {
				break
			}
			e.hand(now, l)
		}
		for _, l := range e.receivers {
			l.finishDrain()
		}
		if at := e.queue.next(); !at.IsZero() && (due.IsZero() || at.Before(due)) {
			due = at
		}
	}
	return due
}

// turn returns the next receiver that can take a message, and puts it last.
func (e *entity) turn() *link {
	for i, l := range e.receivers {
		if l.canSend() {
			copy(e.receivers[i:], e.receivers[i+1:])
			e.receivers[len(e.receivers)-1] = l
			return l
		}
	}
	return nil
}

// keepTime does what is due when nothing else happens.
func (b *Broker) keepTime() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.done:
			return
		case <-b.wake:
		case <-timer.C:
		}
		if wait, ok := b.plan(); ok {
			timer.Reset(wait)
		}
	}
}

// plan does what is due and returns how long to wait for the next event; false
// if there is none.
func (b *Broker) plan() (time.Duration, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.now()
	b.planned = b.pump(now)
	if b.poll > 0 {
		return b.poll, true
	}
	return b.planned.Sub(now), !b.planned.IsZero()
}

// signal wakes who waits on c, or who comes to wait next.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
