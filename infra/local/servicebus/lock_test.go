package servicebus

import (
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

func TestSettlements(t *testing.T) {
	b := newBench(t, Queue{})
	r := b.receiver(nil)
	b.send("a", "b", "c")
	b.must(r.CompleteMessage(b.ctx, b.take(r, "a"), nil))
	m := b.take(r, "b")
	b.must(r.AbandonMessage(b.ctx, m, &sb.AbandonMessageOptions{PropertiesToModify: map[string]any{"tried": "yes"}}))
	m = b.take(r, "b")
	if m.DeliveryCount != 2 || m.ApplicationProperties["tried"] != "yes" {
		t.Errorf("after abandon: delivery %d, properties %v", m.DeliveryCount, m.ApplicationProperties)
	}
	b.must(r.DeadLetterMessage(b.ctx, m, &sb.DeadLetterOptions{
		Reason: to.Ptr("why"), ErrorDescription: to.Ptr("because"), PropertiesToModify: map[string]any{"extra": "x"},
	}))
	b.must(r.CompleteMessage(b.ctx, b.take(r, "c"), nil))
	dead := b.deadLetters()
	m = b.take(dead, "b")
	if *m.DeadLetterReason != "why" || *m.DeadLetterErrorDescription != "because" || m.ApplicationProperties["extra"] != "x" {
		t.Errorf("dead letter: %v", m.ApplicationProperties)
	}
	b.must(dead.CompleteMessage(b.ctx, m, nil))
	if got, want := b.Counts("Q"), (Counts{Delivered: 4}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

// A receiver whose call ended gives back by release what arrives later.
func TestReleaseCountsNoDelivery(t *testing.T) {
	b := newBench(t, Queue{MaxDeliveryCount: 1})
	r := b.receiver(nil)
	b.send("a")
	messages, err := r.ReceiveMessages(b.ctx, 3, nil)
	b.must(err)
	b.must(r.CompleteMessage(b.ctx, messages[0], nil))
	b.send("b") // goes to the two credits that are left, and comes back twice
	other := b.receiver(nil)
	m := b.take(other, "b")
	if m.DeliveryCount != 1 {
		t.Errorf("delivery %d, want 1", m.DeliveryCount)
	}
}

func TestLockIsRenewedAndLost(t *testing.T) {
	b := newBench(t, Queue{LockDuration: 30 * time.Second})
	r := b.receiver(nil)
	b.send("a")
	m := b.take(r, "a")
	b.clock.pass(20 * time.Second)
	before := *m.LockedUntil
	b.must(r.RenewMessageLock(b.ctx, m, nil))
	if d := m.LockedUntil.Sub(before); d < 19*time.Second || d > 25*time.Second {
		t.Errorf("renewed by %v", d)
	}
	b.clock.pass(20 * time.Second)
	b.nothing(r)
	b.clock.pass(11 * time.Second)
	again := b.take(r, "a")
	if again.DeliveryCount != 2 {
		t.Errorf("delivery %d, want 2", again.DeliveryCount)
	}
	b.code(r.CompleteMessage(b.ctx, m, nil), sb.CodeLockLost)
	b.code(r.RenewMessageLock(b.ctx, m, nil), sb.CodeLockLost)
	byToken := &sb.ReceivedMessage{LockToken: m.LockToken}
	b.code(r.AbandonMessage(b.ctx, byToken, nil), sb.CodeLockLost)
	b.must(r.CompleteMessage(b.ctx, again, nil))
}

// The broker notices the end of a lock by itself, without any traffic.
func TestExpiryWakesAWaitingReceiver(t *testing.T) {
	b := benchOn(t, startBroker(t, Options{Queues: []Queue{{Name: "q", LockDuration: 300 * time.Millisecond}}}), patience, nil)
	r := b.receiver(nil)
	b.send("a")
	b.take(r, "a")
	if m := b.take(r, "a"); m.DeliveryCount != 2 {
		t.Errorf("delivery %d, want 2", m.DeliveryCount)
	}
}

func TestMaxDeliveryCount(t *testing.T) {
	b := newBench(t, Queue{MaxDeliveryCount: 2})
	r := b.receiver(nil)
	b.send("a")
	for range 2 {
		b.must(r.AbandonMessage(b.ctx, b.take(r, "a"), nil))
	}
	b.nothing(r)
	m := b.take(b.deadLetters(), "a")
	if *m.DeadLetterReason != "MaxDeliveryCountExceeded" ||
		*m.DeadLetterErrorDescription != "Message could not be consumed after 2 delivery attempts." {
		t.Errorf("dead letter: %v", m.ApplicationProperties)
	}
	if c := b.Counts("q"); c.DeadLettered != 1 || b.Counts("q/$DeadLetterQueue").Locked != 1 {
		t.Errorf("counts %+v", c)
	}
}

func TestExpiredMessageIsDeadLettered(t *testing.T) {
	b := newBench(t, Queue{TTL: time.Minute, DeadLetterOnExpiration: true})
	b.send("a")
	b.clock.pass(time.Minute)
	if m := b.take(b.deadLetters(), "a"); *m.DeadLetterReason != "TTLExpiredException" {
		t.Errorf("reason %q", *m.DeadLetterReason)
	}
}

// A lock outlives the connection it was given to, and its token settles the
// message over another one.
func TestLockOutlivesItsConnection(t *testing.T) {
	b := newBench(t, Queue{})
	b.send("a", "b")
	other := b.connect(b.ConnectionString())
	r, err := other.NewReceiverForQueue("q", nil)
	b.must(err)
	messages, err := r.ReceiveMessages(b.ctx, 2, nil)
	b.must(err)
	b.must(other.Close(b.ctx))
	mine := b.receiver(nil)
	b.nothing(mine)
	b.must(mine.CompleteMessage(b.ctx, &sb.ReceivedMessage{LockToken: messages[0].LockToken}, nil))
	b.clock.pass(time.Minute)
	if m := b.take(mine, "b"); m.DeliveryCount != 2 {
		t.Errorf("delivery %d, want 2", m.DeliveryCount)
	}
}

func TestSettleByTokenAfterTheLinkIsGone(t *testing.T) {
	b := newBench(t, Queue{})
	b.send("a", "b", "c")
	r := b.receiver(nil)
	messages, err := r.ReceiveMessages(b.ctx, 3, nil)
	b.must(err)
	b.must(r.Close(b.ctx))
	r = b.receiver(nil)
	byToken := func(i int) *sb.ReceivedMessage { return &sb.ReceivedMessage{LockToken: messages[i].LockToken} }
	b.must(r.CompleteMessage(b.ctx, byToken(0), nil))
	b.must(r.AbandonMessage(b.ctx, byToken(1), &sb.AbandonMessageOptions{PropertiesToModify: map[string]any{"k": "v"}}))
	b.must(r.DeadLetterMessage(b.ctx, byToken(2), &sb.DeadLetterOptions{Reason: to.Ptr("why")}))
	if m := b.take(r, "b"); m.ApplicationProperties["k"] != "v" || m.DeliveryCount != 2 {
		t.Errorf("delivery %d, properties %v", m.DeliveryCount, m.ApplicationProperties)
	}
	if m := b.take(b.deadLetters(), "c"); *m.DeadLetterReason != "why" {
		t.Errorf("reason %q", *m.DeadLetterReason)
	}
}
