package wakeups

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"
	"go.uber.org/goleak"

	"mailferry/infra/local/faults"
	"mailferry/infra/local/servicebus"
	"mailferry/shared/migrate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const queue = "wakeups"

var wake = migrate.WakeUp{
	Version: migrate.WakeUpVersion,
	Mailbox: migrate.NewMailboxID("dovecot", "anna", "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
	Seq:     7, Attempt: 2,
}

func startBroker(t *testing.T, o servicebus.Options) *servicebus.Broker {
	t.Helper()
	o.Queues = []servicebus.Queue{{Name: queue, DuplicateDetection: time.Hour}}
	b, err := servicebus.Start(context.Background(), o) // it would end with t.Context(), ahead of the clients
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeBroker(t, b) })
	return b
}

func closeBroker(t *testing.T, b *servicebus.Broker) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func newSender(t *testing.T, connection, queue string) *Sender {
	t.Helper()
	s, err := FromConnectionString(connection, queue)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, s.Close) })
	return s
}

func finish(t *testing.T, end func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := end(ctx); err != nil {
		t.Error(err)
	}
}

// patience is how long a test waits for what must come: it only ends one that hangs, and a busy machine takes
// long.
const patience = 2 * time.Minute

// receive takes what the queue holds, which must be n messages.
func receive(t *testing.T, b *servicebus.Broker, n int) (got []*azservicebus.ReceivedMessage) {
	t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(b.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer finish(t, client.Close)
	r, err := client.NewReceiverForQueue(queue, &azservicebus.ReceiverOptions{ReceiveMode: azservicebus.ReceiveModeReceiveAndDelete})
	if err != nil {
		t.Fatal(err)
	}
	defer finish(t, r.Close)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for len(got) < n {
		some, err := r.ReceiveMessages(ctx, 100, nil)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, some...)
	}
	if c := b.Counts(queue); len(got) != n || c.Active != 0 {
		t.Fatalf("%d messages came, %d are left", len(got), c.Active)
	}
	return got
}

