package functionhost

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"

	"mailferry/infra/local/faults"
	"mailferry/infra/local/servicebus"
)

// What the plan says happens to one message: how often the handler gets it, how
// often the broker delivers it, and whether a new process is needed.
func TestFaultsOfInvocations(t *testing.T) {
	for name, test := range map[string]struct {
		rule                faults.Rule
		requests, delivered int
		restarts            int
	}{
		"invoke delay":        {faults.Rule{At: "host.invoke", Do: faults.Delay, After: 10 * time.Millisecond}, 1, 1, 0},
		"invoke answer late":  {faults.Rule{At: "host.invoke", Do: faults.AnswerLate, After: 10 * time.Millisecond}, 1, 1, 0},
		"invoke answer twice": {faults.Rule{At: "host.invoke", Do: faults.AnswerTwice}, 2, 1, 0},
		"invoke lose answer":  {faults.Rule{At: "host.invoke", Do: faults.LoseAnswer}, 2, 2, 0},
		"invoke work late":    {faults.Rule{At: "host.invoke", Do: faults.WorkLate, After: 10 * time.Millisecond}, 2, 2, 0},
		"invoke answer":       {faults.Rule{At: "host.invoke", Do: faults.Answer, Status: 503}, 1, 2, 0},
		"invoke cut after":    {faults.Rule{At: "host.invoke", Do: faults.CutAfter, Bytes: 20}, 2, 2, 0},
		"invoke expire":       {faults.Rule{At: "host.invoke", Do: faults.Expire}, 2, 2, 0},
		"invoke unknown":      {faults.Rule{At: "host.invoke", Do: faults.Move}, 1, 1, 0},
		"answer late":         {faults.Rule{At: "host.answer", Do: faults.AnswerLate, After: 10 * time.Millisecond}, 1, 1, 0},
		"answer lost":         {faults.Rule{At: "host.answer", Do: faults.LoseAnswer}, 2, 2, 0},
		"answer cut":          {faults.Rule{At: "host.answer", Do: faults.Cut}, 2, 2, 1},
		"answer status":       {faults.Rule{At: "host.answer", Do: faults.Answer}, 2, 2, 0},
		"answer expire":       {faults.Rule{At: "host.answer", Do: faults.Expire}, 2, 2, 0},
		"another function":    {faults.Rule{At: "host.*", Match: "intake ", Do: faults.Answer}, 1, 1, 0},
		"this message":        {faults.Rule{At: "host.invoke", Match: "run id-x", Do: faults.Answer}, 1, 2, 0},
	} {
		t.Run(name, func(t *testing.T) {
			a, broker := queueApp(t, servicebus.Queue{LockDuration: 5 * time.Minute}, queueFunction)
			plan := faults.New()
			test.rule.Times = 1
			plan.Add(test.rule)
			h := a.start(Options{Faults: plan})
			post(t, broker, "x")
			for range test.requests {
				next(t, a.requests)
			}
			settled(t, broker, servicebus.Counts{Delivered: test.delivered})
			none(t, a.requests)
			if h.Restarts() != test.restarts {
				t.Errorf("%d restarts, want %d", h.Restarts(), test.restarts)
			}
		})
	}
}

// The broker is busy when it should deliver, three times in a row: the message
// comes all the same, and nothing is asked without a break.
func TestBusyBroker(t *testing.T) {
	plan := faults.New()
	plan.Add(faults.Rule{At: "bus.deliver", Do: faults.Throttle, Times: 3})
	a, broker := queueAppOn(t, servicebus.Queue{}, queueFunction, servicebus.Options{Faults: plan})
	a.start(Options{})
	began := time.Now()
	post(t, broker, "x")
	next(t, a.requests)
	if took := time.Since(began); took < 3*receiveAgain {
		t.Errorf("asked 4 times within %s", took)
	}
	settled(t, broker, servicebus.Counts{Delivered: 1})
}

// The process is killed in mid-invocation, with everything else in it.
func TestFaultCutKillsTheProcessInMidInvocation(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{LockDuration: 5 * time.Minute}, queueFunction)
	plan := faults.New()
	plan.Add(faults.Rule{At: "host.invoke", Match: "id-second", Do: faults.Cut, Times: 1})
	h := a.start(Options{Faults: plan})
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "first")
	first := next(t, a.requests)
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "second")
	within(t, "the end of the process", func() bool { return h.Restarts() > 0 })
	a.handle(nil)
	again := map[string]int{}
	for len(again) < 2 {
		if e := next(t, a.requests); e.Pid != first.Pid {
			again[decode(t, e).Metadata.MessageId]++
		}
	}
	within(t, "an empty queue", func() bool { c := broker.Counts("q"); return c.Active+c.Locked == 0 })
}

