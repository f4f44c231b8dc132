package servicebus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// handClock is a clock that tests set.
type handClock struct{ offset atomic.Int64 }

func (c *handClock) Now() time.Time       { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *handClock) pass(d time.Duration) { c.offset.Add(int64(d)) }

// bench is a broker under test with a client.
type bench struct {
	*Broker
	t       *testing.T
	ctx     context.Context
	options *sb.ClientOptions
	clock   *handClock // nil with the system's
	client  *sb.Client
	sender  *sb.Sender
}

// newBench is a bench whose clock is set by hand.
func newBench(t *testing.T, config Queue) *bench {
	t.Helper()
	if config.Name == "" {
		config.Name = "q"
	}
	clock := &handClock{}
	b := benchOn(t, startBroker(t, Options{Queues: []Queue{config}, Now: clock.Now}), patience, nil)
	b.clock = clock
	return b
}

// benchOn is a bench on a broker that has a queue q.
func benchOn(t *testing.T, broker *Broker, timeout time.Duration, o *sb.ClientOptions) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	t.Cleanup(cancel)
	if o == nil {
		o = &sb.ClientOptions{}
	}
	o.RetryOptions = sb.RetryOptions{MaxRetries: 2, RetryDelay: 10 * time.Millisecond, MaxRetryDelay: 50 * time.Millisecond}
	b := &bench{Broker: broker, t: t, ctx: ctx, options: o}
	b.client = b.connect(broker.ConnectionString())
	b.sender = b.senderTo("q")
	return b
}

func (b *bench) connect(connection string) *sb.Client {
	b.t.Helper()
	client, err := sb.NewClientFromConnectionString(connection, b.options)
	b.must(err)
	b.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := client.Close(ctx); err != nil {
			b.t.Errorf("close client: %v", err)
		}
	})
	return client
}

func (b *bench) senderTo(queue string) *sb.Sender {
	b.t.Helper()
	s, err := b.client.NewSender(queue, nil)
	b.must(err)
	return s
}

func (b *bench) receiver(o *sb.ReceiverOptions) *sb.Receiver {
	b.t.Helper()
	r, err := b.client.NewReceiverForQueue("q", o)
	b.must(err)
	return r
}

func (b *bench) deadLetters() *sb.Receiver {
	b.t.Helper()
	return b.receiver(&sb.ReceiverOptions{SubQueue: sb.SubQueueDeadLetter})
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) send(ids ...string) {
	b.t.Helper()
	for _, id := range ids {
		b.must(b.sender.SendMessage(b.ctx, &sb.Message{MessageID: &id, Body: []byte("body of " + id)}, nil))
	}
}

// take receives one message, which must be the one with this id. A call that
// finds the connection gone returns nothing, and the next one reconnects.
func (b *bench) take(r *sb.Receiver, id string) *sb.ReceivedMessage {
	b.t.Helper()
	var messages []*sb.ReceivedMessage
	for len(messages) == 0 {
		var err error
		messages, err = r.ReceiveMessages(b.ctx, 1, nil)
		b.must(err)
	}
	if len(messages) != 1 || messages[0].MessageID != id {
		b.t.Fatalf("received %v, want %q", messages, id)
	}
	return messages[0]
}

// nothing checks that a receiver has no message to take: a marker that is sent
// behind comes first.
func (b *bench) nothing(r *sb.Receiver) {
	b.t.Helper()
	b.send("marker")
	b.must(r.CompleteMessage(b.ctx, b.take(r, "marker"), nil))
}

func (b *bench) code(err error, want sb.Code) {
	b.t.Helper()
	if e, ok := errors.AsType[*sb.Error](err); !ok || e.Code != want {
		b.t.Fatalf("error %v, want code %s", err, want)
	}
}

