package functionhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/robfig/cron/v3"
)

// schedule is an NCRONTAB expression with seconds, in UTC.
type schedule struct{ cron.Schedule }

var cronField = regexp.MustCompile(`^[0-9A-Za-z*,/-]+$`)

// parseSchedule reads six fields: second, minute, hour, day, month, day of the
// week. A day and a day of the week together are refused: NCrontab wants both
// to match, the parser used here would take either.
//
// https://learn.microsoft.com/azure/azure-functions/functions-bindings-timer#ncrontab-expressions
func parseSchedule(expression string) (schedule, error) {
	fields := strings.Fields(expression)
	if len(fields) != 6 {
		return schedule{}, fmt.Errorf("schedule %q: must be an NCRONTAB expression of six fields", expression)
	}
	for _, field := range fields {
		if !cronField.MatchString(field) {
			return schedule{}, fmt.Errorf("schedule %q: field %q is not NCRONTAB", expression, field)
		}
	}
	if fields[3] != "*" && fields[5] != "*" {
		return schedule{}, fmt.Errorf("schedule %q: a day and a day of the week together are not supported", expression)
	}
	parser := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	parsed, err := parser.Parse(strings.Join(fields, " "))
	if err != nil {
		return schedule{}, fmt.Errorf("schedule %q: %w", expression, err)
	}
	return schedule{parsed}, nil
}

// after is the next occurrence; the zero time if there is none.
func (s schedule) after(t time.Time) time.Time { return s.Next(t.UTC()) }

// monitored says whether past runs are remembered: only for intervals of at
// least a minute (TimerTriggerBinding in azure-webjobs-sdk-extensions).
func (s schedule) monitored(now time.Time) bool {
	first := s.after(now)
	return s.after(first).Sub(first) >= time.Minute
}

// scheduleStatus is what the schedule monitor keeps of a timer.
type scheduleStatus struct {
	Last        time.Time
	Next        time.Time
	LastUpdated time.Time
}

// wire is the status as the handler sees it; null without a monitor.
func (s *scheduleStatus) wire() any {
	if s == nil {
		return nil
	}
	return map[string]any{
		"Last":        timestamp(s.Last, "+00:00"),
		"Next":        timestamp(s.Next, "+00:00"),
		"LastUpdated": timestamp(s.LastUpdated, "+00:00"),
	}
}

// timer fires one timerTrigger. There is one per Host, so it fires on one
// instance only, and it waits for the end of an invocation before the next.
type timer struct {
	host     *Host
	function *function
	schedule schedule
	monitor  monitor // nil without a monitor
	now      func() time.Time
}

// monitor keeps the status of one timer; load returns nil when there is none.
type monitor interface {
	load(ctx context.Context) (*scheduleStatus, error)
	save(ctx context.Context, s scheduleStatus) error
}

func (h *Host) timerTrigger(f *function) ([]func(), error) {
	s, err := parseSchedule(f.trigger.Schedule)
	if err != nil {
		return nil, err
	}
	t := &timer{host: h, function: f, schedule: s, now: time.Now}
	if or(f.trigger.UseMonitor, true) && s.monitored(time.Now()) {
		t.monitor = &memoryMonitor{}
		if connection, err := h.settings.storage(""); err == nil {
			client, err := azblob.NewClientFromConnectionString(connection, nil)
			if err != nil {
				return nil, fmt.Errorf("read AzureWebJobsStorage: it is no storage connection string")
			}
			t.monitor = &blobMonitor{client: client, name: "timers/" + hostID + "/Host.Functions." + f.name + "/status"}
		}
	}
	return []func(){t.run}, nil
}

// run fires at once when an occurrence was missed, and then at each one.
func (t *timer) run() {
	ctx := t.host.intake
	status, pastDue := t.begin(ctx)
	if pastDue || t.function.trigger.RunOnStartup {
		status = t.fire(ctx, status, pastDue)
	}
	var next time.Time
	for {
		from := t.now()
		if from.Before(next) { // the wall clock was set back, or its timer was early
			from = next
		}
		next = t.schedule.after(from)
		if next.IsZero() {
			return
		}
		wait := time.NewTimer(next.Sub(t.now()))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		status = t.fire(ctx, status, false)
	}
}

// begin reads the status, or makes the first one, and says whether an
// occurrence was missed since (ScheduleMonitor.CheckPastDueAsync).
func (t *timer) begin(ctx context.Context) (status *scheduleStatus, pastDue bool) {
	if t.monitor == nil {
		return nil, false
	}
	status, err := t.monitor.load(ctx)
	if err != nil {
		t.host.log.Warn("load schedule status", "function", t.function.name, "error", err)
	}
	if status == nil {
		status = &scheduleStatus{Next: t.schedule.after(t.now()), LastUpdated: t.now()}
		t.save(ctx, *status)
		return status, false
	}
	return status, t.now().After(status.Next)
}

// fire invokes the function; a failure is logged and not tried again. It
// returns the status for the next time.
func (t *timer) fire(ctx context.Context, status *scheduleStatus, pastDue bool) *scheduleStatus {
	in := t.host.pick()
	if in == nil {
		return status
	}
	started := t.now()
	err := in.invoke(t.host.work, t.function, newObjectEnvelope(t.function, map[string]any{
		"Schedule":       map[string]any{"AdjustForDST": true},
		"ScheduleStatus": status.wire(),
		"IsPastDue":      pastDue,
	}))
	if err != nil {
		t.host.log.Error("invocation failed", "function", t.function.name, "instance", in.index, "error", err)
	}
	if status == nil {
		return nil
	}
	status = &scheduleStatus{Last: started, Next: t.schedule.after(t.now()), LastUpdated: t.now()}
	t.save(context.WithoutCancel(ctx), *status)
	return status
}

func (t *timer) save(ctx context.Context, status scheduleStatus) {
	ctx, cancel := context.WithTimeout(ctx, settleWithin)
	defer cancel()
	if err := t.monitor.save(ctx, status); err != nil {
		t.host.log.Warn("save schedule status", "function", t.function.name, "error", err)
	}
}

// memoryMonitor forgets at the end of the process. The timer's goroutine is its
// only user.
type memoryMonitor struct{ status *scheduleStatus }

func (m *memoryMonitor) load(context.Context) (*scheduleStatus, error) { return m.status, nil }

func (m *memoryMonitor) save(_ context.Context, s scheduleStatus) error {
	m.status = &s
	return nil
}

// blobMonitor keeps the status beside the receipts of blobs, as the real host's
// StorageScheduleMonitor does.
type blobMonitor struct {
	client *azblob.Client
	name   string
}

func (m *blobMonitor) load(ctx context.Context) (*scheduleStatus, error) {
	response, err := m.client.DownloadStream(ctx, hostContainer, m.name, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	var status scheduleStatus
	if err := json.Unmarshal(data, &status); err != nil {
		return nil, errors.New("the stored status is no JSON")
	}
	return &status, nil
}

func (m *blobMonitor) save(ctx context.Context, s scheduleStatus) error {
	return putJSON(ctx, m.client, m.name, s)
}
