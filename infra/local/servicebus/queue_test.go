package servicebus

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

var start = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// clock is a queue under test with a clock of its own.
type clock struct {
	*queue
	t   *testing.T
	now time.Time
}

func newClock(t *testing.T, config Queue) *clock {
	t.Helper()
	b := &Broker{entities: map[string]*entity{}}
	config.Name = "q"
	if err := b.addQueue(config); err != nil {
		t.Fatal(err)
	}
	return &clock{b.order[0].queue, t, start}
}

func (c *clock) pass(d time.Duration) { c.now = c.now.Add(d) }

func text(id string) *amqp.Message {
	m := amqp.NewMessage([]byte(id))
	m.Properties = &amqp.MessageProperties{MessageID: id}
	return m
}

func at(id string, when time.Time) *amqp.Message {
	m := text(id)
	m.Annotations = amqp.Annotations{annotationScheduled: when}
	return m
}

func living(id string, ttl time.Duration) *amqp.Message {
	m := text(id)
	m.Header = &amqp.MessageHeader{TTL: ttl}
	return m
}

func (c *clock) send(m *amqp.Message) int64 {
	c.t.Helper()
	sequences, err := c.queue.send(c.now, parcel{m, 10})
	if err != nil {
		c.t.Fatal(err)
	}
	return sequences[0]
}

func (c *clock) receive() *message { return c.queue.receive(c.now, false) }

// take receives a message, which must be the one with this id.
func (c *clock) take(id string) *message {
	c.t.Helper()
	m := c.receive()
	if m == nil || string(m.content.GetData()) != id {
		c.t.Fatalf("received %v, want %q", m, id)
	}
	return m
}

func (c *clock) nothing() {
	c.t.Helper()
	if m := c.receive(); m != nil {
		c.t.Fatalf("received %q, want nothing", m.content.GetData())
	}
}

func (c *clock) settle(m *message, kind settlementKind) {
	c.t.Helper()
	if err := c.queue.settle(c.now, m.token, settlement{kind: kind}); err != nil {
		c.t.Fatal(err)
	}
}

func (c *clock) deadReason() string {
	c.t.Helper()
	letters := c.dead.peek(c.now, 0, 10)
	if len(letters) != 1 {
		c.t.Fatalf("%d dead letters, want 1", len(letters))
	}
	reason, _ := letters[0].content.ApplicationProperties[deadLetterReason].(string)
	return reason
}

func TestQueueIsFIFOAndAbandonedMessagesKeepTheirPlace(t *testing.T) {
	q := newClock(t, Queue{})
	for _, id := range []string{"a", "b", "c"} {
		q.send(text(id))
	}
	a := q.take("a")
	q.take("b")
	q.settle(a, settleAbandon)
	if again := q.take("a"); again.failures != 1 {
		t.Errorf("failures = %d, want 1", again.failures)
	}
	q.take("c")
	q.nothing()
}

func TestReleaseCountsNoFailure(t *testing.T) {
	q := newClock(t, Queue{MaxDeliveryCount: 1})
	q.send(text("a"))
	q.settle(q.take("a"), settleRelease)
	if m := q.take("a"); m.failures != 0 {
		t.Errorf("failures = %d, want 0", m.failures)
	}
}

func TestLockExpiresAtItsEndAndNotBefore(t *testing.T) {
	q := newClock(t, Queue{LockDuration: 30 * time.Second})
	q.send(text("a"))
	first := q.take("a")
	token := first.token
	if got, want := q.next(), start.Add(30*time.Second); !got.Equal(want) {
		t.Errorf("next = %v, want %v", got, want)
	}
	q.pass(30*time.Second - time.Millisecond)
	q.nothing()
	q.pass(time.Millisecond)
	again := q.take("a")
	if again.failures != 1 || again.token == token {
		t.Errorf("redelivered with failures %d, same token %v", again.failures, again.token == token)
	}
	if err := q.queue.settle(q.now, token, settlement{}); !errors.Is(err, errLockLost) {
		t.Errorf("settle with the old token: %v, want lock lost", err)
	}
	q.settle(again, settleComplete)
	if q.count != [5]int{} || q.bytes != 0 || len(q.messages) != 0 {
		t.Errorf("queue isn't empty: %v, %d bytes", q.count, q.bytes)
	}
}

func TestRenewedLockLastsLonger(t *testing.T) {
	q := newClock(t, Queue{LockDuration: 30 * time.Second})
	q.send(text("a"))
	m := q.take("a")
	for range 500 {
		q.pass(20 * time.Second)
		end, err := q.renew(q.now, m.token)
		if err != nil {
			t.Fatal(err)
		}
		if want := q.now.Add(30 * time.Second); !end.Equal(want) {
			t.Fatalf("renewed until %v, want %v", end, want)
		}
	}
	if n := q.timeline.Len(); n > 70 {
		t.Errorf("timeline has grown to %d events", n)
	}
	q.pass(30 * time.Second)
	if _, err := q.renew(q.now, m.token); !errors.Is(err, errLockLost) {
		t.Errorf("renew after the end: %v, want lock lost", err)
	}
}

