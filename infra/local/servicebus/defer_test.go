package servicebus

import (
	"testing"
	"time"

	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// deferOne sets a message aside and returns its sequence number.
func (b *bench) deferOne(r *sb.Receiver, id string) int64 {
	b.t.Helper()
	b.send(id)
	m := b.take(r, id)
	b.must(r.DeferMessage(b.ctx, m, &sb.DeferMessageOptions{PropertiesToModify: map[string]any{"why": "later"}}))
	return *m.SequenceNumber
}

func (b *bench) deferred(r *sb.Receiver, sequence int64) *sb.ReceivedMessage {
	b.t.Helper()
	messages, err := r.ReceiveDeferredMessages(b.ctx, []int64{sequence}, nil)
	b.must(err)
	if len(messages) != 1 || *messages[0].SequenceNumber != sequence {
		b.t.Fatalf("received %v", messages)
	}
	return messages[0]
}

// A deferred message comes only by its number, however often it is given back.
func TestDefer(t *testing.T) {
	b := newBench(t, Queue{LockDuration: 30 * time.Second, MaxDeliveryCount: 3})
	r := b.receiver(nil)
	n := b.deferOne(r, "a")
	b.nothing(r)
	if peeked, err := r.PeekMessages(b.ctx, 1, nil); err != nil || peeked[0].State != sb.MessageStateDeferred {
		t.Errorf("peeked %v, %v", peeked, err)
	}
	m := b.deferred(r, n)
	if m.DeliveryCount != 1 || m.ApplicationProperties["why"] != "later" || m.LockToken == [16]byte{} || m.LockedUntil == nil {
		t.Errorf("received %+v", m)
	}
	_, err := r.ReceiveDeferredMessages(b.ctx, []int64{n}, nil)
	b.code(err, sb.CodeNotFound) // it is locked
	b.must(r.RenewMessageLock(b.ctx, m, nil))
	b.must(r.AbandonMessage(b.ctx, m, nil))
	b.nothing(r)
	m = b.deferred(r, n)
	if m.DeliveryCount != 2 {
		t.Errorf("delivery %d, want 2", m.DeliveryCount)
	}
	b.clock.pass(31 * time.Second)
	b.code(r.CompleteMessage(b.ctx, m, nil), sb.CodeLockLost)
	b.must(r.CompleteMessage(b.ctx, b.deferred(r, n), nil))
	_, err = r.ReceiveDeferredMessages(b.ctx, []int64{n}, nil)
	b.code(err, sb.CodeNotFound)
}

func TestDeferAndDelete(t *testing.T) {
	b := newBench(t, Queue{})
	r := b.receiver(nil)
	first, second := b.deferOne(r, "a"), b.deferOne(r, "b")
	deleting := b.receiver(&sb.ReceiverOptions{ReceiveMode: sb.ReceiveModeReceiveAndDelete})
	if _, err := deleting.ReceiveDeferredMessages(b.ctx, []int64{first, second, 99}, nil); err == nil {
		t.Fatal("received a message that isn't there")
	}
	messages, err := deleting.ReceiveDeferredMessages(b.ctx, []int64{second, first}, nil)
	b.must(err)
	if len(messages) != 2 || messages[0].MessageID != "b" || b.Counts("q").Delivered != 4 {
		t.Errorf("received %v, counts %+v", messages, b.Counts("q"))
	}
}

// A deferred message outlives its time until somebody asks for it.
func TestDeferredMessageExpiresWhenAskedFor(t *testing.T) {
	b := newBench(t, Queue{TTL: time.Minute, DeadLetterOnExpiration: true})
	r := b.receiver(nil)
	n := b.deferOne(r, "a")
	b.clock.pass(2 * time.Minute)
	if c := b.Counts("q"); c.DeadLettered != 0 {
		t.Fatalf("counts %+v", c)
	}
	_, err := r.ReceiveDeferredMessages(b.ctx, []int64{n}, nil)
	b.code(err, sb.CodeNotFound)
	if m := b.take(b.deadLetters(), "a"); *m.DeadLetterReason != "TTLExpiredException" {
		t.Errorf("reason %q", *m.DeadLetterReason)
	}
}

// A deferred message that is dead-lettered is an ordinary dead letter.
func TestDeferredMessageIsDeadLettered(t *testing.T) {
	b := newBench(t, Queue{MaxDeliveryCount: 1})
	r := b.receiver(nil)
	n := b.deferOne(r, "a")
	b.must(r.AbandonMessage(b.ctx, b.deferred(r, n), nil))
	if m := b.take(b.deadLetters(), "a"); *m.DeadLetterReason != "MaxDeliveryCountExceeded" {
		t.Errorf("reason %q", *m.DeadLetterReason)
	}
}
