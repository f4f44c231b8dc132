package migrate

import (
	"testing"
	"time"
)

// TestFilteredAddsUp has a sample speak of a folder whose octets are known: a part is never more than the
// whole, and all messages have all of them.
func TestFilteredAddsUp(t *testing.T) {
	for _, c := range []struct{ filtered, whole int64 }{{9, 12_000}, {10, 12_000}, {10, 8_000}, {9, 5_000}} {
		some := &tally{endpoint: Endpoint{MessageFilter: MessageFilter{MaxSize: 1}}, headers: true, messages: 10, octets: 100}
		some.filtered = Portion{Messages: int(c.filtered), Octets: 10 * c.filtered}
		f := LookedFolder{Sized: true, Extent: Extent{Messages: 1000, Octets: c.whole}}
		f.take(some)
		want := Portion{Messages: int(100 * c.filtered), Octets: min(c.whole, 1000*c.filtered), Estimated: true}
		if c.filtered == 10 {
			want.Octets = c.whole
		}
		if f.Filtered != want || f.Octets != c.whole || f.Estimated {
			t.Errorf("%+v of %d octets: %+v", c, f.Octets, f.Filtered)
		}
	}
}

// TestSizesWithoutMeaning has a server tell sizes that nothing has: they count as not known.
func TestSizesWithoutMeaning(t *testing.T) {
	some := new(tally)
	for _, size := range []int64{100, 0, 1<<63 - 1, 1<<63 - 1, 100} {
		some.add(MessageInfo{Size: size}, time.Time{})
	}
	f := LookedFolder{Extent: Extent{Messages: 5}}
	f.take(some)
	if want := (Extent{Messages: 5, Octets: 500, Estimated: true, Unsized: 3}); f.Extent != want {
		t.Errorf("%+v, want %+v", f.Extent, want)
	}
}
