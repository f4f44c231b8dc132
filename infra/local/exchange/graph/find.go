package graph

import (
	"slices"
	"sort"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
)

// find returns the messages that the request is for, in its order.
func (r *request) find() ([]*store.Item, error) {
	if err := r.query.checkOrder(); err != nil {
		return nil, err
	}
	candidates, err := r.candidates()
	if err != nil {
		return nil, err
	}
	found := candidates
	if r.query.filter != nil {
		found = nil
		for _, it := range candidates {
			ok, err := matches(r.query.filter, r.messageObject(it))
			if err != nil {
				return nil, err
			}
			if ok {
				found = append(found, it)
			}
		}
	}
	return r.query.sort(found), nil
}

// candidates returns a superset of what matches, newest first: those with the
// Message-ID that the filter asks for, else the folder or all folders.
func (r *request) candidates() ([]*store.Item, error) {
	inFolder := uint64(0)
	if r.PathValue("folder") != "" {
		c, err := r.parent()
		if err != nil {
			return nil, err
		}
		inFolder = c.ID
	}
	if id, ok := wantedMessageID(r.query.filter); ok {
		found := r.mailbox.ItemsByMessageID(id)
		if inFolder != 0 {
			found = slices.DeleteFunc(found, func(it *store.Item) bool { return it.Folder != inFolder })
		}
		return newestFirst(found), nil
	}
	since, until := receivedBounds(r.query.filter)
	if inFolder != 0 {
		return between(r.mailbox.NewestFirst(inFolder), since, until), nil
	}
	var all []*store.Item
	for _, c := range r.mailbox.Folders() {
		all = append(all, between(r.mailbox.NewestFirst(c.ID), since, until)...)
	}
	return newestFirst(all), nil
}

// endOfTime is later than any message.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

// receivedBounds returns times between which, both included, all matches of e
// were received.
func receivedBounds(e expr) (since, until time.Time) {
	until = endOfTime
	b, ok := e.(binary)
	if !ok {
		return since, until
	}
	if b.op == "and" {
		since, until = receivedBounds(b.left)
		since2, until2 := receivedBounds(b.right)
		if since2.After(since) {
			since = since2
		}
		if until2.Before(until) {
			until = until2
		}
		return since, until
	}
	p, ok := b.left.(path)
	c, ok2 := b.right.(constant)
	if !ok || !ok2 || len(p) != 1 || p[0] != "receivedDateTime" {
		return since, until
	}
	t, ok := c.value.(time.Time)
	if ok && (b.op == "ge" || b.op == "gt" || b.op == "eq") {
		since = t
	}
	if ok && (b.op == "le" || b.op == "lt" || b.op == "eq") {
		until = t
	}
	return since, until
}

// between cuts the part received in a period out of items, which come newest
// first.
func between(items []*store.Item, since, until time.Time) []*store.Item {
	from := sort.Search(len(items), func(i int) bool { return !items[i].Received.After(until) })
	to := sort.Search(len(items), func(i int) bool { return items[i].Received.Before(since) })
	return items[from:max(from, to)]
}

func newestFirst(items []*store.Item) []*store.Item {
	slices.SortStableFunc(items, func(a, b *store.Item) int { return b.Received.Compare(a.Received) })
	return items
}

// wantedMessageID returns the Message-ID that all matches of e have.
func wantedMessageID(e expr) (string, bool) {
	b, ok := e.(binary)
	if !ok {
		return "", false
	}
	if b.op == "and" {
		if id, ok := wantedMessageID(b.left); ok {
			return id, true
		}
		return wantedMessageID(b.right)
	}
	p, ok := b.left.(path)
	c, ok2 := b.right.(constant)
	if !ok || !ok2 || b.op != "eq" || len(p) != 1 || p[0] != "internetMessageId" {
		return "", false
	}
	id, ok := c.value.(string)
	return id, ok
}

// checkOrder refuses to sort by what Exchange has no order for, and by a
// property that the filter does not name first
// (https://learn.microsoft.com/graph/api/user-list-messages).
func (q query) checkOrder() error {
	if q.orderBy == "" {
		return nil
	}
	if sortKeys[q.orderBy] == nil {
		return badRequest("Could not sort by '%s'.", q.orderBy)
	}
	if q.filter == nil {
		return nil
	}
	first := ""
	walk(q.filter, func(e expr) {
		if p, ok := e.(path); ok && first == "" {
			first = p[0]
		}
	})
	if !strings.EqualFold(first, q.orderBy) {
		return errTooComplex
	}
	return nil
}

var sortKeys = map[string]func(a, b *store.Item) int{
	"receiveddatetime":     func(a, b *store.Item) int { return a.Received.Compare(b.Received) },
	"sentdatetime":         func(a, b *store.Item) int { return a.Sent.Compare(b.Sent) },
	"createddatetime":      func(a, b *store.Item) int { return a.Created.Compare(b.Created) },
	"lastmodifieddatetime": func(a, b *store.Item) int { return a.Modified.Compare(b.Modified) },
	"subject": func(a, b *store.Item) int {
		return strings.Compare(strings.ToLower(a.Subject), strings.ToLower(b.Subject))
	},
}

// sort orders items, which come newest first.
func (q query) sort(items []*store.Item) []*store.Item {
	if q.orderBy == "" || q.orderBy == "receiveddatetime" && q.desc {
		return items
	}
	out := slices.Clone(items)
	key := sortKeys[q.orderBy]
	slices.SortStableFunc(out, func(a, b *store.Item) int {
		if q.desc {
			return key(b, a)
		}
		return key(a, b)
	})
	return out
}
