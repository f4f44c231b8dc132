package servicebus

import (
	"slices"
	"time"
)

// receiveDeferred takes the deferred messages with these sequence numbers, all
// or, with an error, none. Only now are they found to have outlived their time
// (https://learn.microsoft.com/azure/service-bus-messaging/message-deferral).
func (q *queue) receiveDeferred(now time.Time, sequences []int64, remove bool) ([]*message, error) {
	q.advance(now)
	found := make([]*message, 0, len(sequences))
	for _, n := range sequences {
		m := q.messages[n]
		if m != nil && m.state == stateDeferred && m.expired(now) {
			q.expire(m)
		}
		if m == nil || m.state != stateDeferred || slices.Contains(found, m) {
			return nil, refusal(condMessageNotFound, "no deferred message has sequence number %d", n)
		}
		found = append(found, m)
	}
	for _, m := range found {
		q.hand(now, m, remove)
	}
	return found, nil
}
