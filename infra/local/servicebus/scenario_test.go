package servicebus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mailferry/infra/local/faults"
)

// scenario is what a client does with a queue q and what it is to observe, line
// by line. Each is played by azservicebus here and by rhea in rhea/scenarios.js,
// and both have to see the same.
type scenario struct {
	name  string
	queue Queue
	play  func(o *observer)
	want  []string
}

// observer is a client that writes down what it sees.
type observer struct {
	*bench
	seen []string
}

func (o *observer) say(format string, args ...any) {
	o.seen = append(o.seen, fmt.Sprintf(format, args...))
}

func (o *observer) counts() { o.say("%s", countsLine(o.Broker)) }

func countsLine(b *Broker) string {
	c := b.Counts("q")
	return fmt.Sprintf("active %d locked %d scheduled %d dead %d delivered %d", c.Active, c.Locked, c.Scheduled, c.DeadLettered, c.Delivered)
}

// refused writes down how the broker said no. azservicebus has codes for some
// of it; rhea sees the broker's own words.
func (o *observer) refused(what string, err error) {
	o.t.Helper()
	for cause, word := range map[error]string{
		&sb.Error{Code: sb.CodeLockLost}:           "lock lost",
		&sb.Error{Code: sb.CodeNotFound}:           "not found",
		&sb.Error{Code: sb.CodeUnauthorizedAccess}: "unauthorized",
	} {
		if e, ok := errors.AsType[*sb.Error](err); ok && e.Code == cause.(*sb.Error).Code {
			o.say("%s: %s", what, word)
			return
		}
	}
	switch {
	case err == nil:
		o.say("%s: done", what)
	case errors.Is(err, sb.ErrMessageTooLarge):
		o.say("%s: too large", what)
	case strings.Contains(err.Error(), string(condNotAllowed)):
		o.say("%s: not allowed", what)
	default:
		o.say("%s: %v", what, err)
	}
}

func (o *observer) takeNext(r *sb.Receiver) *sb.ReceivedMessage {
	o.t.Helper()
	var messages []*sb.ReceivedMessage
	for len(messages) == 0 {
		var err error
		messages, err = r.ReceiveMessages(o.ctx, 1, nil)
		o.must(err)
	}
	o.say("%s delivery %d", messages[0].MessageID, messages[0].DeliveryCount)
	return messages[0]
}

func (o *observer) finish(r *sb.Receiver) {
	o.t.Helper()
	o.must(r.CompleteMessage(o.ctx, o.takeNext(r), nil))
}

func (o *observer) sayDead() {
	m := o.takeNext(o.deadLetters())
	o.say("dead: %s / %s", *m.DeadLetterReason, *m.DeadLetterErrorDescription)
}

func (o *observer) schedule(ids ...string) []int64 {
	o.t.Helper()
	var messages []*sb.Message
	for _, id := range ids {
		messages = append(messages, &sb.Message{MessageID: &id})
	}
	numbers, err := o.sender.ScheduleMessages(o.ctx, messages, time.Now().Add(time.Minute), nil)
	o.must(err)
	return numbers
}

func (o *observer) sayPeeked() {
	messages, err := o.receiver(nil).PeekMessages(o.ctx, 10, nil)
	o.must(err)
	for _, m := range messages {
		o.say("peeked %s number %d state %d", m.MessageID, *m.SequenceNumber, m.State)
	}
}

// as is a client with another key.
func (o *observer) as(name, secret string) *observer {
	other := *o.bench
	other.client = o.connect("Endpoint=sb://" + o.Addr() + ";SharedAccessKeyName=" + name + ";SharedAccessKey=" + secret + ";UseDevelopmentEmulator=true")
	other.sender = other.senderTo("q")
	return &observer{bench: &other}
}

// scenarioKeys are the keys that every scenario's broker knows.
var scenarioKeys = []Key{
	{Name: "root", Secret: "root", Send: true, Listen: true},
	{Name: "sender", Secret: "sender", Send: true},
}

func scenarioBroker(t *testing.T, s scenario) (*Broker, *handClock) {
	t.Helper()
	s.queue.Name = "q"
	clock := &handClock{}
	return startBroker(t, Options{Queues: []Queue{s.queue}, Keys: scenarioKeys, Now: clock.Now}), clock
}

func TestScenariosWithAzservicebus(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			broker, clock := scenarioBroker(t, s)
			b := benchOn(t, broker, patience, nil)
			b.clock = clock
			o := &observer{bench: b}
			s.play(o)
			if !slices.Equal(o.seen, s.want) {
				t.Errorf("saw\n%s\nwant\n%s", strings.Join(o.seen, "\n"), strings.Join(s.want, "\n"))
			}
		})
	}
}

// sendTo writes down whether a queue takes a message.
func (o *observer) sendTo(queue string) {
	o.refused("send", o.senderTo(queue).SendMessage(o.ctx, &sb.Message{}, nil))
}

var because = &sb.DeadLetterOptions{Reason: to.Ptr("why"), ErrorDescription: to.Ptr("because")}

// released waits until the queue has had a message that was delivered and came
// back without a failed delivery.
func (o *observer) released(id string) error {
	for {
		o.mu.Lock()
		q := o.entities["q"].queue
		back := q.delivered >= 2 && q.count[stateReady] == 1
		o.mu.Unlock()
		if back {
			return nil
		}
		if err := faults.Pause(o.ctx, time.Millisecond); err != nil {
			return fmt.Errorf("wait for the release of %s: %w", id, err)
		}
	}
}
