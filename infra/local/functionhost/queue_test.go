package functionhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mailferry/infra/local/servicebus"
)

// queueApp is an app with a broker that has the queue q, and a function on it.
func queueApp(t *testing.T, q servicebus.Queue, function string) (*app, *servicebus.Broker) {
	t.Helper()
	return queueAppAt(t, q, function, nil)
}

// queueAppAt has a broker with a clock of its own.
func queueAppAt(t *testing.T, q servicebus.Queue, function string, now func() time.Time) (*app, *servicebus.Broker) {
	t.Helper()
	return queueAppOn(t, q, function, servicebus.Options{Now: now})
}

func queueAppOn(t *testing.T, q servicebus.Queue, function string, o servicebus.Options) (*app, *servicebus.Broker) {
	t.Helper()
	q.Name = "q"
	o.Queues = []servicebus.Queue{q}
	broker, err := servicebus.Start(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := broker.Close(); err != nil {
			t.Errorf("close broker: %v", err)
		}
	})
	a := newApp(t)
	a.settings["Bus"] = broker.ConnectionString()
	a.settings["QUEUE"] = "q"
	a.write("run/function.json", function)
	return a, broker
}

const queueFunction = `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"msg","queueName":"%QUEUE%","connection":"Bus","dataType":"binary"}]}`

func post(t *testing.T, b *servicebus.Broker, bodies ...string) {
	t.Helper()
	client, err := azservicebus.NewClientFromConnectionString(b.ConnectionString(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close(context.Background())
	sender, err := client.NewSender("q", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range bodies {
		if err := sender.SendMessage(context.Background(), &azservicebus.Message{Body: []byte(body), MessageID: ptr("id-" + body)}, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// decoded is what the tests look at in an envelope.
type decoded struct {
	Data     map[string][]byte
	Metadata struct {
		MessageId, DeliveryCount, LockToken, SequenceNumber, DeadLetterSource string
		ApplicationProperties                                                 map[string]any
	}
}

func decode(t *testing.T, e event) decoded {
	t.Helper()
	var d decoded
	if err := json.Unmarshal(e.Body, &d); err != nil {
		t.Fatalf("%s: %v", e.Body, err)
	}
	return d
}

func settled(t *testing.T, b *servicebus.Broker, want servicebus.Counts) {
	t.Helper()
	var got servicebus.Counts
	within(t, fmt.Sprintf("counts %+v", want), func() bool {
		got = b.Counts("q")
		return got.Active == want.Active && got.Locked == want.Locked && got.DeadLettered == want.DeadLettered && got.Delivered == want.Delivered
	})
}

func TestMessageIsCompletedAfterSuccess(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{}, queueFunction)
	h := a.start(Options{})
	post(t, broker, "hello")
	e := next(t, a.requests)
	d := decode(t, e)
	if e.URI != "/run" || string(d.Data["msg"]) != "hello" || d.Metadata.MessageId != `"id-hello"` || d.Metadata.DeliveryCount != "1" || d.Metadata.SequenceNumber != "1" {
		t.Errorf("envelope %+v", d)
	}
	settled(t, broker, servicebus.Counts{Delivered: 1})
	if h.Restarts() != 0 {
		t.Errorf("%d restarts", h.Restarts())
	}
}

func TestFailedMessageIsAbandonedUntilItIsDeadLettered(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{MaxDeliveryCount: 3}, queueFunction)
	a.write("deadletter/function.json", `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"msg","queueName":"q/$DeadLetterQueue","connection":"Bus","dataType":"binary"}]}`)
	a.start(Options{})
	a.handle(func(e event) order {
		if e.URI == "/deadletter" {
			return success
		}
		return order{Status: 500}
	})
	post(t, broker, "x")
	for i := 1; i <= 3; i++ {
		if e := next(t, a.requests); e.URI != "/run" || decode(t, e).Metadata.DeliveryCount != fmt.Sprint(i) {
			t.Errorf("delivery %d: %s %s", i, e.URI, e.Body)
		}
	}
	e := next(t, a.requests)
	d := decode(t, e)
	if e.URI != "/deadletter" || string(d.Data["msg"]) != "x" || d.Metadata.ApplicationProperties["DeadLetterReason"] != "MaxDeliveryCountExceeded" {
		t.Errorf("dead letter: %s %s", e.URI, e.Body)
	}
	within(t, "no dead letter left", func() bool { return broker.Counts("q").DeadLettered == 0 })
}

func TestMessageOfAKilledProcessComesAgainAtOnce(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{LockDuration: 5 * time.Minute}, queueFunction)
	h := a.start(Options{})
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "x")
	first := next(t, a.requests)
	a.handle(nil)
	if err := h.Kill(0); err != nil {
		t.Fatal(err)
	}
	second := next(t, a.requests)
	if first.Pid == second.Pid || decode(t, second).Metadata.DeliveryCount != "2" {
		t.Errorf("second delivery to pid %d: %s", second.Pid, second.Body)
	}
	settled(t, broker, servicebus.Counts{Delivered: 2})
}

func TestMaxConcurrentCallsIsPerInstance(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{}, queueFunction)
	h := a.start(Options{Instances: 2})
	release := make(chan struct{})
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "1", "2", "3", "4", "5", "6", "7")
	byProcess := map[int]int{}
	for range 4 {
		byProcess[next(t, a.requests).Pid]++
	}
	if byProcess[h.Pid(0)] != 2 || byProcess[h.Pid(1)] != 2 {
		t.Errorf("invocations by process: %v, want 2 each", byProcess)
	}
	if c := broker.Counts("q"); c.Locked != 4 || c.Active != 3 {
		t.Errorf("counts %+v: a message is locked that nobody works on", c)
	}
	close(release)
	settled(t, broker, servicebus.Counts{Delivered: 7})
}

