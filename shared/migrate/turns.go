package migrate

import (
	"cmp"
	"slices"
)

// order sorts: completing, overdue incremental, pre-flight, then the rest, each by the time it became due.
// Incremental ones get every second place at most: with many mailboxes some are always overdue, and the rest
// would never get a turn. The first place is the rest's while more incremental ones run: where runs take long,
// each plan is read once at most.
func order(waiting, running []Summary, endpoint Endpoint, orders map[string]batchOrders) {
	class := func(s Summary) int {
		switch {
		case orders[s.Batch].complete && (s.State == Synced || s.State == Completing):
			return 0
		case s.State == Synced || s.State == IncrementalSyncing || s.State == Draining:
			return 1
		case s.State == Queued && holdBy(endpoint, orders[s.Batch]).on:
			return 2
		default:
			return 3
		}
	}
	slices.SortStableFunc(waiting, func(a, b Summary) int {
		return cmp.Or(cmp.Compare(class(a), class(b)), a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID))
	})
	behind := func(last int) int {
		n, _ := slices.BinarySearchFunc(waiting, last, func(s Summary, last int) int { return cmp.Or(cmp.Compare(class(s), last), -1) })
		return n
	}
	incremental := 0 // more of them than of the rest
	for _, s := range running {
		switch n := class(s); {
		case orders[s.Batch].complete:
		case n == 1:
			incremental++
		default:
			incremental--
		}
	}
	turn := 0
	if incremental > 0 {
		turn = 1
	}
	alternate(waiting[behind(0):], behind(1)-behind(0), turn)
}

// alternate takes one of the first n and one of the others in turn; it begins with the others in turn 1.
func alternate(list []Summary, n, turn int) {
	first, others := slices.Clone(list[:n]), slices.Clone(list[n:])
	for i := range list {
		from := &others
		if len(others) == 0 || (i+turn)%2 == 0 && len(first) > 0 {
			from = &first
		}
		list[i], *from = (*from)[0], (*from)[1:]
	}
}
