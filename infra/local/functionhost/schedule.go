package functionhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
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

// monitor keeps the status of one timer; load returns nil when there is none.
type monitor interface {
	load(ctx context.Context) (*scheduleStatus, error)
	save(ctx context.Context, s scheduleStatus) error
}

// memoryMonitor forgets at the end of the process.
type memoryMonitor struct {
	mu     sync.Mutex
	status *scheduleStatus
}

func (m *memoryMonitor) load(context.Context) (*scheduleStatus, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.status, nil
}

func (m *memoryMonitor) save(_ context.Context, s scheduleStatus) error {
	m.mu.Lock()
	defer m.mu.Unlock()
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