// Section 2.1: maxConcurrentCalls is 16 for each core by default.
func TestMaxConcurrentCallsByDefault(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{}, queueFunction)
	a.host("extensions", map[string]any{})
	a.start(Options{})
	release := make(chan struct{})
	a.handle(func(event) order { <-release; return success })
	limit := 16 * runtime.NumCPU()
	var bodies []string
	for i := range limit + 2 {
		bodies = append(bodies, fmt.Sprint(i))
	}
	post(t, broker, bodies...)
	for range limit {
		next(t, a.requests)
	}
	if c := broker.Counts("q"); c.Locked != limit || c.Active != 2 {
		t.Errorf("counts %+v, want %d locked", c, limit)
	}
	none(t, a.requests)
	close(release)
	settled(t, broker, servicebus.Counts{Delivered: limit + 2})
}

// Section 2.1: prefetchCount messages more are locked, though nobody works on
// them, and stay locked when the host ends.
func TestPrefetchedMessagesAreLocked(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{LockDuration: 5 * time.Minute}, queueFunction)
	a.host("extensions", map[string]any{"serviceBus": map[string]any{"maxConcurrentCalls": 1, "prefetchCount": 3}})
	post(t, broker, "1", "2", "3", "4", "5", "6")
	h := a.start(Options{})
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	next(t, a.requests)
	within(t, "4 locked messages", func() bool { return broker.Counts("q").Locked == 4 })
	none(t, a.requests)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	settled(t, broker, servicebus.Counts{Active: 3, Locked: 3, Delivered: 4})
}

func TestLockIsRenewedWhileTheHandlerWorks(t *testing.T) {
	clock := newHandClock()
	a, broker := queueAppAt(t, servicebus.Queue{LockDuration: time.Minute}, queueFunction, clock.Now)
	a.start(Options{clock: clock})
	release := make(chan struct{})
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "x")
	next(t, a.requests)
	for range 4 {
		clock.await(t, 50*time.Second)
		clock.pass(50 * time.Second)
	}
	clock.await(t, 50*time.Second)
	close(release)
	settled(t, broker, servicebus.Counts{Delivered: 1})
}

// Section 2.1: the lock is renewed for maxAutoLockRenewalDuration. When it is
// lost then, the handler isn't told, and the message comes again beside it.
func TestLockIsLostAfterMaxAutoLockRenewalDuration(t *testing.T) {
	clock := newHandClock()
	a, broker := queueAppAt(t, servicebus.Queue{LockDuration: time.Minute}, queueFunction, clock.Now)
	a.host("extensions", map[string]any{})
	h := a.start(Options{clock: clock})
	release := make(chan struct{})
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "x")
	first := next(t, a.requests)
	for range 5 { // 50 s each: renewed until 5:10
		clock.await(t, 50*time.Second)
		clock.pass(50 * time.Second)
	}
	clock.await(t, 50*time.Second)
	clock.pass(50 * time.Second) // 5:00
	clock.pass(11 * time.Second)
	second := next(t, a.requests)
	if first.Pid != second.Pid || decode(t, second).Metadata.DeliveryCount != "2" {
		t.Errorf("second delivery beside the first: %s", second.Body)
	}
	a.handle(nil) // later deliveries succeed at once
	close(release)
	within(t, "an empty queue", func() bool { c := broker.Counts("q"); return c.Active+c.Locked == 0 })
	if h.Restarts() != 0 {
		t.Error("the loss of a lock must not end the process")
	}
}

