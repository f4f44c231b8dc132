package functionhost

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
)

// queueListener fires one serviceBusTrigger on one instance.
type queueListener struct {
	host         *Host
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

// queueTrigger makes one listener for every instance.
func (h *Host) queueTrigger(f *function) ([]func(), error) {
	connection, err := h.settings.connection(f.trigger.Connection, "AzureWebJobsServiceBus")
	if err != nil {
		return nil, err
	}
	namespace := connectionHost.FindStringSubmatch(connection)
	if namespace == nil {
		return nil, fmt.Errorf("read connection %q: it is no Service Bus connection string", f.trigger.Connection)
	}
	var runs []func()
	for _, in := range h.instances {
		q, err := openQueue(connection, f.trigger.QueueName)
		if err != nil {
			return nil, fmt.Errorf("open queue %s: %w", f.trigger.QueueName, err)
		}
		l := &queueListener{
			host: h, instance: in, function: f, queue: q,
			autoComplete: or(f.trigger.AutoCompleteMessages, h.config.queues.autoComplete),
			identity: map[string]any{"FullyQualifiedNamespace": namespace[1], "IsClosed": false, "TransportType": 0,
				"Identifier": namespace[1] + "-" + uuid.NewString()},
		}
		runs = append(runs, l.run)
	}
	return runs, nil
}

var connectionHost = regexp.MustCompile(`(?i)(?:^|;)\s*Endpoint=sb://([^/:;]+)`)

// openQueue is for a queue or, by the suffix /$DeadLetterQueue, its dead
// letters. The first receive connects.
func openQueue(connection, name string) (*queue, error) {
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: time.Second},
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
	receiver, err := client.NewReceiverForQueue(name, options)
	if err != nil {
		return nil, err
	}
	settler, err := client.NewReceiverForQueue(name, options)
	if err != nil {
		return nil, err
	}
	return &queue{client, receiver, settler}, nil
}

// run receives until the instance ends. It asks for one message at a time and
// only when one more invocation is allowed, so no lock is held by a message
// that nobody works on.
func (l *queueListener) run() {
	slots := make(chan struct{}, l.host.config.queues.concurrency)
	for l.instance.alive.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-l.instance.alive.Done():
			continue
		}
		messages, err := l.queue.receiver.ReceiveMessages(l.instance.alive, 1, nil)
		if err != nil || len(messages) == 0 {
			<-slots
			l.pause(err)
			continue
		}
		l.host.tasks.Go(func() {
			defer func() { <-slots }()
			l.handle(messages[0])
		})
	}
	l.close(l.queue.receiver.Close)
	for range cap(slots) { // every invocation has ended
		slots <- struct{}{}
	}
	l.close(l.queue.settler.Close)
	l.close(l.queue.client.Close)
}

func (l *queueListener) close(what func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	if err := what(ctx); err != nil {
		l.host.log.Warn("close queue", "function", l.function.name, "instance", l.instance.index, "error", err)
	}
}

// pause keeps a broker that is away from being asked without a break.
func (l *queueListener) pause(err error) {
	if err == nil || l.instance.alive.Err() != nil {
		return
	}
	l.host.log.Warn("receive from queue", "function", l.function.name, "instance", l.instance.index, "error", err)
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
	log := l.host.log.With("function", l.function.name, "instance", l.instance.index, "message", m.MessageID)
	e := newEnvelope(l.function, m.Body, messageMetadata(m, l.identity))
	renewing, stopRenewing := context.WithCancel(l.host.work)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		l.renew(renewing, m)
	}()
	invokeErr := l.instance.invoke(l.host.work, l.function, e)
	stopRenewing()
	<-stopped

	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	token := &azservicebus.ReceivedMessage{LockToken: m.LockToken}
	var err error
	switch {
	case invokeErr != nil:
		log.Error("invocation failed, message abandoned", "error", invokeErr)
		err = l.queue.settler.AbandonMessage(ctx, token, nil)
	case l.autoComplete:
		err = l.queue.settler.CompleteMessage(ctx, token, nil)
	}
	if err != nil {
		log.Warn("settle message", "error", err)
	}
}

// renew keeps the lock for at most maxAutoLockRenewalDuration. It renews ten
// seconds before the lock ends, or at half of a shorter lock (ReceiverManager
// in azure-sdk-for-net).
func (l *queueListener) renew(ctx context.Context, m *azservicebus.ReceivedMessage) {
	if limit := l.host.config.queues.renewFor; limit >= 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	for m.LockedUntil != nil {
		left := time.Until(*m.LockedUntil)
		timer := time.NewTimer(left - min(left/2, 10*time.Second))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		err := l.queue.settler.RenewMessageLock(ctx, m, nil)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			l.host.log.Warn("renew message lock", "function", l.function.name, "message", m.MessageID, "error", err)
			if time.Until(*m.LockedUntil) <= 0 || isLockLost(err) {
				return
			}
		}
	}
}

func isLockLost(err error) bool {
	var e *azservicebus.Error
	return errors.As(err, &e) && e.Code == azservicebus.CodeLockLost
}

// never is DateTimeOffset.MaxValue: when a message without time to live expires.
var never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// messageMetadata is the binding data of a message. Values that are null in
// .NET are left out (ServiceBusTriggerBindingStrategy in azure-sdk-for-net).
func messageMetadata(m *azservicebus.ReceivedMessage, client map[string]any) metadata {
	properties := m.ApplicationProperties
	if properties == nil {
		properties = map[string]any{}
	}
	b := metadata{
		"Client": client, "DeliveryCount": quoted(m.DeliveryCount), "LockToken": quoted(uuid.UUID(m.LockToken).String()),
		"ApplicationProperties": properties, "UserProperties": properties,
	}
	for _, key := range []string{"MessageReceiver", "MessageSession", "MessageActions", "SessionActions", "ReceiveActions"} {
		b[key] = struct{}{}
	}
	enqueued, expires := time.Time{}, never
	if m.EnqueuedTime != nil {
		enqueued = *m.EnqueuedTime
		if m.TimeToLive != nil && *m.TimeToLive > 0 && enqueued.Add(*m.TimeToLive).Before(never) {
			expires = enqueued.Add(*m.TimeToLive)
		}
	}
	b["EnqueuedTimeUtc"], b["EnqueuedTime"] = date(enqueued), dateOffset(enqueued)
	b["ExpiresAtUtc"], b["ExpiresAt"] = date(expires), dateOffset(expires)
	if m.SequenceNumber != nil {
		b["SequenceNumber"] = quoted(*m.SequenceNumber)
	}
	if m.MessageID != "" {
		b["MessageId"] = quoted(m.MessageID)
	}
	for key, value := range map[string]*string{
		"DeadLetterSource": m.DeadLetterSource, "ContentType": m.ContentType, "ReplyTo": m.ReplyTo, "To": m.To,
		"Subject": m.Subject, "Label": m.Subject, "CorrelationId": m.CorrelationID, "SessionId": m.SessionID,
		"ReplyToSessionId": m.ReplyToSessionID, "PartitionKey": m.PartitionKey,
	} {
		if value != nil {
			b[key] = quoted(*value)
		}
	}
	return b
}
