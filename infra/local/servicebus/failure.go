package servicebus

import (
	"fmt"
	"github.com/Azure/go-amqp"
	"time"
)

// Reasons and descriptions that Service Bus itself dead-letters with
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-dead-letter-queues).
const (
	reasonMaxDeliveryCount = "MaxDeliveryCountExceeded"
	reasonExpired          = "TTLExpiredException"
	descriptionExpired     = "The message expired and was dead lettered."
)

// expireLock ends a lock before its time; one that is lost already stays so.
func (q *queue) expireLock(now time.Time, token amqp.UUID) {
	if m := q.locked[token]; m != nil {
		delete(q.locked, token)
		q.failed(now, m)
	}
}

func (q *queue) expireLocks(now time.Time) {
	for token := range q.locked {
		q.expireLock(now, token)
	}
}

func (q *queue) failed(now time.Time, m *message) {
	m.failures++
	if q.dead == nil || int(m.failures) < q.config.MaxDeliveryCount {
		q.makeReady(now, m)
		return
	}
	q.buryFor(m, reasonMaxDeliveryCount, fmt.Sprintf("Message could not be consumed after %d delivery attempts.", m.failures))
}

func (q *queue) expire(m *message) {
	if q.dead == nil || !q.config.DeadLetterOnExpiration {
		q.remove(m)
		return
	}
	q.buryFor(m, reasonExpired, descriptionExpired)
}

// buryFor is bury with a reason of the broker's own, which always fits.
func (q *queue) buryFor(m *message, reason, description string) {
	m.content.ApplicationProperties = withProperties(m.content.ApplicationProperties,
		map[string]any{deadLetterReason: reason, deadLetterDescription: description})
	q.bury(m)
}

// bury moves a message to the dead-letter queue, where it keeps its sequence
// number and count and never expires.
func (q *queue) bury(m *message) {
	q.remove(m)
	letter := *m
	letter.expires, letter.deferred = time.Time{}, false
	q.dead.messages[letter.sequence] = &letter
	q.dead.bytes += letter.weight
	q.dead.set(&letter, stateReady, time.Time{})
	q.dead.ready.add(&letter)
}
