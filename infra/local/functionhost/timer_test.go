package functionhost

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"
)

const everySecond = `{"bindings":[{"type":"timerTrigger","direction":"in","name":"timer","schedule":"* * * * * *"}]}`

// timerInfo is the value of a timer in an envelope.
type timerInfo struct {
	IsPastDue      bool
	ScheduleStatus *struct{ Last, Next, LastUpdated string }
}

func decodeTimer(t *testing.T, e event) timerInfo {
	t.Helper()
	var envelope struct {
		Data map[string]timerInfo
	}
	if err := json.Unmarshal(e.Body, &envelope); err != nil {
		t.Fatalf("%s: %v", e.Body, err)
	}
	return envelope.Data["timer"]
}

func TestTimerFiresWithoutOverlapOverAllInstances(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", everySecond)
	release := make(chan struct{})
	a.handle(func(event) order { <-release; return success })
	clock := newHandClock()
	a.start(Options{Instances: 2, clock: clock})
	clock.await(t, time.Second)
	clock.pass(time.Second)
	first := next(t, a.requests)
	if info := decodeTimer(t, first); first.URI != "/tick" || info.IsPastDue || info.ScheduleStatus != nil {
		t.Errorf("%s %s: an interval below a minute has no status", first.URI, first.Body)
	}
	clock.pass(3 * time.Second)
	close(release)
	clock.await(t, time.Second)
	none(t, a.requests)
	clock.pass(time.Second)
	if second := next(t, a.requests); first.Pid != second.Pid {
		t.Error("an occurrence went to an instance without the lock")
	}
	none(t, a.requests)
}

func TestTimerGoesOnAfterAFailure(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", everySecond)
	a.handle(func(event) order { return order{Status: 500} })
	clock := newHandClock()
	a.start(Options{clock: clock})
	for range 2 {
		clock.await(t, time.Second)
		clock.pass(time.Second)
		next(t, a.requests)
	}
}

func TestTimerRunsOnStartup(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", `{"bindings":[{"type":"timerTrigger","direction":"in","name":"timer","schedule":"0 0 0 1 1 *","runOnStartup":true}]}`)
	a.start(Options{})
	info := decodeTimer(t, next(t, a.requests))
	if info.IsPastDue || info.ScheduleStatus == nil || info.ScheduleStatus.Last != "0001-01-01T00:00:00" {
		t.Errorf("timer %+v", info)
	}
}

func TestScheduleMonitor(t *testing.T) {
	start := time.Date(2026, 1, 31, 23, 58, 30, 0, time.UTC)
	clock := newHandClock()
	clock.now = start
	m := &memoryMonitor{}
	s, err := parseSchedule("0 */5 * * * *")
	if err != nil {
		t.Fatal(err)
	}
	in := &instance{life: t.Context(), log: slog.New(slog.DiscardHandler)}
	tm := &timer{instance: in, schedule: s, monitor: m, clock: clock}
	status, pastDue := tm.begin(t.Context())
	due := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	if pastDue || !status.Last.IsZero() || !status.Next.Equal(due) || !status.LastUpdated.Equal(start) || m.status == nil {
		t.Errorf("first status %+v, past due %v", status, pastDue)
	}
	clock.pass(due.Sub(start))
	if _, pastDue := tm.begin(t.Context()); pastDue {
		t.Error("an occurrence that is just due wasn't missed")
	}
	clock.pass(time.Second)
	if _, pastDue := tm.begin(t.Context()); !pastDue {
		t.Error("a second after it the occurrence was missed")
	}
}

func TestSchedules(t *testing.T) {
	at := time.Date(2026, 2, 28, 23, 59, 30, 0, time.FixedZone("", 3600))
	for expression, want := range map[string]time.Time{
		"0 * * * * *":         time.Date(2026, 2, 28, 23, 0, 0, 0, time.UTC),
		"*/15 * * * * *":      time.Date(2026, 2, 28, 22, 59, 45, 0, time.UTC),
		"0 30 2 * * MON-FRI":  time.Date(2026, 3, 2, 2, 30, 0, 0, time.UTC),
		"0 0 0 1 1 *":         time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		"0 0 0 31 2 *":        {},
		"0  0 12   * JUN,7 *": time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC),
	} {
		s, err := parseSchedule(expression)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.after(at); !got.Equal(want) {
			t.Errorf("%q: %s, want %s", expression, got, want)
		}
	}
	for expression, want := range map[string]bool{"0 * * * * *": true, "59 * * * * *": true, "*/30 * * * * *": false} {
		s, err := parseSchedule(expression)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.monitored(at); got != want {
			t.Errorf("%q: monitored %v", expression, got)
		}
	}
}

// brokenMonitor is a storage that is away.
type brokenMonitor struct{}

func (brokenMonitor) load(context.Context) (*scheduleStatus, error) { return nil, errors.New("away") }
func (brokenMonitor) save(context.Context, scheduleStatus) error    { return errors.New("away") }

func TestTimerFiresWithoutItsStorage(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", inert)
	h := a.start(Options{})
	s, err := parseSchedule("0 0 0 1 1 *")
	if err != nil {
		t.Fatal(err)
	}
	tm := &timer{instance: h.instances[0], function: h.functions[0], schedule: s, monitor: brokenMonitor{}, clock: systemClock{}}
	status, pastDue := tm.begin(context.Background())
	if status = tm.fire(status, pastDue); status == nil || status.Last.IsZero() {
		t.Errorf("status %+v", status)
	}
	next(t, a.requests)
}
