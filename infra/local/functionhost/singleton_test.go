package functionhost

import (
	"context"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
)

const everyMinute = `{"bindings":[{"type":"timerTrigger","direction":"in","name":"timer","schedule":"0 * * * * *","useMonitor":false}]}`

// atMinute is a clock that stands at a full minute.
func atMinute() *handClock {
	c := newHandClock()
	c.now = c.now.Truncate(time.Minute)
	return c
}

// Section 2.4: one instance has the timer's lease. A crash leaves it held until
// it runs out.
func TestTimerOfACrashedInstanceMovesWhenItsLeaseHasRunOut(t *testing.T) {
	a := newApp(t)
	a.write("tick/function.json", everyMinute)
	clock := atMinute()
	h := a.start(Options{Instances: 2, clock: clock})
	half := listenerLockPeriod / 2
	clock.await(t, half)            // one has the lease, and
	clock.awaitN(t, time.Minute, 2) // waits for the minute; the other tries again then
	clock.pass(half)                // 0:30
	clock.awaitN(t, half, 3)
	clock.pass(half) // 1:00
	i := holder(t, h, next(t, a.requests))
	clock.await(t, half)
	clock.awaitN(t, time.Minute, 2)
	clock.pass(half) // 1:30: renewed until 2:30
	clock.awaitN(t, half, 3)
	if err := h.Crash(i); err != nil {
		t.Fatal(err)
	}
	clock.pass(half) // 2:00: the other tries in vain
	clock.await(t, time.Minute)
	clock.pass(time.Minute) // 3:00: it has the lease
	clock.await(t, half)
	clock.await(t, time.Minute)
	none(t, a.requests)
	clock.pass(time.Minute) // 4:00
	if e := next(t, a.requests); holder(t, h, e) != 1-i {
		t.Errorf("fired by process %d", e.Pid)
	}
	clock.await(t, time.Minute)
	none(t, a.requests)
}

// two starts two hosts on one storage.
func two(t *testing.T, s *store) (apps [2]*app, hosts [2]*Host, clocks [2]*handClock) {
	for i := range apps {
		apps[i] = newApp(t)
		apps[i].settings["AzureWebJobsStorage"] = s.connection
		apps[i].write("tick/function.json", everyMinute)
		clocks[i] = atMinute()
		hosts[i] = apps[i].start(Options{clock: clocks[i]})
		clocks[i].await(t, time.Minute) // has the lease and waits for the occurrence, or hasn't and waits to try again
	}
	return
}

func oneOfTwoHostsFires(t *testing.T, s *store) {
	apps, hosts, clocks := two(t, s)
	for range 2 {
		for _, c := range clocks {
			c.pass(time.Minute)
		}
		next(t, apps[0].requests)
		clocks[0].await(t, time.Minute)
		clocks[1].await(t, time.Minute)
		none(t, apps[1].requests)
	}
	if err := hosts[0].Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	clocks[1].pass(time.Minute) // takes the lease, which was given back
	clocks[1].await(t, listenerLockPeriod/2)
	clocks[1].await(t, time.Minute)
	clocks[1].pass(time.Minute)
	next(t, apps[1].requests)
}

func aCrashedHostKeepsTheLease(t *testing.T, s *store) {
	apps, hosts, clocks := two(t, s)
	if err := hosts[0].Crash(0); err != nil {
		t.Fatal(err)
	}
	clocks[1].pass(time.Minute)
	clocks[1].await(t, time.Minute) // in vain
	none(t, apps[1].requests)
	s.breakLease() // as if it had run out
	clocks[1].pass(time.Minute)
	clocks[1].await(t, listenerLockPeriod/2)
	clocks[1].await(t, time.Minute)
	clocks[1].pass(time.Minute)
	next(t, apps[1].requests)
}

func aHostThatLostTheLeaseFiresNoMore(t *testing.T, s *store) {
	apps, _, clocks := two(t, s)
	s.breakLease()
	clocks[1].pass(time.Minute)
	clocks[1].await(t, listenerLockPeriod/2)
	clocks[1].await(t, time.Minute)
	clocks[0].pass(listenerLockPeriod / 2) // its renewal is refused
	clocks[0].await(t, listenerLockRecovery)
	clocks[0].pass(listenerLockPeriod / 2) // the occurrence is not its any more
	clocks[1].pass(time.Minute)
	next(t, apps[1].requests)
	none(t, apps[0].requests)
}

func (s *store) breakLease() {
	s.t.Helper()
	target := s.ServiceClient().NewContainerClient(hostContainer).NewBlobClient("locks/local/Host.Functions.tick.Listener")
	client, err := lease.NewBlobClient(target, nil)
	if err == nil {
		_, err = client.BreakLease(context.Background(), &lease.BlobBreakOptions{BreakPeriod: ptr(int32(0))})
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestMemoryLease(t *testing.T) {
	var kept memoryLease
	clock := newHandClock()
	a, b := &memoryLock{&kept, "a", clock}, &memoryLock{&kept, "b", clock}
	take := func(l *memoryLock) bool { ok, _ := l.take(t.Context()); return ok }
	if !take(a) || take(b) {
		t.Error("b took what a has")
	}
	clock.pass(listenerLockPeriod - 1)
	if take(b) || a.renew(t.Context()) != nil {
		t.Error("the lease has not run out")
	}
	clock.pass(listenerLockPeriod)
	if !take(b) || a.renew(t.Context()) == nil {
		t.Error("the lease has run out")
	}
	_ = a.release(t.Context())
	if take(a) {
		t.Error("a released what b has")
	}
	_ = b.release(t.Context())
	if !take(a) {
		t.Error("b gave it back")
	}
}