func TestWake(t *testing.T) {
	b := startBroker(t, servicebus.Options{})
	s := newSender(t, b.ConnectionString(), queue)
	again := wake
	again.Attempt++
	for _, w := range []migrate.WakeUp{wake, wake, again} { // the second is a duplicate
		if err := s.Wake(t.Context(), w, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	got := receive(t, b, 2)
	for i, want := range []migrate.WakeUp{wake, again} {
		m := got[i]
		w, err := migrate.ParseWakeUp(m.Body)
		if err != nil || w != want {
			t.Errorf("body %s: %+v, %v", m.Body, w, err)
		}
		if m.MessageID != want.MessageID() || m.ContentType == nil || *m.ContentType != "application/json" || m.ScheduledEnqueueTime != nil {
			t.Errorf("properties of %+v", m)
		}
		if len(m.ApplicationProperties) != 0 || m.Subject != nil {
			t.Errorf("more than ids: %v, %v", m.ApplicationProperties, m.Subject)
		}
	}
}

func TestWakeLater(t *testing.T) {
	var mu sync.Mutex
	var ahead time.Duration
	b := startBroker(t, servicebus.Options{Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Now().Add(ahead)
	}})
	s := newSender(t, b.ConnectionString(), queue)
	at := time.Now().Add(5 * time.Minute)
	if err := s.Wake(t.Context(), wake, at); err != nil {
		t.Fatal(err)
	}
	if c := b.Counts(queue); c.Scheduled != 1 || c.Active != 0 {
		t.Fatalf("%+v", c)
	}
	mu.Lock()
	ahead = 5*time.Minute + time.Second
	mu.Unlock()
	if got := receive(t, b, 1); got[0].ScheduledEnqueueTime == nil || got[0].ScheduledEnqueueTime.Sub(at).Abs() > time.Second {
		t.Errorf("scheduled for %v, want %v", got[0].ScheduledEnqueueTime, at)
	}
}

func TestWakePast(t *testing.T) {
	b := startBroker(t, servicebus.Options{})
	s := newSender(t, b.ConnectionString(), queue)
	if err := s.Wake(t.Context(), wake, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if c := b.Counts(queue); c.Active != 1 {
		t.Fatalf("%+v", c)
	}
}

// TestRestart loses the broker between two wake-ups and comes back at the same address.
func TestRestart(t *testing.T) {
	first := startBroker(t, servicebus.Options{})
	s := newSender(t, first.ConnectionString(), queue)
	if err := s.Wake(t.Context(), wake, time.Time{}); err != nil {
		t.Fatal(err)
	}
	closeBroker(t, first)
	second := startBroker(t, servicebus.Options{Addr: first.Addr()})
	defer finish(t, s.Close) // ahead of the second broker
	if err := s.Wake(t.Context(), wake, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if c := second.Counts(queue); c.Active != 1 {
		t.Fatalf("%+v", c)
	}
}

func TestManyAtOnce(t *testing.T) {
	b := startBroker(t, servicebus.Options{})
	s := newSender(t, b.ConnectionString(), queue)
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			w := wake
			w.Seq = int64(i + 1)
			if err := s.Wake(t.Context(), w, time.Time{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if c := b.Counts(queue); c.Active != 50 {
		t.Fatalf("%+v", c)
	}
}

func TestNoQueue(t *testing.T) {
	b := startBroker(t, servicebus.Options{})
	s := newSender(t, b.ConnectionString(), "elsewhere")
	if err := s.Wake(t.Context(), wake, time.Time{}); migrate.KindOf(err) != migrate.Configuration || migrate.OutcomeUnknown(err) {
		t.Fatal(err)
	}
}

func TestNobodyListens(t *testing.T) {
	b := startBroker(t, servicebus.Options{})
	connection := b.ConnectionString()
	closeBroker(t, b)
	client, err := azservicebus.NewClientFromConnectionString(connection, &azservicebus.ClientOptions{
		RetryOptions: azservicebus.RetryOptions{MaxRetries: 1, RetryDelay: time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer finish(t, client.Close)
	s := New(client, queue)
	defer finish(t, s.Close)
	if err := s.Wake(t.Context(), wake, time.Time{}); migrate.KindOf(err) != migrate.Unreachable || !migrate.OutcomeUnknown(err) {
		t.Fatal(err)
	}
}

func TestCancelled(t *testing.T) {
	b := startBroker(t, servicebus.Options{})
	s := newSender(t, b.ConnectionString(), queue)
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopping)
	if err := s.Wake(ctx, wake, time.Time{}); !errors.Is(err, context.Canceled) || !errors.Is(err, stopping) {
		t.Fatal(err)
	}
}

func TestClose(t *testing.T) {
	b := startBroker(t, servicebus.Options{})
	s := newSender(t, b.ConnectionString(), queue)
	if err := s.Wake(t.Context(), wake, time.Time{}); err != nil {
		t.Fatal(err)
	}
	finish(t, s.Close)
	finish(t, s.Close)
	if err := s.Wake(t.Context(), wake, time.Time{}); !errors.Is(err, ErrClosed) || migrate.OutcomeUnknown(err) {
		t.Fatal(err)
	}
}

// overPipes is for virtual time.
func overPipes(t *testing.T, o servicebus.Options) (*servicebus.Broker, *Sender) {
	t.Helper()
	pipes := servicebus.NewPipes()
	o.Listener = pipes
	b := startBroker(t, o)
	client, err := azservicebus.NewClientFromConnectionString(b.ConnectionString(), &azservicebus.ClientOptions{
		NewWebSocketConn: func(ctx context.Context, _ azservicebus.NewWebSocketConnArgs) (net.Conn, error) {
			return pipes.Dial(ctx)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &Sender{client: client, queue: queue, owned: true}
	t.Cleanup(func() { finish(t, s.Close) })
	return b, s
}

// detach ends the links to the queue.
func detach(t *testing.T, plan *faults.Plan, condition string) {
	t.Helper()
	answer := httptest.NewRecorder()
	body := strings.NewReader(fmt.Sprintf(`{"queue":%q,"condition":%q}`, queue, condition))
	if plan.ServeHTTP(answer, httptest.NewRequest("POST", "/do/bus.detach", body)); answer.Code >= 300 {
		t.Fatal(answer.Code, answer.Body)
	}
	synctest.Wait()
}

// TestDetached has the service end the links while nobody sends, for whatever reason: the wake-ups after
// that go out, one alone and many at once.
func TestDetached(t *testing.T) {
	for _, condition := range []string{"com.microsoft:server-busy", "com.microsoft:timeout", "com.microsoft:entity-disabled",
		"com.microsoft:operation-cancelled", "amqp:link:detach-forced", "amqp:unauthorized-access", "amqp:not-found",
		"amqp:resource-limit-exceeded", "amqp:internal-error", "com.microsoft:new"} {
		t.Run(condition, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				plan := faults.New()
				b, s := overPipes(t, servicebus.Options{Faults: plan})
				for i := range 2 {
					if err := s.Wake(t.Context(), numbered(i), time.Time{}); err != nil {
						t.Fatal(err)
					}
					detach(t, plan, condition)
				}
				var all sync.WaitGroup
				for i := range 20 {
					all.Go(func() {
						if err := s.Wake(t.Context(), numbered(2+i), time.Time{}); err != nil {
							t.Error(err)
						}
					})
				}
				all.Wait()
				if c := b.Counts(queue); c.Active != 22 {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

func numbered(i int) migrate.WakeUp {
	w := wake
	w.Seq += int64(i)
	return w
}

// TestIdle sends nothing for an hour: the broker ends a link after 10 minutes
// (service-bus-amqp-troubleshoot), which neither the next wake-up nor the end minds.
func TestIdle(t *testing.T) {
	for name, wakes := range map[string]int{"then a wake-up": 1, "then the end": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, s := overPipes(t, servicebus.Options{})
				if err := s.Wake(t.Context(), wake, time.Time{}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Hour)
				for i := range wakes {
					w := wake
					w.Seq += int64(i + 1)
					if err := s.Wake(t.Context(), w, time.Time{}); err != nil {
						t.Error(err)
					}
				}
				if c := b.Counts(queue); c.Active != 1+wakes {
					t.Errorf("%+v", c)
				}
			})
		})
	}
}

func TestConnectionStringIsNotQuoted(t *testing.T) {
	_, err := FromConnectionString("Endpoint=nonsense;SharedAccessKey=hunter2", queue)
	if migrate.KindOf(err) != migrate.Configuration || strings.Contains(fmt.Sprint(err), "hunter2") {
		t.Fatal(err)
	}
}

func TestKinds(t *testing.T) {
	for _, c := range []struct {
		err  error
		want migrate.Kind
	}{
		{&azservicebus.Error{Code: azservicebus.CodeUnauthorizedAccess}, migrate.Permission},
		{&azservicebus.Error{Code: azservicebus.CodeTimeout}, migrate.Unreachable},
		{&amqp.Error{Condition: serverBusy}, migrate.Throttled},
		{&amqp.Error{Condition: amqp.ErrCondResourceLimitExceeded}, migrate.Throttled},
		{&amqp.Error{Condition: entityDisabled}, migrate.Configuration},
		{&amqp.Error{Condition: amqp.ErrCondDecodeError}, migrate.Unexpected},
		{&amqp.ConnError{}, migrate.Unreachable},
		{context.DeadlineExceeded, migrate.Unreachable},
		{errors.New("something new"), migrate.Unexpected},
	} {
		if got := migrate.KindOf(fault(t.Context(), "send", fmt.Errorf("wrapped: %w", c.err))); got != c.want {
			t.Errorf("%T %v is %s, want %s", c.err, c.err, got, c.want)
		}
	}
}

func TestNamespace(t *testing.T) {
	s, err := FromNamespace("name.servicebus.windows.net", noCredential{}, queue)
	if err != nil {
		t.Fatal(err)
	}
	finish(t, s.Close)
}

type noCredential struct{}

func (noCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, errors.New("no token here")
}
