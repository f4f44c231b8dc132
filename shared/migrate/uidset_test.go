package migrate_test

import (
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"mailferry/shared/migrate"
)

type model map[migrate.UID]bool

// random gives a set and a map that hold the same, near both ends of what a UID can be.
func random(r *rand.Rand) (migrate.UIDSet, model) {
	var s migrate.UIDSet
	m := make(model)
	base := migrate.UID(0)
	if r.IntN(2) == 0 {
		base = ^migrate.UID(0) - 40
	}
	for range r.IntN(12) {
		first := base + migrate.UID(r.IntN(40))
		last := first + migrate.UID(r.IntN(6))
		s.AddRange(first, last)
		if first == 0 || last < first {
			continue
		}
		for u := first; ; u++ {
			m[u] = true
			if u == last {
				break
			}
		}
	}
	return s, m
}

func (m model) set() migrate.UIDSet { return migrate.UIDsOf(slices.Collect(maps.Keys(m))...) }

func equal(t *testing.T, what string, s migrate.UIDSet, m model) {
	t.Helper()
	var got []migrate.UID
	for u := range s.Descending {
		got = append(got, u)
	}
	want := slices.Sorted(maps.Keys(m))
	slices.Reverse(want)
	if !slices.Equal(got, want) || s.Len() != len(m) || s.Empty() != (len(m) == 0) || (len(m) > 0 && s.Max() != want[0]) {
		t.Fatalf("%s: %s holds %d, want %v", what, s, s.Len(), want)
	}
	for i, r := range s.Ranges() {
		if r.First == 0 || r.Last < r.First || i > 0 && r.First <= s.Ranges()[i-1].Last+1 {
			t.Fatalf("%s: %v is not sorted, disjoint and apart", what, s.Ranges())
		}
	}
}

func TestUIDSetAgainstMap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		a, ma := random(r)
		b, mb := random(r)
		equal(t, "add", a, ma)
		equal(t, "of", ma.set(), ma)
		union, minus, and := maps.Clone(ma), maps.Clone(ma), maps.Clone(ma)
		maps.Copy(union, mb)
		maps.DeleteFunc(minus, func(u migrate.UID, _ bool) bool { return mb[u] })
		maps.DeleteFunc(and, func(u migrate.UID, _ bool) bool { return !mb[u] })
		equal(t, "minus", a.Minus(b), minus)
		equal(t, "and", a.And(b), and)
		n := r.IntN(20)
		newest := maps.Clone(ma)
		for i, u := range slices.Backward(slices.Sorted(maps.Keys(ma))) {
			if i < len(ma)-n {
				delete(newest, u)
			}
		}
		equal(t, "newest", a.Newest(n), newest)
		before := a.String()
		c := a.Clone()
		c.Union(b)
		equal(t, "union", c, union)
		if a.String() != before {
			t.Fatalf("a clone's change reached the original: %s, now %s", before, a)
		}
		parsed, err := migrate.ParseUIDSet(before)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "parse", parsed, ma)
		for u := range union {
			if a.Contains(u) != ma[u] {
				t.Fatalf("%s contains %d: %t", a, u, a.Contains(u))
			}
		}
	}
}

func TestUIDSetText(t *testing.T) {
	for _, bad := range []string{"0", "*", "1:*", "5:3", "1,,2", "1:2:3", "-1", "4294967296", "+1", " 1", ","} {
		if s, err := migrate.ParseUIDSet(bad); err == nil {
			t.Errorf("%q is read as %s", bad, s)
		}
	}
	var v struct{ Done migrate.UIDSet }
	if err := json.Unmarshal([]byte(`{"Done":"7,1:3,4"}`), &v); err != nil || v.Done.String() != "1:4,7" {
		t.Errorf("read %s, %v", v.Done, err)
	}
}

func FuzzParseUIDSet(f *testing.F) {
	for _, seed := range []string{"", "1:3,7", "4294967295", "9:1", "1:4294967295"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := migrate.ParseUIDSet(text)
		if err != nil {
			return
		}
		again, err := migrate.ParseUIDSet(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q is %s, then %s, %v", text, s, again, err)
		}
	})
}
