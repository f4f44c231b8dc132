// Package wakeups sends migrate.WakeUp over Azure Service Bus. Body and properties hold ids only.
package wakeups

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mailferry/shared/migrate"
)

// sendTimeout bounds the sending of one wake-up with all its tries. It is a few hundred bytes, so
// that this is a deadline on progress too.
const sendTimeout = time.Minute

// ErrClosed is what Wake wraps after Close.
var ErrClosed = errors.New("the sender of wake-ups is closed")

// Sender implements migrate.Waker. Its methods may be called by several goroutines at once.
type Sender struct {
	queue  string
	client *azservicebus.Client
	owned  bool // Close closes the client too

	mu     sync.Mutex
	sender *azservicebus.Sender // made by the first Wake
	closed bool
}

var _ migrate.Waker = (*Sender)(nil)

// New sends to a queue over the caller's client, which Close leaves open.
func New(client *azservicebus.Client, queue string) *Sender {
	return &Sender{client: client, queue: queue}
}

// FromConnectionString connects, at the first Wake, with a Service Bus connection string.
func FromConnectionString(connection, queue string) (*Sender, error) {
	client, err := azservicebus.NewClientFromConnectionString(connection, clientOptions())
	if err != nil {
		return nil, &migrate.Error{Op: "read Service Bus connection string", Kind: migrate.Configuration, Err: errors.New("it lacks one of Endpoint, SharedAccessKeyName and SharedAccessKey")}
	}
	return &Sender{client: client, queue: queue, owned: true}, nil
}

// FromNamespace connects, at the first Wake, to a namespace such as name.servicebus.windows.net.
func FromNamespace(namespace string, credential azcore.TokenCredential, queue string) (*Sender, error) {
	client, err := azservicebus.NewClient(namespace, credential, clientOptions())
	if err != nil {
		return nil, &migrate.Error{Op: "read Service Bus namespace", Kind: migrate.Configuration, Err: err}
	}
	return &Sender{client: client, queue: queue, owned: true}, nil
}

func clientOptions() *azservicebus.ClientOptions {
	return &azservicebus.ClientOptions{
		ApplicationID: "mailferry",
		RetryOptions:  azservicebus.RetryOptions{MaxRetries: 4, RetryDelay: 500 * time.Millisecond, MaxRetryDelay: 5 * time.Second},
	}
}

// Wake implements migrate.Waker. A lost connection or link is made anew, by azservicebus within its
// tries, here where it does not, and then by the next Wake.
func (s *Sender) Wake(ctx context.Context, w migrate.WakeUp, at time.Time) error {
	message, err := encode(w, at)
	if err != nil {
		return err
	}
	step, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	err = s.send(step, message)
	if isDead(err) { // perhaps for long: it says nothing of the queue now
		err = s.send(step, message)
	}
	if err != nil {
		return fault(ctx, "send wake-up", err)
	}
	return nil
}

// send sends over the sender there is. In place of one that never sends again, the next call makes another.
func (s *Sender) send(ctx context.Context, message *azservicebus.Message) error {
	sender, err := s.open()
	if err != nil {
		return err
	}
	if err = sender.SendMessage(ctx, message, nil); isDead(err) {
		s.drop(sender)
		_ = sender.Close(ctx) // says once more why its link has ended
	}
	return err
}

// encode gives the message. Service Bus holds it back until its scheduled time:
// https://learn.microsoft.com/azure/service-bus-messaging/message-sequencing#scheduled-messages.
func encode(w migrate.WakeUp, at time.Time) (*azservicebus.Message, error) {
	body, err := json.Marshal(w)
	if err != nil {
		return nil, &migrate.Error{Op: "write wake-up", Kind: migrate.Unexpected, Err: err}
	}
	m := &azservicebus.Message{
		Body:        body,
		MessageID:   to.Ptr(w.MessageID()),
		ContentType: to.Ptr("application/json"),
	}
	if at.After(time.Now()) {
		m.ScheduledEnqueueTime = to.Ptr(at.UTC())
	}
	return m, nil
}

// open returns the sender, which does not connect yet.
func (s *Sender) open() (*azservicebus.Sender, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.sender == nil {
		sender, err := s.client.NewSender(s.queue, nil)
		if err != nil {
			return nil, err
		}
		s.sender = sender
	}
	return s.sender, nil
}

// drop forgets a sender that never sends again.
func (s *Sender) drop(sender *azservicebus.Sender) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sender == sender {
		s.sender = nil
	}
}

// Close ends the link, and the connection if it is the Sender's own. Closing again does nothing.
func (s *Sender) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.sender != nil {
		err = s.sender.Close(ctx)
		if ctx.Err() == nil {
			// The broker had ended the link, as it does after 10 minutes without use: azservicebus 1.11 gives
			// that as an error, in words only (internal/amqpLinks.go, closeWithoutLocking).
			err = nil
		}
	}
	if s.owned {
		err = errors.Join(err, s.client.Close(ctx))
	}
	if err != nil {
		return fmt.Errorf("close sender of wake-ups: %w", err)
	}
	return nil
}
