package migrate

import "testing"

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
