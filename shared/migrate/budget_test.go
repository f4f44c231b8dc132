package migrate

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// takers is a budget with those who took something from it, by name.
type takers struct {
	*budget
	mu    sync.Mutex
	order []string
}

func (b *takers) take(ctx context.Context, turn <-chan struct{}, name string, n int64) <-chan func() {
	got := make(chan func(), 1)
	go func() {
		if free, err := b.budget.take(ctx, turn, func(bool) {}, n); err == nil {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.order = append(b.order, name)
			got <- free
		}
	}()
	synctest.Wait()
	return got
}

func (b *takers) want(t *testing.T, left int64, names ...string) {
	t.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	slices.Sort(names) // those served at once run in any order
	if b.left != left || !slices.Equal(slices.Sorted(slices.Values(b.order)), names) {
		t.Fatalf("served %v, %d left; want %v, %d left", b.order, b.left, names, left)
	}
}

func isNow() <-chan struct{} {
	turn := make(chan struct{})
	close(turn)
	return turn
}

// TestBudget serves in order, lets a giant have half, and takes back what nobody waits for.
func TestBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &takers{budget: newBudget(100)}
		first := <-b.take(t.Context(), isNow(), "first", 50)
		second := <-b.take(t.Context(), isNow(), "second", 20)
		giant := b.take(t.Context(), isNow(), "giant", 1000)
		ctx, cancel := context.WithCancel(t.Context())
		b.take(ctx, isNow(), "gone", 30)
		small := b.take(t.Context(), isNow(), "small", 30) // it would fit, but others came before
		cancel()
		b.want(t, 30, "first", "second")
		first()
		first() // once is enough
		b.want(t, 0, "first", "second", "giant", "small")
		(<-giant)()
		(<-small)()
		second()
		b.want(t, 100, "first", "second", "giant", "small")
	})
}

// TestBudgetAhead keeps half of the budget for those whose turn it is, and serves them first.
func TestBudgetAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &takers{budget: newBudget(100)}
		turn := make(chan struct{})
		early := b.take(t.Context(), turn, "early", 40)
		giant := b.take(t.Context(), turn, "giant", 50)
		filler := b.take(t.Context(), make(chan struct{}), "filler", 10) // fits, whatever waits before it
		b.want(t, 50, "early", "filler")
		now := b.take(t.Context(), isNow(), "now", 50)
		b.want(t, 0, "early", "filler", "now")
		close(turn) // the giant is served before what comes later
		late := b.take(t.Context(), make(chan struct{}), "late", 1)
		(<-filler)()
		b.want(t, 10, "early", "filler", "now")
		(<-now)()
		b.want(t, 9, "early", "filler", "now", "giant", "late")
		for _, free := range []func(){<-early, <-giant, <-late} {
			free()
		}
		b.want(t, 100, "early", "filler", "now", "giant", "late")
		if b.ahead != 0 {
			t.Errorf("%d are still held ahead", b.ahead)
		}
	})
}

// TestBudgetAheadGivenUp takes a claim back that is ahead, before and after its turn.
func TestBudgetAheadGivenUp(t *testing.T) {
	for _, came := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			b := &takers{budget: newBudget(100)}
			all := <-b.take(t.Context(), isNow(), "all", 50)
			rest := <-b.take(t.Context(), isNow(), "rest", 50)
			ctx, cancel := context.WithCancel(t.Context())
			turn := make(chan struct{})
			b.take(ctx, turn, "gone", 10)
			if came {
				close(turn)
				synctest.Wait()
			}
			cancel()
			synctest.Wait()
			all()
			rest()
			b.want(t, 100, strings.Fields("all rest")...)
			if len(b.now)+len(b.later) != 0 {
				t.Error("a claim is left")
			}
		})
	}
}
