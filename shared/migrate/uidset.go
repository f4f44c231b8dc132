package migrate

import (
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// UID identifies a message within a folder for as long as the folder's UIDVALIDITY stays the same
// (RFC 9051 section 2.3.1.1). Zero is no UID.
type UID uint32

// Range is an inclusive run of UIDs.
type Range struct{ First, Last UID }

// UIDSet is a set of UIDs kept as sorted, disjoint, non-adjacent ranges, so that a folder of a
// million messages costs a few bytes while its UIDs are contiguous. The zero value is empty.
// Methods that change the set take a pointer; none is safe for concurrent use. Assigning a set shares
// its ranges: Clone one that is to be changed while the other is in use.
type UIDSet struct{ ranges []Range }

// UIDsOf returns the set of the given UIDs, in any order.
func UIDsOf(uids ...UID) UIDSet {
	sorted := slices.Clone(uids)
	slices.Sort(sorted)
	var s UIDSet
	for _, u := range sorted {
		s.Add(u)
	}
	return s
}

// EveryUID is all that UIDs can be.
func EveryUID() UIDSet { return UIDSet{[]Range{{1, ^UID(0)}}} }

// Clone returns a set that can be changed alone.
func (s UIDSet) Clone() UIDSet { return UIDSet{slices.Clone(s.ranges)} }

// Ranges returns the ranges in ascending order. The caller must not change them.
func (s UIDSet) Ranges() []Range { return s.ranges }

// Empty reports whether the set holds no UID.
func (s UIDSet) Empty() bool { return len(s.ranges) == 0 }

// Len returns the number of UIDs.
func (s UIDSet) Len() int {
	n := 0
	for _, r := range s.ranges {
		n += int(r.Last-r.First) + 1
	}
	return n
}

// Max returns the largest UID, or 0.
func (s UIDSet) Max() UID {
	if s.Empty() {
		return 0
	}
	return s.ranges[len(s.ranges)-1].Last
}

// Contains reports whether u is in the set.
func (s UIDSet) Contains(u UID) bool {
	i := s.search(u)
	return i < len(s.ranges) && s.ranges[i].First <= u
}

// search returns the index of the first range that ends at or after u.
func (s UIDSet) search(u UID) int {
	return sort.Search(len(s.ranges), func(i int) bool { return s.ranges[i].Last >= u })
}

// Add puts u into the set.
func (s *UIDSet) Add(u UID) { s.AddRange(u, u) }

// AddRange puts first..last into the set. A zero first or an inverted range adds nothing.
func (s *UIDSet) AddRange(first, last UID) {
	if first == 0 || last < first {
		return
	}
	from := s.search(first)
	if from > 0 && s.ranges[from-1].Last+1 == first {
		from--
	}
	to := from
	for to < len(s.ranges) && (s.ranges[to].First <= last || s.ranges[to].First == last+1) {
		first, last = min(first, s.ranges[to].First), max(last, s.ranges[to].Last)
		to++
	}
	s.ranges = slices.Replace(s.ranges, from, to, Range{first, last})
}

// Union puts every UID of other into the set, in time linear in the ranges of both.
func (s *UIDSet) Union(other UIDSet) {
	var out UIDSet
	a, b := s.ranges, other.ranges
	for len(a) > 0 || len(b) > 0 {
		if len(b) == 0 || len(a) > 0 && a[0].First < b[0].First {
			out.AddRange(a[0].First, a[0].Last)
			a = a[1:]
		} else {
			out.AddRange(b[0].First, b[0].Last)
			b = b[1:]
		}
	}
	*s = out
}

// Minus returns the UIDs of s that are not in other.
func (s UIDSet) Minus(other UIDSet) UIDSet {
	var out UIDSet
	j := 0
	for _, r := range s.ranges {
		at := r.First
		for j < len(other.ranges) && other.ranges[j].Last < at {
			j++
		}
		done := false
		for k := j; k < len(other.ranges) && other.ranges[k].First <= r.Last; k++ {
			if o := other.ranges[k]; at < o.First {
				out.ranges = append(out.ranges, Range{at, o.First - 1})
			}
			if other.ranges[k].Last >= r.Last {
				done = true
				break
			}
			at = other.ranges[k].Last + 1
		}
		if !done {
			out.ranges = append(out.ranges, Range{at, r.Last})
		}
	}
	return out
}

// And returns the UIDs that are in both sets.
func (s UIDSet) And(other UIDSet) UIDSet { return s.Minus(s.Minus(other)) }

// below returns the UIDs of s that are smaller than u.
func (s UIDSet) below(u UID) UIDSet {
	var rest UIDSet
	rest.AddRange(max(u, 1), ^UID(0))
	return s.Minus(rest)
}

// Newest returns the n largest UIDs, or all if there are fewer.
func (s UIDSet) Newest(n int) UIDSet {
	var out UIDSet
	for i := len(s.ranges) - 1; i >= 0 && n > 0; i-- {
		r := s.ranges[i]
		if size := int(r.Last-r.First) + 1; size > n {
			r.First = r.Last - UID(n) + 1
		}
		n -= int(r.Last-r.First) + 1
		out.ranges = append(out.ranges, r)
	}
	slices.Reverse(out.ranges)
	return out
}

// Ascending yields the UIDs from the lowest to the highest.
func (s UIDSet) Ascending(yield func(UID) bool) {
	for _, r := range s.ranges {
		for u := r.First; ; u++ {
			if !yield(u) {
				return
			}
			if u == r.Last { // before it overflows
				break
			}
		}
	}
}

// Descending calls yield with each UID, the largest first, until it returns false.
func (s UIDSet) Descending(yield func(UID) bool) {
	for i := len(s.ranges) - 1; i >= 0; i-- {
		for u := s.ranges[i].Last; u >= s.ranges[i].First && u > 0; u-- {
			if !yield(u) {
				return
			}
		}
	}
}

// String writes the set as an IMAP sequence-set (RFC 9051 section 9): "1:3,7". Empty is "".
func (s UIDSet) String() string {
	var b strings.Builder
	for i, r := range s.ranges {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatUint(uint64(r.First), 10))
		if r.Last != r.First {
			b.WriteByte(':')
			b.WriteString(strconv.FormatUint(uint64(r.Last), 10))
		}
	}
	return b.String()
}

// ParseUIDSet reads what String writes. It refuses "*", zero and inverted ranges.
func ParseUIDSet(text string) (UIDSet, error) {
	var s UIDSet
	if text == "" {
		return s, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, ":")
		if !isRange {
			last = first
		}
		a, errA := strconv.ParseUint(first, 10, 32)
		b, errB := strconv.ParseUint(last, 10, 32)
		if errA != nil || errB != nil || a == 0 || b < a {
			return UIDSet{}, fmt.Errorf("parse UID set: bad part %q", part)
		}
		s.AddRange(UID(a), UID(b))
	}
	return s, nil
}

// MarshalText makes the set a JSON string.
func (s UIDSet) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (s *UIDSet) UnmarshalText(text []byte) error {
	parsed, err := ParseUIDSet(string(text))
	*s = parsed
	return err
}