func TestMessageIsDeadLetteredAfterMaxDeliveryCount(t *testing.T) {
	q := newClock(t, Queue{MaxDeliveryCount: 3, LockDuration: time.Second})
	sequence := q.send(text("a"))
	q.settle(q.take("a"), settleAbandon)
	q.take("a")
	q.pass(time.Second)
	q.settle(q.take("a"), settleAbandon)
	q.nothing()
	if got := q.deadReason(); got != reasonMaxDeliveryCount {
		t.Errorf("reason = %q", got)
	}
	letter := q.dead.receive(q.now, false)
	want := "Message could not be consumed after 3 delivery attempts."
	if got := letter.content.ApplicationProperties[deadLetterDescription]; got != want {
		t.Errorf("description = %q, want %q", got, want)
	}
	if letter.sequence != sequence || letter.failures != 3 {
		t.Errorf("dead letter has sequence %d and %d failures", letter.sequence, letter.failures)
	}
}

func TestDeadLetterIsNeverDeadLetteredOrExpired(t *testing.T) {
	q := newClock(t, Queue{MaxDeliveryCount: 1, TTL: time.Minute, DeadLetterOnExpiration: true})
	q.send(text("a"))
	q.settle(q.take("a"), settleDeadLetter)
	q.pass(time.Hour)
	for range 5 {
		letter := q.dead.receive(q.now, false)
		if letter == nil {
			t.Fatal("the dead letter is gone")
		}
		err := q.dead.settle(q.now, letter.token, settlement{kind: settleDeadLetter})
		if e, ok := errors.AsType[*amqpError](err); !ok || e.condition != condNotAllowed {
			t.Fatalf("dead-letter a dead letter: %v", err)
		}
		if err := q.dead.settle(q.now, letter.token, settlement{kind: settleAbandon}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTimeToLive(t *testing.T) {
	q := newClock(t, Queue{TTL: time.Minute, DeadLetterOnExpiration: true, LockDuration: 5 * time.Minute})
	q.send(text("queue"))
	q.send(living("longer", time.Hour))
	q.send(living("locked", time.Hour))
	q.take("queue")
	q.settle(q.take("longer"), settleRelease)
	longer := q.take("longer")
	locked := q.take("locked")
	q.settle(longer, settleRelease)
	q.pass(time.Minute)
	q.nothing()
	if got := q.deadReason(); got != reasonExpired {
		t.Errorf("reason = %q", got)
	}
	// A locked message outlives its time until its lock ends.
	if !q.holds(q.now, locked.token) {
		t.Error("the locked message has expired")
	}
	q.settle(locked, settleAbandon)
	q.nothing()
	if n := len(q.dead.messages); n != 2 {
		t.Errorf("%d dead letters, want 2", n)
	}
}

func TestShorterTimeToLiveOfMessageWins(t *testing.T) {
	q := newClock(t, Queue{TTL: time.Minute})
	q.send(living("a", time.Second))
	q.pass(time.Second)
	q.nothing()
	if len(q.messages)+len(q.dead.messages) != 0 {
		t.Error("the expired message wasn't dropped")
	}
}

func TestScheduledMessage(t *testing.T) {
	q := newClock(t, Queue{TTL: time.Minute})
	scheduled := q.send(at("later", start.Add(time.Hour)))
	q.send(text("now"))
	q.settle(q.take("now"), settleComplete)
	q.pass(time.Hour - time.Millisecond)
	q.nothing()
	q.pass(time.Millisecond)
	m := q.take("later")
	q.send(at("earlier", q.now.Add(-time.Hour))) // is enqueued at once
	q.take("earlier")
	if m.sequence <= scheduled || !m.enqueued.Equal(q.now) || !m.expires.Equal(q.now.Add(time.Minute)) {
		t.Errorf("activated as %d at %v until %v", m.sequence, m.enqueued, m.expires)
	}
}

func TestCancelScheduled(t *testing.T) {
	q := newClock(t, Queue{})
	a, b := q.send(at("a", start.Add(time.Hour))), q.send(at("b", start.Add(time.Hour)))
	err := q.cancel(q.now, []int64{a, 99})
	if e, ok := errors.AsType[*amqpError](err); !ok || e.condition != condMessageNotFound {
		t.Fatalf("cancel with an unknown number: %v", err)
	}
	if err := q.cancel(q.now, []int64{a, a}); err != nil {
		t.Fatal(err)
	}
	q.pass(time.Hour)
	q.take("b")
	q.nothing()
	if err := q.cancel(q.now, []int64{b}); err == nil {
		t.Error("a message that is no longer scheduled was cancelled")
	}
}

func TestDuplicateDetection(t *testing.T) {
	q := newClock(t, Queue{DuplicateDetection: 10 * time.Minute})
	q.send(text("a"))
	q.send(text("a"))
	q.settle(q.take("a"), settleComplete)
	q.nothing()
	q.pass(9 * time.Minute)
	q.send(text("a")) // completed, still remembered
	q.nothing()
	scheduled := q.send(at("s", q.now.Add(time.Hour)))
	q.send(text("s"))
	q.nothing()
	if err := q.cancel(q.now, []int64{scheduled}); err != nil {
		t.Fatal(err)
	}
	q.send(text("s")) // cancelled, still remembered
	q.nothing()
	q.pass(time.Minute)
	q.send(text("a"))
	q.take("a")
	q.send(amqp.NewMessage([]byte("no id")))
	q.send(amqp.NewMessage([]byte("no id")))
	q.take("no id")
	q.take("no id")
}

func TestPeekShowsEveryStateInOrder(t *testing.T) {
	q := newClock(t, Queue{})
	q.send(text("a"))
	q.send(at("s", start.Add(time.Hour)))
	q.send(text("b"))
	q.take("a")
	var seen []string
	for _, m := range q.peek(q.now, 0, 10) {
		seen = append(seen, string(m.content.GetData()))
	}
	if want := []string{"a", "s", "b"}; !slices.Equal(seen, want) {
		t.Errorf("peeked %v, want %v", seen, want)
	}
	if got := q.peek(q.now, 2, 1); len(got) != 1 || got[0].sequence != 2 {
		t.Errorf("peek(2, 1) = %v", got)
	}
	if got := q.peek(q.now, 0, -1); len(got) != 0 {
		t.Errorf("peek(0, -1) = %v", got)
	}
}

func TestReceiveAndDelete(t *testing.T) {
	q := newClock(t, Queue{})
	q.send(text("a"))
	if m := q.queue.receive(q.now, true); m == nil || m.state != stateGone {
		t.Fatalf("received %v", m)
	}
	q.pass(time.Hour)
	q.nothing()
}

func TestFullQueueRefuses(t *testing.T) {
	q := newClock(t, Queue{MaxSize: 100})
	if _, err := q.queue.send(q.now, parcel{text("a"), 99}); err != nil {
		t.Fatal(err)
	}
	_, err := q.queue.send(q.now, parcel{text("b"), 1}, parcel{text("c"), 1})
	if e, ok := errors.AsType[*amqpError](err); !ok || e.condition != condResourceLimit {
		t.Fatalf("send to a full queue: %v", err)
	}
	q.settle(q.take("a"), settleComplete)
	q.nothing() // of two messages that don't fit, none is taken
	q.send(text("b"))
}

// A message that nobody takes must not make the expired ones behind it pile up.
func TestExpiredMessagesAreForgotten(t *testing.T) {
	q := newClock(t, Queue{})
	q.send(text("head"))
	for range 1000 {
		q.send(living("x", time.Second))
		q.pass(time.Second)
	}
	if n, m := q.ready.Len(), q.timeline.Len(); n > 100 || m > 100 {
		t.Errorf("%d ready entries and %d events for one message", n, m)
	}
}

// What Service Bus refuses at a queue's creation is no queue here either.
func TestQueueLimits(t *testing.T) {
	for name, bad := range map[string]Queue{
		"long lock":        {LockDuration: 5*time.Minute + 1},
		"negative lock":    {LockDuration: -1},
		"short window":     {DuplicateDetection: 20*time.Second - 1},
		"long window":      {DuplicateDetection: 7*24*time.Hour + 1},
		"short life":       {TTL: time.Second - 1},
		"many deliveries":  {MaxDeliveryCount: 2001},
		"negative size":    {MaxMessageSize: -1},
		"too large a size": {MaxMessageSize: 100<<20 + 1},
	} {
		bad.Name = "q"
		if b, err := Start(t.Context(), Options{Queues: []Queue{bad}}); err == nil {
			b.Close()
			t.Errorf("%s: accepted", name)
		}
	}
	for _, good := range []Queue{
		{LockDuration: 5 * time.Minute, DuplicateDetection: 20 * time.Second, TTL: time.Second, MaxDeliveryCount: 2000, MaxMessageSize: 100 << 20},
		{DuplicateDetection: 7 * 24 * time.Hour, MaxDeliveryCount: 1},
	} {
		newClock(t, good)
	}
}
