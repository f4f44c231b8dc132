package functionhost

import (
	"context"
	"time"

	"mailferry/infra/local/faults"
)

// timer fires one timerTrigger on one instance, while that has the timer's lock
// (TimerListener in azure-webjobs-sdk-extensions is a [Singleton(Mode =
// SingletonMode.Listener)]). It waits for the end of an invocation before the
// next.
type timer struct {
	instance *instance
	function *function
	schedule schedule
	monitor  monitor // nil without a monitor
	lock     singleton
	clock    clock
}

func (in *instance) timerTrigger(f *function) (run func(), err error) {
	s, err := parseSchedule(f.trigger.Schedule)
	if err != nil {
		return nil, err
	}
	h := in.host
	t := &timer{instance: in, function: f, schedule: s, clock: h.clock}
	monitored := or(f.trigger.UseMonitor, true) && s.monitored(h.clock.Now())
	client, err := h.settings.blobs("")
	if err != nil && h.settings["AzureWebJobsStorage"] != "" {
		return nil, err
	}
	if err != nil {
		kept := h.memory(f)
		t.lock = &memoryLock{lease: &kept.lease, owner: in, clock: h.clock}
		if monitored {
			t.monitor = &kept.monitor
		}
		return t.run, nil
	}
	t.lock = &blobLock{client: client, name: "locks/" + hostID + "/" + functionID(f) + ".Listener"}
	if monitored {
		t.monitor = &blobMonitor{client: client, name: "timers/" + hostID + "/" + functionID(f) + "/status"}
	}
	return t.run, nil
}

// timerMemory is what a timer remembers when there is no AzureWebJobsStorage.
type timerMemory struct {
	monitor memoryMonitor
	lease   memoryLease
}

// memory is shared by all instances.
func (h *Host) memory(f *function) *timerMemory {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.timers == nil {
		h.timers = map[string]*timerMemory{}
	}
	if h.timers[f.name] == nil {
		h.timers[f.name] = &timerMemory{}
	}
	return h.timers[f.name]
}

// run fires for as long as the instance is alive and has the lock.
func (t *timer) run() {
	whileHeld(t.instance, t.lock, t.function.name, t.fireOnSchedule)
}

// fireOnSchedule fires at once when an occurrence was missed, and then at each
// one, until ctx ends.
func (t *timer) fireOnSchedule(ctx context.Context) {
	status, pastDue := t.begin(ctx)
	if pastDue || t.function.trigger.RunOnStartup {
		status = t.fire(status, pastDue)
	}
	var next time.Time
	for ctx.Err() == nil {
		from := t.clock.Now()
		if from.Before(next) { // the wall clock was set back, or its timer was early
			from = next
		}
		next = t.schedule.after(from)
		if next.IsZero() {
			<-ctx.Done()
			return
		}
		if sleep(ctx, t.clock, next.Sub(t.clock.Now())) != nil {
			return
		}
		status = t.strike(ctx, status)
	}
}

// strike fires once as the plan has it at host.timer.
func (t *timer) strike(ctx context.Context, status *scheduleStatus) *scheduleStatus {
	rule := t.instance.host.options.Faults.At("host.timer", t.function.name)
	if rule == nil {
		return t.fire(status, false)
	}
	switch rule.Do {
	case faults.Delay, faults.WorkLate:
		if faults.Pause(ctx, rule.After) != nil {
			return status
		}
	case faults.AnswerTwice:
		status = t.fire(status, false)
	case faults.Cut:
		return status
	}
	return t.fire(status, false)
}

// begin reads the status, or makes the first one, and says whether an
// occurrence was missed since (ScheduleMonitor.CheckPastDueAsync).
func (t *timer) begin(ctx context.Context) (status *scheduleStatus, pastDue bool) {
	if t.monitor == nil {
		return nil, false
	}
	status, err := t.monitor.load(ctx)
	if err != nil {
		t.instance.log.Warn("load schedule status", "function", t.function.name, "error", err)
	}
	if status == nil {
		now := t.clock.Now()
		status = &scheduleStatus{Next: t.schedule.after(now), LastUpdated: now}
		t.save(*status)
		return status, false
	}
	return status, t.clock.Now().After(status.Next)
}

// fire invokes the function; a failure is logged and not tried again. It
// returns the status for the next time.
func (t *timer) fire(status *scheduleStatus, pastDue bool) *scheduleStatus {
	started := t.clock.Now()
	err := t.instance.invoke(t.function, "", newObjectEnvelope(t.function, map[string]any{
		"Schedule":       map[string]any{"AdjustForDST": true},
		"ScheduleStatus": status.wire(),
		"IsPastDue":      pastDue,
	}), nil)
	if t.instance.life.Err() != nil {
		return status
	}
	if err != nil {
		t.instance.log.Error("invocation failed", "function", t.function.name, "error", err)
	}
	if status == nil {
		return nil
	}
	now := t.clock.Now()
	status = &scheduleStatus{Last: started, Next: t.schedule.after(now), LastUpdated: now}
	t.save(*status)
	return status
}

func (t *timer) save(status scheduleStatus) {
	ctx, cancel := context.WithTimeout(t.instance.life, settleWithin)
	defer cancel()
	if err := t.monitor.save(ctx, status); err != nil {
		t.instance.log.Warn("save schedule status", "function", t.function.name, "error", err)
	}
}
