package servicebus

import (
	"context"
	"fmt"
	"sync"
	"testing"

	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// tally counts how often each message was completed.
type tally struct {
	mu        sync.Mutex
	completed map[string]int
}

// add returns how many different messages have been completed.
func (c *tally) add(id string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.completed[id]++
	return len(c.completed)
}

// work receives until ctx ends: it abandons a quarter of what it gets and
// completes the rest.
func (b *bench) work(ctx context.Context, r *sb.Receiver, completed func(id string)) {
	for n := 0; ; {
		messages, err := r.ReceiveMessages(ctx, 20, nil)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			b.t.Error(err)
			return
		}
		for _, m := range messages {
			if n++; n%4 == 0 {
				err = r.AbandonMessage(b.ctx, m, nil)
			} else if err = r.CompleteMessage(b.ctx, m, nil); err == nil {
				completed(m.MessageID)
			}
			if err != nil {
				b.t.Error(err)
			}
		}
	}
}

// Three clients take 500 messages, abandon some, and settle each exactly once.
func TestStress(t *testing.T) {
	const total, clients = 500, 3
	b := newBench(t, Queue{MaxDeliveryCount: 1000})
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	count := &tally{completed: map[string]int{}}
	var wg sync.WaitGroup
	for range clients {
		r, err := b.connect(b.ConnectionString()).NewReceiverForQueue("q", nil)
		b.must(err)
		wg.Go(func() {
			b.work(ctx, r, func(id string) {
				if count.add(id) == total {
					cancel()
				}
			})
		})
	}
	for i := range total {
		b.send(fmt.Sprint(i))
	}
	wg.Wait()
	for id, n := range count.completed {
		if n != 1 {
			t.Errorf("message %s was completed %d times", id, n)
		}
	}
	if c := b.Counts("q"); len(count.completed) != total || c.Active+c.Locked+c.DeadLettered != 0 {
		t.Errorf("completed %d of %d, counts %+v", len(count.completed), total, c)
	}
}
