package intake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"mailferry/shared/migrate"
)

// Status is a batch as its mailboxes make it, with what became of its last CSV.
type Status struct {
	*migrate.BatchStatus
	Intake *Report `json:"intake,omitempty"`
}

// Empty is the state of a batch without mailboxes: nothing of its CSV was accepted, or all of it is in other batches.
const Empty = "Empty"

// maxShown is how many problems a status shows; the report has them all.
const maxShown = 100

// BatchStatus is the status of a batch that has mailboxes or whose CSV was read, else migrate.ErrNotFound.
func BatchStatus(ctx context.Context, s migrate.Store, endpoint, batch string) (Status, error) {
	b, err := migrate.Detail(ctx, s, endpoint, batch)
	if err != nil && !errors.Is(err, migrate.ErrNotFound) {
		return Status{}, err
	}
	none := err != nil
	r, err := loadReport(ctx, s, endpoint, batch)
	switch {
	case errors.Is(err, migrate.ErrNotFound) && !none:
		return Status{BatchStatus: b}, nil
	case err != nil:
		return Status{}, err
	case none:
		b = &migrate.BatchStatus{Endpoint: endpoint, Batch: batch, State: Empty, States: map[migrate.State]int{}}
	}
	if more := len(r.Problems) - maxShown; more > 0 {
		r.Problems, r.More = r.Problems[:maxShown], more
	}
	return Status{BatchStatus: b, Intake: r}, nil
}

func loadReport(ctx context.Context, s migrate.Store, endpoint, batch string) (*Report, error) {
	content, _, err := s.Get(ctx, ReportName(endpoint, batch))
	r := new(Report)
	if err == nil {
		err = json.Unmarshal(content, r)
	}
	if err != nil {
		return nil, fmt.Errorf("read intake report: %w", err)
	}
	return r, nil
}
