package functionhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
)

// queueListener fires one serviceBusTrigger on one instance.
type queueListener struct {
	instance     *instance
	function     *function
	autoComplete bool
	identity     map[string]any // Metadata.Client
	queue        *queue
}

// queue is a queue with a connection of its own.
type queue struct {
	client *azservicebus.Client
	// receiver has no other task than to receive: it is closed as soon as the
	// instance takes no more messages. Otherwise credit that it still has would
	// draw a message that was just abandoned, and keep it locked.
	receiver *azservicebus.Receiver
	again    func() (*azservicebus.Receiver, error) // another one like it
	// settler renews locks and settles by lock token.
	settler *azservicebus.Receiver
}

const (
	// settleWithin bounds the settlement of a message, which goes on after the
	// host was told to stop.
	settleWithin = 10 * time.Second
	// receiveAgain is the pause after a receive that failed.
	receiveAgain = 500 * time.Millisecond
)

func (in *instance) queueTrigger(f *function) (run func(), err error) {
	connection, err := in.host.settings.connection(f.trigger.Connection, "AzureWebJobsServiceBus")
	if err != nil {
		return nil, err
	}
	namespace, dial, err := in.conns.dialer(connection)
	if err != nil {
		return nil, fmt.Errorf("read connection %q: %w", f.trigger.Connection, err)
	}
	q, err := openQueue(connection, f.trigger.QueueName, dial)
	if err != nil {
		return nil, fmt.Errorf("open queue %s: %w", f.trigger.QueueName, err)
	}
	l := &queueListener{
		instance: in, function: f, queue: q,
		autoComplete: or(f.trigger.AutoCompleteMessages, in.config.queues.autoComplete),
		identity: map[string]any{"FullyQualifiedNamespace": namespace, "IsClosed": false, "TransportType": 0,
			"Identifier": namespace + "-" + uuid.NewString()},
	}
	return l.run, nil
}

// openQueue is for a queue or, by the suffix /$DeadLetterQueue, its dead
// letters. The first receive connects.
func openQueue(connection, name string, dial dialer) (*queue, error) {
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions:     azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: time.Second},
		NewWebSocketConn: dial, // a plain connection, that can be cut
	})
	if err != nil {
		return nil, err
	}
	options := &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModePeekLock}
	const deadLetters = "/$deadletterqueue"
	if strings.HasSuffix(strings.ToLower(name), deadLetters) {
		name = name[:len(name)-len(deadLetters)]
		options.SubQueue = azservicebus.SubQueueDeadLetter
	}
	open := func() (*azservicebus.Receiver, error) { return client.NewReceiverForQueue(name, options) }
	receiver, err := open()
	if err != nil {
		return nil, err
	}
	settler, err := open()
	if err != nil {
		return nil, err
	}
	return &queue{client, receiver, open, settler}, nil
}

// renew puts another receiver in the place of one that gave neither a message nor
// an error: azservicebus 1.11 makes nothing of a link that was detached with
// server-busy, so that it would return at once, for ever (receiver.go,
// receiveMessagesImpl; internal/errors.go, amqpConditionsToRecoveryKind).
func (q *queue) renew(ctx context.Context) error {
	next, err := q.again()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	_ = q.receiver.Close(ctx) // says once more why its link has ended
	q.receiver = next
	return nil
}

// run receives until the instance ends. It asks for messages only when one more
// invocation is allowed: for one, and for prefetchCount more. Those wait, and
// their locks run down meanwhile; what waits when the instance ends stays
// locked until then.
func (l *queueListener) run() {
	in := l.instance
	slots := make(chan struct{}, in.config.queues.concurrency)
	var waiting []*azservicebus.ReceivedMessage
	for in.alive.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-in.alive.Done():
			continue
		}
		var err error
		if len(waiting) == 0 {
			waiting, err = l.queue.receiver.ReceiveMessages(in.alive, 1+in.config.queues.prefetch, nil)
		}
		if err == nil && len(waiting) == 0 && in.alive.Err() == nil {
			err = cmp.Or(l.queue.renew(in.alive), errNothing)
		}
		if err != nil || len(waiting) == 0 {
			<-slots
			l.pause(err)
			continue
		}
		message := waiting[0]
		waiting = waiting[1:]
		in.tasks.Go(func() {
			defer func() { <-slots }()
			l.handle(message)
		})
	}
	l.close(l.queue.receiver.Close)
	for range cap(slots) { // every invocation has ended
		slots <- struct{}{}
	}
	l.close(l.queue.settler.Close)
	l.close(l.queue.client.Close)
}

var errNothing = errors.New("the receiver gave nothing, and another one takes its place")

func (l *queueListener) close(what func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	if err := what(ctx); err != nil && l.instance.life.Err() == nil {
		l.instance.log.Warn("close queue", "function", l.function.name, "error", err)
	}
}

// pause keeps a broker that is away from being asked without a break.
func (l *queueListener) pause(err error) {
	if err == nil || l.instance.alive.Err() != nil {
		return
	}
	l.instance.log.Warn("receive from queue", "function", l.function.name, "error", err)
	timer := time.NewTimer(receiveAgain)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.instance.alive.Done():
	}
}

// handle invokes the function for one message and settles it: complete when the
// invocation succeeded and autoCompleteMessages is on, abandon when it failed.
// Meanwhile the lock is renewed; should it be lost, the handler isn't told.
func (l *queueListener) handle(m *azservicebus.ReceivedMessage) {
	in := l.instance
	log := in.log.With("function", l.function.name, "message", m.MessageID)
	e := newEnvelope(l.function, m.Body, messageMetadata(m, l.identity))
	renewal := l.startRenewal(m)
	failure := in.invoke(l.function, m.MessageID, e, renewal.expire)
	renewal.stop()
	if in.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(in.life, settleWithin)
	defer cancel()
	token := &azservicebus.ReceivedMessage{LockToken: m.LockToken}
	var err error
	switch {
	case failure != nil:
		log.Error("invocation failed, message abandoned", "error", failure)
		err = l.queue.settler.AbandonMessage(ctx, token, nil)
	case l.autoComplete:
		err = l.queue.settler.CompleteMessage(ctx, token, nil)
	}
	if err != nil && in.life.Err() == nil {
		log.Warn("settle message", "error", err)
	}
}
