package servicebus

import "time"

// event is a point in time at which a message may change by itself. It is
// stale when the message's due time has moved.
type event struct {
	at time.Time
	m  *message
}

func (e event) stale() bool { return e.m.state == stateGone || !e.m.due.Equal(e.at) }

// next returns when the queue changes by itself for the next time; zero: never.
func (q *queue) next() time.Time {
	for q.timeline.Len() > 0 {
		if head := q.timeline.items[0]; !head.stale() {
			return head.at
		}
		q.timeline.removeFirst()
	}
	return time.Time{}
}

// set moves a message into a state that ends by itself at due.
func (q *queue) set(m *message, state messageState, due time.Time) {
	if m.state != stateGone {
		q.count[m.state]--
	}
	if state != stateGone {
		q.count[state]++
	}
	m.state, m.due = state, due
	if due.IsZero() {
		return
	}
	q.timeline.add(event{due, m})
	if q.timeline.Len() > 64+2*len(q.messages) {
		q.timeline.keep(func(e event) bool { return !e.stale() })
	}
}
