package functionhost

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"mailferry/infra/local/faults"
	"mailferry/infra/local/servicebus"
)

// holder is the instance whose process sent an event.
func holder(t *testing.T, h *Host, e event) int {
	t.Helper()
	for i := range h.all() {
		if h.Pid(i) == e.Pid {
			return i
		}
	}
	t.Fatalf("no instance has process %d", e.Pid)
	return 0
}

// A whole instance dies with its host: nothing is abandoned, and a message is
// there again when its lock has run out, and not before.
func TestCrashLeavesMessagesLocked(t *testing.T) {
	clock := newHandClock()
	a, broker := queueAppAt(t, servicebus.Queue{LockDuration: 5 * time.Minute}, queueFunction, clock.Now)
	h := a.start(Options{Instances: 2})
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "x")
	first := next(t, a.requests)
	a.handle(nil)
	i := holder(t, h, first)
	if err := h.Crash(i); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(first.Pid, 0); err == nil {
		t.Error("the handler outlives its instance")
	}
	if c := broker.Counts("q"); c.Locked != 1 || c.Active != 0 {
		t.Errorf("counts %+v, want the message locked", c)
	}
	clock.pass(5*time.Minute - time.Second)
	if c := broker.Counts("q"); c.Locked != 1 {
		t.Errorf("counts %+v before the lock ends", c)
	}
	none(t, a.requests)
	clock.pass(2 * time.Second)
	second := next(t, a.requests)
	if holder(t, h, second) != 1-i || decode(t, second).Metadata.DeliveryCount != "2" {
		t.Errorf("second delivery to process %d: %s", second.Pid, second.Body)
	}
}

func TestCrashedInstanceGetsNoRequestsUntilItIsRestarted(t *testing.T) {
	a := newApp(t)
	a.write("open/function.json", httpFunction("anonymous", "", "open"))
	h := a.start(Options{})
	if err := h.Crash(0); err != nil {
		t.Fatal(err)
	}
	if err := h.Crash(0); err == nil {
		t.Error("what doesn't run can't crash")
	}
	if response, _ := send(t, "GET", h.URL()+"/api/open", "", nil); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("answer %d without an instance", response.StatusCode)
	}
	select {
	case <-h.Done():
		t.Error("a crashed instance may come back")
	default:
	}
	if err := h.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if response, _ := send(t, "GET", h.URL()+"/api/open", "", nil); response.StatusCode != 200 {
		t.Errorf("answer %d after the restart", response.StatusCode)
	}
	if h.Restarts() != 1 {
		t.Errorf("%d restarts, want 1", h.Restarts())
	}
}

func TestRestartAbandonsWhatIsInFlight(t *testing.T) {
	a, broker := queueApp(t, servicebus.Queue{LockDuration: 5 * time.Minute}, queueFunction)
	h := a.start(Options{})
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	post(t, broker, "x")
	first := next(t, a.requests)
	a.handle(nil)
	if err := h.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	second := next(t, a.requests)
	if first.Pid == second.Pid || decode(t, second).Metadata.DeliveryCount != "2" {
		t.Errorf("second delivery to process %d: %s", second.Pid, second.Body)
	}
	settled(t, broker, servicebus.Counts{Delivered: 2})
}

func TestRestartEndsWithTheHost(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	a.handle(func(event) order { return exit(0) })
	_ = invoke(h, 0)
	<-h.Done()
	if err := h.Restart(t.Context(), 0); err == nil {
		t.Error("a host whose last instance ended by itself has ended")
	}
	if err := h.Restart(t.Context(), 7); err == nil {
		t.Error("there is no instance 7")
	}
}

func TestRestartOfAnInstanceThatEndedForGood(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{Instances: 2})
	a.handle(func(event) order { return exit(0) })
	_ = invoke(h, 0)
	a.handle(nil)
	<-h.instances[0].ended
	if err := h.Restart(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := invoke(h, 0); err != nil {
		t.Error(err)
	}
}

// Stop doesn't wait for a new instance whose handler never listens.
func TestStopEndsARestart(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{clock: newHandClock()})
	next(t, a.starts)
	a.on(&a.onStart, func(event) order { return order{Deaf: true} })
	restarted := make(chan error, 1)
	go func() { restarted <- h.Restart(context.Background(), 0) }()
	next(t, a.starts)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := <-restarted; !errors.Is(err, errStopped) {
		t.Errorf("restart: %v", err)
	}
}

func TestVerbs(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	plan := faults.New()
	h := a.start(Options{Instances: 2, Faults: plan})
	do := func(verb, args string) int {
		w := httptest.NewRecorder()
		plan.ServeHTTP(w, httptest.NewRequest("POST", "/do/host."+verb, strings.NewReader(args)))
		return w.Code
	}
	other, before := h.Pid(0), h.Pid(1)
	if code := do("kill", `{"instance":1}`); code != 204 {
		t.Errorf("kill: %d", code)
	}
	if err := invoke(h, 1); err != nil || h.Pid(1) == before {
		t.Errorf("after kill: process %d, %v", h.Pid(1), err)
	}
	if code := do("crash", `{"instance":1}`); code != 204 || h.Pid(1) != 0 {
		t.Errorf("crash: %d, process %d", code, h.Pid(1))
	}
	if code := do("restart", `{"instance":1}`); code != 204 || h.Pid(1) == 0 {
		t.Errorf("restart: %d, process %d", code, h.Pid(1))
	}
	if h.Pid(0) != other {
		t.Error("the other instance was touched")
	}
	if code := do("restart", ""); code != 204 || h.Pid(0) == other {
		t.Errorf("restart without argument: %d", code)
	}
	for _, args := range []string{`{"instance":9}`, `[]`} {
		for _, verb := range []string{"kill", "crash", "restart"} {
			if code := do(verb, args); code != http.StatusUnprocessableEntity {
				t.Errorf("%s %s: %d", verb, args, code)
			}
		}
	}
}

func TestStopAfterCrash(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{Instances: 2})
	if err := h.Crash(0); err != nil {
		t.Fatal(err)
	}
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-h.Done()
	if err := h.Restart(t.Context(), 0); err == nil {
		t.Error("a stopped host doesn't restart")
	}
}

// A found blob stays hidden after a crash, and comes again with the try counted.
func blobOfACrashedInstanceComesAgainLater(t *testing.T, s *store) {
	s.create()
	a := s.app()
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	const hidden = 2 * time.Second
	h := a.start(Options{BlobPoll: quick, BlobVisibility: hidden, Instances: 2})
	began := time.Now()
	s.put("acme/x.csv", "1")
	first := next(t, a.requests)
	a.handle(nil)
	i := holder(t, h, first)
	if err := h.Crash(i); err != nil {
		t.Fatal(err)
	}
	second := next(t, a.requests)
	if took := time.Since(began); holder(t, h, second) != 1-i || took < hidden {
		t.Errorf("second try by process %d after %s", second.Pid, took)
	}
}

// args that a verb gets may hold more than it reads.
func FuzzVerb(f *testing.F) {
	f.Add(`{"instance":1}`)
	f.Add(`[]`)
	f.Fuzz(func(t *testing.T, args string) {
		got := -1
		err := forInstance(func(_ context.Context, i int) error { got = i; return nil })(context.Background(), json.RawMessage(args))
		if err != nil && got != -1 {
			t.Errorf("%q: done to %d although it is refused: %v", args, got, err)
		}
	})
}
