package migrate

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestSpread chooses from sets of every shape as many as asked for, the same each time, and evenly.
func TestSpread(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		var uids UIDSet
		for range 1 + r.IntN(20) {
			first := UID(1 + r.IntN(5000))
			uids.AddRange(first, first+UID(r.IntN(1+r.IntN(400))))
		}
		n := 2 + r.IntN(uids.Len()+5)
		got := spread(uids, n)
		if got.Len() != min(n, uids.Len()) || !got.Minus(uids).Empty() || got.Max() != uids.Max() || got.Ranges()[0].First != uids.Ranges()[0].First {
			t.Fatalf("%d of %s: %s", n, uids, got)
		}
		if half := got.Minus(UIDsOf(got.Max())).And(uids.Minus(uids.Newest(uids.Len() / 2))).Len(); n > 2 && n <= uids.Len() && (half < n/2-1 || half > n/2+1) {
			t.Fatalf("%d of %s: %s has %d in the older half", n, uids, got, half)
		}
		if again := spread(uids.Clone(), n); fmt.Sprint(again) != fmt.Sprint(got) {
			t.Fatalf("%s, and then %s", got, again)
		}
	}
	million := UIDSet{}
	million.AddRange(1, 1_000_000)
	if got := spread(million, 200); got.Len() != 200 {
		t.Errorf("%d of a million", got.Len())
	}
	if got := spread(UIDSet{}, 16); !got.Empty() {
		t.Errorf("%s of nothing", got)
	}
}
