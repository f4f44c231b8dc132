package migrate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

func leaseName(guid string) string { return "leases/" + guid }
func slotName(endpoint string, number int) string {
	return fmt.Sprintf("slots/%s/%04d", endpoint, number)
}

// keeper holds the leases a run needs and renews them. When one is lost, or cannot be renewed in
// time, it ends the context it gave with cause LostOwnership.
type keeper struct {
	mu     sync.Mutex // guards leases, also while they are renewed
	leases []Lease
	until  atomic.Int64 // ns since start: our own monotonic end of the shortest lease
	start  time.Time
	length time.Duration
	cancel context.CancelCauseFunc
	done   chan struct{}
	stop   chan struct{}
}

// keep starts renewing leases that were acquired at the given time.
func keep(ctx context.Context, acquired time.Time, length, every time.Duration, leases ...Lease) (context.Context, *keeper) {
	ctx, cancel := context.WithCancelCause(ctx)
	k := &keeper{leases: leases, start: acquired, length: length, cancel: cancel, done: make(chan struct{}), stop: make(chan struct{})}
	k.until.Store(int64(length))
	go k.loop(ctx, every)
	return ctx, k
}

// margin is kept between the last command that may start and the lease's end.
func (k *keeper) margin() time.Duration { return k.length / 5 }

// holds reports whether a target command may start now.
func (k *keeper) holds() bool {
	return time.Since(k.start)+k.margin() < time.Duration(k.until.Load())
}

func (k *keeper) loop(ctx context.Context, every time.Duration) {
	defer close(k.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-k.stop:
			return
		case <-tick.C:
			k.renew(ctx)
		}
		if !k.holds() {
			k.cancel(&Error{Op: "renew lease", Kind: LostOwnership})
			return
		}
	}
}

// renew extends every lease. A try that fails for another reason than loss is repeated by the next
// tick, while there is time.
func (k *keeper) renew(ctx context.Context) {
	asked := time.Since(k.start)
	ctx, cancel := context.WithTimeout(ctx, time.Duration(k.until.Load())-asked)
	defer cancel()
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, l := range k.leases {
		err := l.Renew(ctx)
		if errors.Is(err, ErrLeaseLost) {
			k.until.Store(0)
		}
		if err != nil {
			return
		}
	}
	k.until.Store(int64(asked + k.length))
}

// release ends the renewing and gives the leases back.
func (k *keeper) release(ctx context.Context) {
	close(k.stop)
	<-k.done
	k.cancel(context.Canceled)
	for _, l := range k.leases {
		_ = l.Release(ctx) // ends by itself otherwise
	}
}

// acquireSlot takes any free one of the endpoint's first slots and returns its number, or gives
// ErrLeaseHeld. Starting points are spread so that runs do not queue at the first.
func acquireSlot(ctx context.Context, s Store, endpoint string, slots int, length time.Duration, start int) (Lease, int, error) {
	number := start % slots
	l, err := s.Acquire(ctx, slotName(endpoint, number), length)
	if !errors.Is(err, ErrLeaseHeld) {
		return l, number, err
	}
	free, err := freeSlots(ctx, s, endpoint, slots) // to try a thousand one by one takes longer than a lease lasts
	if err != nil {
		return nil, 0, err
	}
	for i := range free {
		number := free[(start+i)%len(free)]
		l, err := s.Acquire(ctx, slotName(endpoint, number), length)
		if !errors.Is(err, ErrLeaseHeld) {
			return l, number, err
		}
	}
	return nil, 0, ErrLeaseHeld
}

// freeSlots lists the endpoint's first slots that nobody holds.
func freeSlots(ctx context.Context, s Store, endpoint string, slots int) (free []int, err error) {
	held := make(map[string]bool)
	err = s.List(ctx, "slots/"+endpoint+"/", func(e Entry) error {
		held[e.Name] = e.Leased
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list slots: %w", err)
	}
	for number := range slots {
		if !held[slotName(endpoint, number)] {
			free = append(free, number)
		}
	}
	return free, nil
}