func TestFaultDelayEndsWithTheHost(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	plan := faults.New()
	plan.Add(faults.Rule{At: "host.invoke", Do: faults.Delay, After: time.Hour})
	h := a.start(Options{Faults: plan})
	failed := make(chan error, 1)
	go func() { failed <- invoke(h, 0) }()
	if err := plan.Wait(t.Context(), "1", 1); err != nil {
		t.Fatal(err)
	}
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-failed; !errors.Is(err, errStopped) {
		t.Errorf("a delay outlives the host: %v", err)
	}
}

// fakeSettler is a broker whose locks last a minute.
type fakeSettler struct {
	clock     clock
	renewals  []time.Time
	abandoned int
	fail      error
}

func (s *fakeSettler) RenewMessageLock(_ context.Context, m *azservicebus.ReceivedMessage, _ *azservicebus.RenewMessageLockOptions) error {
	if s.fail == nil {
		s.renewals = append(s.renewals, s.clock.Now())
		m.LockedUntil = ptr(s.clock.Now().Add(time.Minute))
	}
	return s.fail
}

func (s *fakeSettler) AbandonMessage(context.Context, *azservicebus.ReceivedMessage, *azservicebus.AbandonMessageOptions) error {
	s.abandoned++
	return nil
}

func TestFaultsOfRenewal(t *testing.T) {
	for name, test := range map[string]struct {
		do                  faults.Action
		renewals, abandoned int
		fails               bool
	}{
		"delay":   {faults.Delay, 1, 0, false},
		"cut":     {faults.Cut, 0, 0, true},
		"answer":  {faults.Answer, 0, 0, true},
		"lost":    {faults.LoseAnswer, 1, 0, true},
		"expire":  {faults.Expire, 0, 1, true},
		"unknown": {faults.Move, 1, 0, false},
	} {
		plan := faults.New()
		plan.Add(faults.Rule{At: "host.renew", Match: "run id <1>", Do: test.do})
		s := &fakeSettler{clock: systemClock{}}
		m := message("")
		before := time.Now().Add(time.Minute)
		m.LockedUntil = ptr(before)
		r := &renewal{settler: s, message: m, plan: plan, function: "run", clock: systemClock{}}
		err := r.renew(t.Context())
		if (err != nil) != test.fails || len(s.renewals) != test.renewals || s.abandoned != test.abandoned {
			t.Errorf("%s: %v, %d renewals, %d abandoned", name, err, len(s.renewals), s.abandoned)
		}
		if test.do == faults.LoseAnswer && !m.LockedUntil.Equal(before) {
			t.Errorf("%s: the host knows of a renewal whose answer was lost", name)
		}
	}
}

func TestFaultsOfTimers(t *testing.T) {
	for name, test := range map[string]struct {
		do    faults.Action
		fired int
	}{"delay": {faults.Delay, 1}, "answer twice": {faults.AnswerTwice, 2}, "cut": {faults.Cut, 0}, "unknown": {faults.Move, 1}} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			a.write("tick/function.json", everyMinute)
			clock, plan := atMinute(), faults.New()
			plan.Add(faults.Rule{At: "host.timer", Match: "tick", Do: test.do, After: 10 * time.Millisecond, Times: 1})
			a.start(Options{clock: clock, Faults: plan})
			clock.await(t, time.Minute)
			clock.pass(time.Minute)
			for range test.fired {
				next(t, a.requests)
			}
			clock.await(t, time.Minute)
			none(t, a.requests)
			clock.pass(time.Minute)
			next(t, a.requests)
		})
	}
}