func TestMessageArrivesAsSent(t *testing.T) {
	b := newBench(t, Queue{TTL: 14 * 24 * time.Hour})
	sent := &sb.Message{
		MessageID: to.Ptr("m1"), ContentType: to.Ptr("application/json"), CorrelationID: to.Ptr("c"),
		Subject: to.Ptr("s"), ReplyTo: to.Ptr("r"), To: to.Ptr("t"), PartitionKey: to.Ptr("p"),
		TimeToLive: to.Ptr(time.Hour), Body: []byte(`{"a":1}`),
		ApplicationProperties: map[string]any{"text": "x", "number": int64(1 << 40), "small": int32(-3), "yes": true, "bytes": []byte{0, 255}},
	}
	before := time.Now()
	b.must(b.sender.SendMessage(b.ctx, sent, nil))
	m := b.take(b.receiver(nil), "m1")
	if string(m.Body) != `{"a":1}` || *m.ContentType != "application/json" || *m.CorrelationID != "c" ||
		*m.Subject != "s" || *m.ReplyTo != "r" || *m.To != "t" || *m.PartitionKey != "p" {
		t.Errorf("received %+v", m)
	}
	for name, want := range sent.ApplicationProperties {
		if got := m.ApplicationProperties[name]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("property %s = %v, want %v", name, got, want)
		}
	}
	if *m.SequenceNumber != 1 || m.DeliveryCount != 1 || *m.TimeToLive != time.Hour {
		t.Errorf("sequence %d, delivery %d, ttl %v", *m.SequenceNumber, m.DeliveryCount, *m.TimeToLive)
	}
	if d := m.EnqueuedTime.Sub(before); d < -time.Second || d > 10*time.Second {
		t.Errorf("enqueued %v after sending", d)
	}
	if d := m.LockedUntil.Sub(*m.EnqueuedTime); d < 59*time.Second || d > 70*time.Second {
		t.Errorf("locked for %v", d)
	}
	if m.LockToken == [16]byte{} {
		t.Error("no lock token")
	}
}

func TestReceiveAndDeleteByClient(t *testing.T) {
	b := newBench(t, Queue{})
	r := b.receiver(&sb.ReceiverOptions{ReceiveMode: sb.ReceiveModeReceiveAndDelete})
	b.send("a", "b")
	messages, err := r.ReceiveMessages(b.ctx, 2, nil)
	b.must(err)
	if len(messages) != 2 {
		t.Fatalf("received %d messages", len(messages))
	}
	if got, want := b.Counts("q"), (Counts{Delivered: 2}); got != want {
		t.Errorf("counts %+v, want %+v", got, want)
	}
}

func TestBatch(t *testing.T) {
	b := newBench(t, Queue{})
	batch, err := b.sender.NewMessageBatch(b.ctx, nil)
	b.must(err)
	n := 0
	for ; ; n++ {
		err := batch.AddMessage(&sb.Message{MessageID: to.Ptr(fmt.Sprint(n)), Body: bytes.Repeat([]byte{'x'}, 5000)}, nil)
		if errors.Is(err, sb.ErrMessageTooLarge) {
			break
		}
		b.must(err)
	}
	if n < 40 {
		t.Fatalf("only %d messages of 5 kB went into a batch", n)
	}
	b.must(b.sender.SendMessageBatch(b.ctx, batch, nil))
	r := b.receiver(nil)
	for i := range n {
		b.must(r.CompleteMessage(b.ctx, b.take(r, fmt.Sprint(i)), nil))
	}
}

// Messages of more than a frame, both ways and many at once.
func TestLargeMessages(t *testing.T) {
	b := newBench(t, Queue{MaxMessageSize: 1 << 20})
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 1<<20-1000) }
	const n = 12
	for i := range n {
		b.must(b.sender.SendMessage(b.ctx, &sb.Message{MessageID: to.Ptr(fmt.Sprint(i)), Body: body(i)}, nil))
	}
	r := b.receiver(nil)
	for got := 0; got < n; {
		messages, err := r.ReceiveMessages(b.ctx, n, nil)
		b.must(err)
		for _, m := range messages {
			i, err := strconv.Atoi(m.MessageID)
			if err != nil || !bytes.Equal(m.Body, body(i)) {
				t.Fatalf("message %s came with %d bytes", m.MessageID, len(m.Body))
			}
			b.must(r.CompleteMessage(b.ctx, m, nil))
			got++
		}
	}
	if c := b.Counts("q"); c.Active+c.Locked+c.DeadLettered != 0 {
		t.Errorf("counts %+v", c)
	}
	err := b.sender.SendMessage(b.ctx, &sb.Message{Body: make([]byte, 1<<20)}, nil)
	if !errors.Is(err, sb.ErrMessageTooLarge) {
		t.Errorf("send too large a message: %v", err)
	}
}

