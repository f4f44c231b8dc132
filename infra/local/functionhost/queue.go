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

// queueReceiver is what the trigger needs of *azservicebus.Receiver.
type queueReceiver interface {
	ReceiveMessages(ctx context.Context, maxMessages int, options *azservicebus.ReceiveMessagesOptions) ([]*azservicebus.ReceivedMessage, error)
	RenewMessageLock(ctx context.Context, m *azservicebus.ReceivedMessage, options *azservicebus.RenewMessageLockOptions) error
	CompleteMessage(ctx context.Context, m *azservicebus.ReceivedMessage, options *azservicebus.CompleteMessageOptions) error
	AbandonMessage(ctx context.Context, m *azservicebus.ReceivedMessage, options *azservicebus.AbandonMessageOptions) error
	Close(ctx context.Context) error
}

// queueListener fires one serviceBusTrigger on one instance.
type queueListener struct {
	host         *Host
	instance     *instance
	function     *function
	autoComplete bool
	client       map[string]any // Metadata.Client
	receiver     queueReceiver
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
		receiver, err := openQueue(connection, f.trigger.QueueName)
		if err != nil {
			return nil, fmt.Errorf("open queue %s: %w", f.trigger.QueueName, err)
		}
		l := &queueListener{
			host: h, instance: in, function: f, receiver: receiver,
			autoComplete: or(f.trigger.AutoCompleteMessages, h.config.queues.autoComplete),
			client: map[string]any{"FullyQualifiedNamespace": namespace[1], "IsClosed": false, "TransportType": 0,
				"Identifier": namespace[1] + "-" + uuid.NewString()},
		}
		runs = append(runs, l.run)
	}
	return runs, nil
}

var connectionHost = regexp.MustCompile(`(?i)(?:^|;)\s*Endpoint=sb://([^/:;]+)`)

// ownReceiver is a receiver with a client, and so a connection, of its own.
type ownReceiver struct {
	*azservicebus.Receiver
	client *azservicebus.Client
}

// Close ends the connection too.
func (r ownReceiver) Close(ctx context.Context) error {
	return errors.Join(r.Receiver.Close(ctx), r.client.Close(ctx))
}

// openQueue is for a queue or, by the suffix /$DeadLetterQueue, its dead
// letters. The first receive connects.
func openQueue(connection, queue string) (queueReceiver, error) {
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 3, RetryDelay: 100 * time.Millisecond, MaxRetryDelay: time.Second},
	})
	if err != nil {
		return nil, err
	}
	options := &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModePeekLock}
	const deadLetters = "/$deadletterqueue"
	if strings.HasSuffix(strings.ToLower(queue), deadLetters) {
		queue = queue[:len(queue)-len(deadLetters)]
		options.SubQueue = azservicebus.SubQueueDeadLetter
	}
	receiver, err := client.NewReceiverForQueue(queue, options)
	if err != nil {
		return nil, err
	}
	return ownReceiver{receiver, client}, nil
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
		messages, err := l.receiver.ReceiveMessages(l.instance.alive, 1, nil)
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
	for range cap(slots) { // every invocation has ended
		slots <- struct{}{}
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	if err := l.receiver.Close(ctx); err != nil {
		l.host.log.Warn("close queue", "function", l.function.name, "error", err)
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
	e := newEnvelope(l.function, m.Body, messageMetadata(m, l.client))
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
	var err error
	switch {
	case invokeErr != nil:
		log.Error("invocation failed, message abandoned", "error", invokeErr)
		err = l.receiver.AbandonMessage(ctx, m, nil)
	case l.autoComplete:
		err = l.receiver.CompleteMessage(ctx, m, nil)
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
		err := l.receiver.RenewMessageLock(ctx, m, nil)
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
