package servicebus

import (
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"
)

func TestBadRequests(t *testing.T) {
	q := newClock(t, Queue{MaxMessageSize: 500})
	q.send(text("a"))
	m := q.take("a")
	main, dead := &entity{queue: q.queue}, &entity{queue: q.dead}
	encoded := func(m *amqp.Message) []any {
		raw, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		return []any{map[string]any{"message": raw}}
	}
	type fields = map[string]any
	held, lost := []amqp.UUID{m.token}, []amqp.UUID{m.token, {1}}
	for name, c := range map[string]struct {
		entity    *entity
		operation string
		body      any
		status    int32
	}{
		"unknown operation":         {main, "com.microsoft:dance", fields{}, statusNotImplemented},
		"session lock":              {main, "com.microsoft:renew-session-lock", fields{}, statusNotImplemented},
		"session state":             {main, "com.microsoft:get-session-state", fields{}, statusNotImplemented},
		"sessions":                  {main, "com.microsoft:get-message-sessions", fields{}, statusNotImplemented},
		"foreign operation":         {main, "renew-lock", fields{}, statusNotImplemented},
		"body that is no map":       {main, "com.microsoft:renew-lock", "x", statusBadRequest},
		"no lock tokens":            {main, "com.microsoft:renew-lock", fields{}, statusBadRequest},
		"one lock lost":             {main, "com.microsoft:renew-lock", fields{"lock-tokens": lost}, statusGone},
		"settle with one lock lost": {main, "com.microsoft:update-disposition", fields{"lock-tokens": lost, "disposition-status": "completed"}, statusGone},
		"unknown disposition":       {main, "com.microsoft:update-disposition", fields{"lock-tokens": held, "disposition-status": "x"}, statusBadRequest},
		"nothing to schedule":       {main, "com.microsoft:schedule-message", fields{}, statusBadRequest},
		"schedule garbage":          {main, "com.microsoft:schedule-message", fields{"messages": []any{1}}, statusBadRequest},
		"schedule too much":         {main, "com.microsoft:schedule-message", fields{"messages": encoded(text(strings.Repeat("x", 600)))}, statusForbidden},
		"schedule a long id":        {main, "com.microsoft:schedule-message", fields{"messages": encoded(text(strings.Repeat("x", 129)))}, statusBadRequest},
		"schedule a dead letter":    {dead, "com.microsoft:schedule-message", fields{"messages": encoded(text("x"))}, statusBadRequest},
		"cancel nothing":            {main, "com.microsoft:cancel-scheduled-message", fields{}, statusBadRequest},
		"cancel what isn't":         {main, "com.microsoft:cancel-scheduled-message", fields{"sequence-numbers": []int64{1}}, statusNotFound},
		"no deferred numbers":       {main, "com.microsoft:receive-by-sequence-number", fields{"receiver-settle-mode": uint32(1)}, statusBadRequest},
		"deferred without a mode":   {main, "com.microsoft:receive-by-sequence-number", fields{"sequence-numbers": []int64{1}}, statusBadRequest},
		"deferred that isn't":       {main, "com.microsoft:receive-by-sequence-number", fields{"sequence-numbers": []int64{1}, "receiver-settle-mode": uint32(1)}, statusNotFound},
		"peek without a number":     {main, "com.microsoft:peek-message", fields{"message-count": int32(1)}, statusBadRequest},
		"peek behind the last":      {main, "com.microsoft:peek-message", fields{"message-count": int32(1), "from-sequence-number": int64(2)}, statusNoContent},
	} {
		if a := c.entity.manage(q.now, c.operation, c.body); a.status != c.status {
			t.Errorf("%s: status %d %s, want %d", name, a.status, a.text, c.status)
		}
	}
	if !q.holds(q.now, m.token) || q.count[stateLocked] != 1 || len(q.messages) != 1 {
		t.Error("a refused request has changed the queue")
	}
}

// Properties that a settlement sets arrive with their types, whichever way it
// came; what isn't simple, or would make clients panic, is left out.
func TestPropertiesToModify(t *testing.T) {
	b := newBench(t, Queue{})
	given := map[string]any{
		"text": "x", "bytes": []byte("b"), "n": int64(1 << 40), "yes": true, "time": start, "uuid": amqp.UUID{1},
		"list": []any{"x"}, deadLetterReason: int64(1),
	}
	r := b.receiver(nil)
	b.send("a")
	m := b.take(r, "a")
	b.must(r.AbandonMessage(b.ctx, m, &sb.AbandonMessageOptions{PropertiesToModify: given}))
	check := func(m *sb.ReceivedMessage) {
		t.Helper()
		got := m.ApplicationProperties
		if got["text"] != "x" || string(got["bytes"].([]byte)) != "b" || got["n"] != int64(1<<40) || got["yes"] != true ||
			!got["time"].(time.Time).Equal(start) || got["uuid"] != (amqp.UUID{1}) {
			t.Errorf("properties %v", got)
		}
		if _, ok := got["list"]; ok || m.DeadLetterReason != nil {
			t.Errorf("properties %v", got)
		}
	}
	m = b.take(r, "a")
	check(m)
	b.must(r.CompleteMessage(b.ctx, m, nil))
	b.send("b")
	m = b.take(r, "b")
	b.must(r.AbandonMessage(b.ctx, &sb.ReceivedMessage{LockToken: m.LockToken}, &sb.AbandonMessageOptions{PropertiesToModify: given}))
	check(b.take(r, "b"))
}

func TestMessagesOfWrongTypesAreRefused(t *testing.T) {
	for name, m := range map[string]*amqp.Message{
		"scheduled time": {Annotations: amqp.Annotations{annotationScheduled: "soon"}},
		"partition key":  {Annotations: amqp.Annotations{annotationPartitionKey: int64(1)}},
		"reason":         {ApplicationProperties: map[string]any{deadLetterReason: int64(1)}},
		"long id":        {Properties: &amqp.MessageProperties{MessageID: strings.Repeat("x", 129)}},
	} {
		m.Data = [][]byte{nil}
		raw, err := m.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		batch, err := amqp.NewMessage(raw).MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseTransfer(0, raw); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := parseTransfer(batchFormat, batch); err == nil {
			t.Errorf("%s: accepted in a batch", name)
		}
		if _, err := parseTransfer(7, raw); err == nil {
			t.Errorf("%s: accepted in an unknown format", name)
		}
	}
}

// What only the broker says of a message is not taken from a client.
func TestBrokersAnnotationsAreDropped(t *testing.T) {
	b := newBench(t, Queue{})
	b.must(b.sender.SendAMQPAnnotatedMessage(b.ctx, &sb.AMQPAnnotatedMessage{
		Body:               sb.AMQPAnnotatedMessageBody{Data: [][]byte{nil}},
		Properties:         &sb.AMQPAnnotatedMessageProperties{MessageID: to.Ptr("a")},
		MessageAnnotations: map[any]any{annotationSequence: "x", annotationLockedUntil: "x", annotationState: int64(2), annotationDeadLetterSource: int64(1)},
	}, nil))
	m, err := b.receiver(nil).ReceiveMessages(b.ctx, 1, nil)
	b.must(err)
	if len(m) != 1 || *m[0].SequenceNumber != 1 || m[0].State != sb.MessageStateActive || m[0].DeadLetterSource != nil {
		t.Errorf("received %+v", m)
	}
}