// Section 2.1: a renewal comes ten seconds before the end of the lock, or at half
// of a shorter one; none comes after the limit, and the infinite one has no end.
func TestRenewalTimes(t *testing.T) {
	for name, test := range map[string]struct {
		lock, limit time.Duration
		want        []time.Duration
	}{
		"default":  {59 * time.Second, 5 * time.Minute, []time.Duration{49 * time.Second, 99 * time.Second, 149 * time.Second, 199 * time.Second, 249 * time.Second, 299 * time.Second}},
		"none":     {time.Minute, 0, nil},
		"short":    {12 * time.Second, 7 * time.Second, []time.Duration{6 * time.Second}},
		"infinite": {time.Minute, -time.Millisecond, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := &fakeSettler{clock: systemClock{}}
				m := message("")
				m.LockedUntil = ptr(start.Add(test.lock))
				r := &renewal{settler: s, message: m, limit: test.limit, clock: systemClock{}, log: slog.New(slog.DiscardHandler)}
				r.start(t.Context())
				time.Sleep(24*time.Hour + time.Second) // by synctest's clock
				r.stop()
				var got []time.Duration
				for _, at := range s.renewals {
					got = append(got, at.Sub(start))
				}
				if test.limit < 0 {
					if want := int(24 * time.Hour / (50 * time.Second)); len(got) != want {
						t.Errorf("%d renewals in a day, want %d", len(got), want)
					}
				} else if !slices.Equal(got, test.want) {
					t.Errorf("renewed at %v, want %v", got, test.want)
				}
			})
		})
	}
}

// A renewal that fails is tried again while the lock lasts, and not when it is
// lost.
func TestRenewalThatFails(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		ends time.Duration
	}{
		"away": {errors.New("away"), time.Minute},
		"lost": {errLockTaken, 50 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				m := message("")
				m.LockedUntil = ptr(start.Add(time.Minute))
				r := &renewal{settler: &fakeSettler{clock: systemClock{}, fail: test.err}, message: m, limit: -1, clock: systemClock{}, log: slog.New(slog.DiscardHandler)}
				r.start(t.Context())
				r.task.Wait()
				if took := time.Since(start); took != test.ends {
					t.Errorf("ended after %s, want %s", took, test.ends)
				}
				r.stop()
			})
		})
	}
}

func TestWithoutAutoCompleteASuccessLeavesTheMessageLocked(t *testing.T) {
	for name, perFunction := range map[string]bool{"host.json": false, "function.json": true} {
		t.Run(name, func(t *testing.T) {
			function := queueFunction
			if perFunction {
				function = `{"bindings":[{"type":"serviceBusTrigger","direction":"in","name":"msg","queueName":"q","connection":"Bus","autoCompleteMessages":false}]}`
			}
			a, broker := queueApp(t, servicebus.Queue{}, function)
			if !perFunction {
				a.host("extensions", map[string]any{"serviceBus": map[string]any{"autoCompleteMessages": false}})
			}
			h := a.start(Options{Terminate: time.Minute})
			post(t, broker, "x")
			next(t, a.requests)
			if err := h.Stop(context.Background()); err != nil {
				t.Fatal(err)
			}
			if c := broker.Counts("q"); c.Locked != 1 || c.Active != 0 {
				t.Errorf("counts %+v, want the message locked", c)
			}
		})
	}
}

func TestStopAbandonsWhatItInterrupts(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{}, queueFunction)
	h := a.start(Options{})
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "x")
	next(t, a.requests)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	settled(t, broker, servicebus.Counts{Active: 1, Delivered: 1})
}

func TestListenerComesBackAfterTheBrokerWasAway(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{}, queueFunction)
	a.start(Options{})
	post(t, broker, "before")
	next(t, a.requests)
	settled(t, broker, servicebus.Counts{Delivered: 1})
	broker.Wipe()
	post(t, broker, "after")
	if d := decode(t, next(t, a.requests)); d.Metadata.MessageId != `"id-after"` {
		t.Errorf("envelope %+v", d)
	}
}

func TestQueueThatDoesNotExistDoesNotStopTheRest(t *testing.T) {
	a, _ := queueApp(t, servicebus.Queue{}, queueFunction)
	a.settings["QUEUE"] = "other"
	h := a.start(Options{})
	if err := invoke(h, 0); err != nil {
		t.Errorf("the rest of the host must go on: %v", err)
	}
}
