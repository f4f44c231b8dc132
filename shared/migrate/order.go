package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// An order is a small blob by which a wish reaches mailboxes that are being worked on. Runs and the
// planner read them; nobody but the lease holder acts on a checkpoint.

type orderDocument struct {
	Version int       `json:"v"`
	At      time.Time `json:"at"`
}

func orderName(endpoint, batch, verb string) string {
	return "orders/" + endpoint + "/" + batch + "/" + verb + ".json"
}

// OrderComplete orders a batch to be completed: one last sync of each mailbox, then verification.
// Ordering it again changes nothing.
func OrderComplete(ctx context.Context, s Store, endpoint, batch string) error {
	content, err := json.Marshal(orderDocument{Version: 1, At: time.Now().UTC()})
	if err == nil {
		_, err = s.Put(ctx, orderName(endpoint, batch, "complete"), content, nil, Condition{Absent: true})
	}
	if err != nil && !errors.Is(err, ErrConflict) {
		return fmt.Errorf("order completion: %w", err)
	}
	return nil
}

func completionOrdered(ctx context.Context, s Store, endpoint, batch string) (bool, error) {
	_, _, err := s.Get(ctx, orderName(endpoint, batch, "complete"))
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read orders: %w", err)
	}
	return true, nil
}

// completeOrders lists the batches of an endpoint that are ordered to complete.
func completeOrders(ctx context.Context, s Store, endpoint string) (map[string]bool, error) {
	batches, prefix := make(map[string]bool), "orders/"+endpoint+"/"
	err := s.List(ctx, prefix, func(e Entry) error {
		if batch, ok := strings.CutSuffix(e.Name[len(prefix):], "/complete.json"); ok {
			batches[batch] = true
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return batches, nil
}
