package migrate

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate()
		asked, leave1, err := g.enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		_, leave2, err := g.enter(t.Context(), false)
		if err != nil || closed(asked) {
			t.Fatal("two do not share the process", err)
		}
		var open func()
		inside := make(chan error, 1)
		go func() {
			var err error
			_, open, err = g.enter(t.Context(), true)
			inside <- err
		}()
		synctest.Wait()
		if !closed(asked) || len(inside) != 0 {
			t.Fatal("those inside are not asked to leave, or not waited for")
		}
		for _, alone := range []bool{false, true} {
			if _, _, err := g.enter(t.Context(), alone); !errors.Is(err, errBusy) {
				t.Fatalf("another gets in (alone %t): %v", alone, err)
			}
		}
		leave1()
		synctest.Wait()
		if len(inside) != 0 {
			t.Fatal("it gets in while one is left")
		}
		leave2()
		if err := <-inside; err != nil {
			t.Fatal(err)
		}
		if _, _, err := g.enter(t.Context(), false); !errors.Is(err, errBusy) {
			t.Fatalf("it is not alone: %v", err)
		}
		open()
		if asked, _, err = g.enter(t.Context(), false); err != nil || closed(asked) {
			t.Fatal("the gate stays shut, or asks at once", err)
		}
	})
}

// TestGateGivenUp has the one that wants to be alone leave the queue.
func TestGateGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewGate()
		_, leave, err := g.enter(t.Context(), false)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := errors.New("stop")
		cancel(stop)
		if _, _, err := g.enter(ctx, true); !errors.Is(err, stop) {
			t.Fatalf("entered, or %v", err)
		}
		_, leave2, err := g.enter(t.Context(), false)
		if err != nil {
			t.Fatal("the gate stays shut", err)
		}
		leave()
		leave2()
		if _, _, err := g.enter(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	})
}