func TestSchedule(t *testing.T) {
	b := newBench(t, Queue{})
	messages := []*sb.Message{{MessageID: to.Ptr("keep")}, {MessageID: to.Ptr("cancel")}}
	sequences, err := b.sender.ScheduleMessages(b.ctx, messages, time.Now().Add(time.Minute), nil)
	b.must(err)
	if len(sequences) != 2 || b.Counts("q").Scheduled != 2 {
		t.Fatalf("scheduled %v, counts %+v", sequences, b.Counts("q"))
	}
	b.must(b.sender.CancelScheduledMessages(b.ctx, sequences[1:], nil))
	b.code(b.sender.CancelScheduledMessages(b.ctx, sequences[1:], nil), sb.CodeNotFound)
	r := b.receiver(nil)
	b.nothing(r)
	b.clock.pass(time.Minute)
	m := b.take(r, "keep")
	if m.ScheduledEnqueueTime == nil || *m.SequenceNumber <= sequences[1] {
		t.Errorf("scheduled for %v, sequence %d", m.ScheduledEnqueueTime, *m.SequenceNumber)
	}
	b.must(r.CompleteMessage(b.ctx, m, nil))
	b.must(b.sender.SendMessage(b.ctx, &sb.Message{
		MessageID: to.Ptr("property"), ScheduledEnqueueTime: to.Ptr(b.clock.Now().Add(time.Minute)),
	}, nil))
	b.nothing(r)
	b.clock.pass(time.Minute)
	b.take(r, "property")
}

func TestDuplicatesAreDropped(t *testing.T) {
	b := newBench(t, Queue{DuplicateDetection: 10 * time.Minute})
	r := b.receiver(nil)
	b.send("a", "a")
	b.must(r.CompleteMessage(b.ctx, b.take(r, "a"), nil))
	_, err := b.sender.ScheduleMessages(b.ctx, []*sb.Message{{MessageID: to.Ptr("a")}, {MessageID: to.Ptr("s")}}, time.Now(), nil)
	b.must(err)
	b.must(r.CompleteMessage(b.ctx, b.take(r, "s"), nil))
	b.send("s")
	b.nothing(r)
}

func TestPeek(t *testing.T) {
	b := newBench(t, Queue{})
	r := b.receiver(nil)
	if messages, err := r.PeekMessages(b.ctx, 5, nil); err != nil || len(messages) != 0 {
		t.Fatalf("peek an empty queue: %v, %v", messages, err)
	}
	b.send("a", "b")
	_, err := b.sender.ScheduleMessages(b.ctx, []*sb.Message{{MessageID: to.Ptr("s")}}, time.Now().Add(time.Hour), nil)
	b.must(err)
	b.take(r, "a")
	messages, err := r.PeekMessages(b.ctx, 5, nil)
	b.must(err)
	var seen []string
	for _, m := range messages {
		seen = append(seen, fmt.Sprint(m.MessageID, *m.SequenceNumber, m.State == sb.MessageStateScheduled))
	}
	if got, want := fmt.Sprint(seen), "[a1 false b2 false s3 true]"; got != want {
		t.Errorf("peeked %s, want %s", got, want)
	}
	if messages, err = r.PeekMessages(b.ctx, 5, nil); err != nil || len(messages) != 0 {
		t.Errorf("peek behind the last: %v, %v", messages, err)
	}
}

func TestRefusedLinks(t *testing.T) {
	b := newBench(t, Queue{})
	unknown, err := b.client.NewReceiverForQueue("unknown", nil)
	b.must(err)
	_, err = unknown.ReceiveMessages(b.ctx, 1, nil)
	b.code(err, sb.CodeNotFound)
	sender, err := b.client.NewSender("unknown", nil)
	b.must(err)
	b.code(sender.SendMessage(b.ctx, &sb.Message{}, nil), sb.CodeNotFound)
	_, err = b.client.AcceptSessionForQueue(b.ctx, "q", "s", nil)
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte("amqp:not-allowed")) {
		t.Errorf("accept a session: %v", err)
	}
	b.send("a") // the connection still works
	b.take(b.receiver(nil), "a")
}

func TestWipe(t *testing.T) {
	b := newBench(t, Queue{DuplicateDetection: time.Hour})
	b.send("a", "b")
	r := b.receiver(nil)
	m := b.take(r, "a")
	_, err := b.sender.ScheduleMessages(b.ctx, []*sb.Message{{MessageID: to.Ptr("s")}}, time.Now().Add(time.Hour), nil)
	b.must(err)
	b.Wipe()
	if got := b.Counts("q"); got != (Counts{}) {
		t.Errorf("counts after wipe %+v", got)
	}
	b.send("a") // reconnects; its id is forgotten
	again := b.take(r, "a")
	if *again.SequenceNumber != 1 || again.DeliveryCount != 1 {
		t.Errorf("sequence %d, delivery %d", *again.SequenceNumber, again.DeliveryCount)
	}
	b.code(r.CompleteMessage(b.ctx, &sb.ReceivedMessage{LockToken: m.LockToken}, nil), sb.CodeLockLost)
	b.must(r.CompleteMessage(b.ctx, again, nil))
}
