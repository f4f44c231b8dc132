package imap

import (
	"cmp"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// selection is UIDs that a client picked: parts of a view's list, ascending and
// without overlap.
type selection [][]uint32

func (s selection) all() iter.Seq[uint32] {
	return func(yield func(uint32) bool) {
		for _, part := range s {
			for _, uid := range part {
				if !yield(uid) {
					return
				}
			}
		}
	}
}

func (s selection) has(uid uint32) bool {
	i, _ := slices.BinarySearchFunc(s, uid, func(part []uint32, uid uint32) int { return cmp.Compare(part[len(part)-1], uid) })
	if i == len(s) {
		return false
	}
	_, ok := slices.BinarySearch(s[i], uid)
	return ok
}

// span is a part of a sequence set, both ends included.
type span struct{ from, to uint32 }

// parseSet reads a sequence set (RFC 3501, section 9); highest stands for "*".
func parseSet(text string, highest uint32) ([]span, error) {
	var out []span
	for part := range strings.SplitSeq(text, ",") {
		first, second, isRange := strings.Cut(part, ":")
		from, err := parseNumber(first, highest)
		if err != nil {
			return nil, err
		}
		to := from
		if isRange {
			if to, err = parseNumber(second, highest); err != nil {
				return nil, err
			}
		}
		out = append(out, span{min(from, to), max(from, to)})
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return out, nil
}

func parseNumber(s string, highest uint32) (uint32, error) {
	if s == "*" {
		return highest, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, badArgument
	}
	return uint32(n), nil
}

// pick returns the UIDs that the first argument of c selects.
func (v *view) pick(c command) (selection, error) {
	text, err := c.text(0)
	if err != nil {
		return nil, err
	}
	return v.resolve(text, strings.HasPrefix(c.name, "UID "))
}

func (v *view) resolve(set string, byUID bool) (selection, error) {
	highest := uint32(len(v.uids))
	if byUID && len(v.uids) > 0 {
		highest = v.uids[len(v.uids)-1]
	}
	spans, err := parseSet(set, highest)
	if err != nil {
		return nil, err
	}
	var out selection
	next := 0 // overlapping spans give a message once
	for _, sp := range spans {
		from, to := int(sp.from)-1, int(sp.to)
		if byUID {
			from, _ = slices.BinarySearch(v.uids, sp.from)
			to, _ = slices.BinarySearchFunc(v.uids, uint64(sp.to)+1, func(u uint32, t uint64) int { return cmp.Compare(uint64(u), t) })
		} else if sp.from == 0 || int(sp.to) > len(v.uids) {
			return nil, badArgument
		}
		from = max(from, next)
		if from < to {
			out = append(out, v.uids[from:to])
			next = to
		}
	}
	return out, nil
}

// sequence returns the sequence number of a UID.
func (v *view) sequence(uid uint32) int {
	i, _ := slices.BinarySearch(v.uids, uid)
	return i + 1
}
