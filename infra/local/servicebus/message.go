package servicebus

import (
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/Azure/go-amqp"
)

// messageState says where in its queue a message is.
type messageState uint8

const (
	stateGone messageState = iota
	stateReady
	stateLocked
	stateScheduled
	stateDeferred
)

// parcel is a message as a client sent it, and what it weighs in memory.
type parcel struct {
	content *amqp.Message
	weight  int // bytes
}

// message is one message in one queue.
type message struct {
	parcel
	sequence int64
	enqueued time.Time
	expires  time.Time // zero: never
	failures uint32    // deliveries that were abandoned or whose lock expired
	state    messageState
	due      time.Time // when state ends by itself; zero: never
	token    amqp.UUID // while locked
	deferred bool      // set aside: only its sequence number leads to it
}

func (m *message) expired(now time.Time) bool { return !m.expires.IsZero() && !m.expires.After(now) }

// Message annotations of Service Bus. azservicebus asserts their types and
// panics on any other (message.go, newReceivedMessage).
const (
	annotationSequence         = "x-opt-sequence-number"
	annotationEnqueuedTime     = "x-opt-enqueued-time"
	annotationLockedUntil      = "x-opt-locked-until"
	annotationScheduled        = "x-opt-scheduled-enqueue-time"
	annotationState            = "x-opt-message-state"
	annotationPartitionKey     = "x-opt-partition-key"
	annotationDeadLetterSource = "x-opt-deadletter-source"
	annotationEnqueuedSequence = "x-opt-enqueue-sequence-number"
	annotationLockToken        = "x-opt-lock-token" // a delivery annotation
)

// scheduledTime is when a message wants to be enqueued; zero: at once.
func scheduledTime(content *amqp.Message) time.Time {
	at, _ := content.Annotations[annotationScheduled].(time.Time)
	return at
}

// encode returns the message as a receiver gets it. Header and properties are
// always there: without either, azservicebus reports no delivery count.
func (m *message) encode() ([]byte, error) {
	out := *m.content
	header := amqp.MessageHeader{Priority: 4}
	if out.Header != nil {
		header = *out.Header
	}
	header.DeliveryCount = m.failures
	if !m.expires.IsZero() {
		header.TTL = min(m.expires.Sub(m.enqueued), math.MaxUint32*time.Millisecond)
	}
	out.Header = &header
	if out.Properties == nil {
		out.Properties = &amqp.MessageProperties{}
	}
	out.DeliveryAnnotations = nil
	if m.deferred && m.state == stateLocked {
		out.DeliveryAnnotations = amqp.Annotations{annotationLockToken: m.token}
	}
	out.Annotations = maps.Clone(out.Annotations)
	if out.Annotations == nil {
		out.Annotations = amqp.Annotations{}
	}
	out.Annotations[annotationSequence] = m.sequence
	out.Annotations[annotationEnqueuedTime] = m.enqueued
	switch m.state {
	case stateLocked:
		out.Annotations[annotationLockedUntil] = m.due
	case stateDeferred:
		out.Annotations[annotationState] = int32(1)
	case stateScheduled:
		out.Annotations[annotationState] = int32(2)
	}
	raw, err := out.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("encode message: %w", err)
	}
	return raw, nil
}

// deliveryTag is a lock token in the byte order of a .NET Guid
// (azservicebus message.go, lockTokenFromMessageTag).
func deliveryTag(token amqp.UUID) []byte {
	t := token
	t[0], t[1], t[2], t[3] = t[3], t[2], t[1], t[0]
	t[4], t[5] = t[5], t[4]
	t[6], t[7] = t[7], t[6]
	return t[:]
}
