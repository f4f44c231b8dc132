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

// The orders.
const (
	toComplete = "complete"
	toStart    = "start"     // let mailboxes move that pre-flight holds
	toLook     = "preflight" // look at them again
)

func orderName(endpoint, batch, verb string) string {
	return "orders/" + endpoint + "/" + batch + "/" + verb + ".json"
}

// OrderComplete orders a batch to be completed: one last sync of each mailbox, then verification.
// Ordering it again changes nothing.
func OrderComplete(ctx context.Context, s Store, endpoint, batch string) error {
	return putOrder(ctx, s, orderName(endpoint, batch, toComplete), Condition{Absent: true})
}

// OrderStart ends the pre-flight of a batch for good: its mailboxes are moved, whether they were looked
// at or not. Ordering it again changes nothing.
func OrderStart(ctx context.Context, s Store, endpoint, batch string) error {
	return putOrder(ctx, s, orderName(endpoint, batch, toStart), Condition{Absent: true})
}

// OrderPreflight has every mailbox of a batch that pre-flight holds looked at again, but for those whose
// sign-in was refused: they wait for other credentials. Each order counts. Where pre-flight holds
// nothing, the error is a *Error of kind Configuration. Drop has endpoint.json.
func OrderPreflight(ctx context.Context, drop, s Store, endpoint, batch string) error {
	e, err := LoadEndpoint(ctx, drop, endpoint)
	if err != nil {
		return err
	}
	refuse := func(why, advice string) error {
		return &Error{Op: "order pre-flight", Kind: Configuration, Advice: advice, Err: errors.New(why)}
	}
	if !e.Preflight {
		return refuse("the endpoint asks for none", `Set "preflight": true in endpoint.json first.`)
	}
	start, err := readOrder(ctx, s, endpoint, batch, toStart)
	if err != nil {
		return err
	}
	if start != "" {
		return refuse("the batch has been started", "Nothing to do: its mailboxes are on their way.")
	}
	return putOrder(ctx, s, orderName(endpoint, batch, toLook), Condition{})
}

// putOrder writes an order with its time in the metadata, too, so that a listing shows it.
func putOrder(ctx context.Context, s Store, name string, c Condition) error {
	o := orderDocument{Version: 1, At: time.Now().UTC()}
	content, err := json.Marshal(o)
	if err == nil {
		_, err = s.Put(ctx, name, content, map[string]string{"at": o.mark()}, c)
	}
	if err != nil && !(c.Absent && errors.Is(err, ErrConflict)) {
		return fmt.Errorf("write order: %w", err)
	}
	return nil
}

// mark tells an order from others with the same name.
func (o orderDocument) mark() string { return o.At.Format(time.RFC3339Nano) }

// readOrder returns an order's mark, or nothing where there is no such order.
func readOrder(ctx context.Context, s Store, endpoint, batch, verb string) (string, error) {
	content, _, err := s.Get(ctx, orderName(endpoint, batch, verb))
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	var o orderDocument
	if err == nil {
		err = json.Unmarshal(content, &o)
	}
	if err != nil {
		return "", fmt.Errorf("read orders: %w", err)
	}
	return o.mark(), nil
}

func completionOrdered(ctx context.Context, s Store, endpoint, batch string) (bool, error) {
	mark, err := readOrder(ctx, s, endpoint, batch, toComplete)
	return mark != "", err
}

// batchOrders are the orders of a batch.
type batchOrders struct {
	complete, start bool
	look            string // the mark of the last one; empty: none
}

// listOrders lists the orders of an endpoint by batch.
func listOrders(ctx context.Context, s Store, endpoint string) (map[string]batchOrders, error) {
	batches, prefix := make(map[string]batchOrders), "orders/"+endpoint+"/"
	err := s.List(ctx, prefix, func(e Entry) error {
		batch, verb, _ := strings.Cut(e.Name[len(prefix):], "/")
		o := batches[batch]
		switch verb {
		case toComplete + ".json":
			o.complete = true
		case toStart + ".json":
			o.start = true
		case toLook + ".json":
			o.look = e.Metadata["at"]
		}
		batches[batch] = o
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	return batches, nil
}