func TestFaultsOfHTTP(t *testing.T) {
	for name, test := range map[string]struct {
		rule    faults.Rule
		status  int // 0: the connection breaks
		body    string
		handled bool
	}{
		"delay":       {faults.Rule{Do: faults.Delay, After: 10 * time.Millisecond}, 200, "answer", true},
		"answer late": {faults.Rule{Do: faults.AnswerLate, After: 10 * time.Millisecond}, 200, "answer", true},
		"lose answer": {faults.Rule{Do: faults.LoseAnswer}, 0, "", true},
		"work late":   {faults.Rule{Do: faults.WorkLate, After: 10 * time.Millisecond}, 0, "", true},
		"cut":         {faults.Rule{Do: faults.Cut}, 0, "", false},
		"cut after":   {faults.Rule{Do: faults.CutAfter, Bytes: 3}, 200, "ans", true},
		"throttle":    {faults.Rule{Do: faults.Throttle, After: 1500 * time.Millisecond}, 429, "", false},
		"answer":      {faults.Rule{Do: faults.Answer, Status: 503}, 503, "", false},
		"answer 500":  {faults.Rule{Do: faults.Answer}, 500, "", false},
		"unknown":     {faults.Rule{Do: faults.Move}, 200, "answer", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := newApp(t)
			a.write("open/function.json", httpFunction("anonymous", "", "open"))
			plan := faults.New()
			test.rule.At, test.rule.Match, test.rule.Times = "host.http", "PUT /api/open", 1
			plan.Add(test.rule)
			h := a.start(Options{Faults: plan})
			a.handle(func(event) order { return order{Status: 200, Body: "answer"} })
			request, _ := http.NewRequestWithContext(t.Context(), "PUT", h.URL()+"/api/open", strings.NewReader("question"))
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			status, body := 0, []byte(nil)
			if response, err := client.Do(request); err == nil {
				status = response.StatusCode
				body, _ = io.ReadAll(response.Body)
				response.Body.Close()
				if test.rule.Do == faults.Throttle && response.Header.Get("Retry-After") != "2" {
					t.Errorf("Retry-After %q", response.Header.Get("Retry-After"))
				}
			}
			if status != test.status || string(body) != test.body {
				t.Errorf("answer %d %q, want %d %q", status, body, test.status, test.body)
			}
			if test.handled {
				if e := next(t, a.requests); e.Method != "PUT" || string(e.Body) != "question" {
					t.Errorf("the handler got %s %q", e.Method, e.Body)
				}
			}
			none(t, a.requests)
		})
	}
}

// Section 2.3: events come late, twice, out of order, and after what they are
// about has changed; the function gets what the blob holds when it runs.
func eventsAreLateTwiceAndOutOfOrder(t *testing.T, s *store) {
	s.create()
	a := s.app()
	plan := faults.New()
	late := plan.Add(faults.Rule{At: "host.blob-event", Match: "intake " + s.container + "/acme/late", Do: faults.Delay, After: time.Minute})
	plan.Add(faults.Rule{At: "host.blob-event", Match: "/twice", Do: faults.AnswerTwice, Times: 1})
	plan.Add(faults.Rule{At: "host.blob-event", Match: "/lost", Do: faults.Cut})
	clock := newHandClock()
	a.start(Options{BlobPoll: quick, Faults: plan, clock: clock})
	s.put("acme/late.csv", "old")
	if err := plan.Wait(t.Context(), late, 1); err != nil {
		t.Fatal(err)
	}
	s.put("acme/lost.csv", "")
	s.put("acme/twice.csv", "new")
	for range 2 {
		if b := decodeBlob(t, next(t, a.requests)); b.Metadata.Name != `"twice"` {
			t.Errorf("event %+v", b)
		}
	}
	s.put("acme/late.csv", "overwritten") // its own event is late, too
	clock.awaitN(t, time.Minute, 2)
	clock.pass(time.Minute)
	for range 2 {
		if b := decodeBlob(t, next(t, a.requests)); b.Metadata.Name != `"late"` || string(b.Data["csv"]) != "overwritten" {
			t.Errorf("event %+v", b)
		}
	}
}

// A blob whose lock is lost in mid-invocation is handled a second time.
func lostLockOfABlob(t *testing.T, s *store) {
	s.create()
	a := s.app()
	plan := faults.New()
	plan.Add(faults.Rule{At: "host.answer", Match: "acme/x.csv", Do: faults.Expire, Times: 1})
	a.start(Options{BlobPoll: quick, Faults: plan})
	s.put("acme/x.csv", "1")
	next(t, a.requests)
	next(t, a.requests)
	s.emptied(foundBlobs)
	none(t, a.requests)
}
