package imap

import (
	"strconv"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
)

// predicate is a search key applied to a message.
type predicate func(*store.Item) bool

// search answers SEARCH and UID SEARCH.
func (s *session) search(c command) (string, error) {
	args := c.args
	if len(args) > 1 && strings.EqualFold(args[0].text, "CHARSET") {
		if set := strings.ToUpper(args[1].text); set != "UTF-8" && set != "US-ASCII" {
			return "", noReply("[BADCHARSET (US-ASCII UTF-8)] SEARCH failed.")
		}
		args = args[2:]
	}
	if len(args) == 0 {
		return "", badArgument
	}
	q := query{session: s, args: args}
	match, err := q.all()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	for i, uid := range s.selected.uids {
		it, err := s.mailbox.ItemByUID(s.selected.folder.ID, uid)
		if err != nil || !match(it) {
			continue
		}
		n := int64(i + 1)
		if c.name == "UID SEARCH" {
			n = int64(uid)
		}
		out.WriteString(" " + number(n))
	}
	s.untagged("SEARCH%s", out.String())
	return c.name + " completed.", nil
}

// query reads search keys (RFC 3501, section 6.4.4).
type query struct {
	session *session
	args    []value
}

// all reads the remaining keys; a message has to match every one.
func (q *query) all() (predicate, error) {
	var keys []predicate
	for len(q.args) > 0 {
		k, err := q.key()
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return func(it *store.Item) bool {
		for _, k := range keys {
			if !k(it) {
				return false
			}
		}
		return true
	}, nil
}

func (q *query) next() (value, error) {
	if len(q.args) == 0 {
		return value{}, badArgument
	}
	v := q.args[0]
	q.args = q.args[1:]
	return v, nil
}

var flagKeys = map[string]store.Flags{
	"SEEN": store.Seen, "ANSWERED": store.Answered, "FLAGGED": store.Flagged, "DELETED": store.Deleted, "DRAFT": store.Draft,
}

func (q *query) key() (predicate, error) {
	v, err := q.next()
	if err != nil {
		return nil, err
	}
	if v.isList {
		sub := query{session: q.session, args: v.list}
		return sub.all()
	}
	name := strings.ToUpper(v.text)
	if f, ok := flagKeys[name]; ok {
		return func(it *store.Item) bool { return it.Flags&f != 0 }, nil
	}
	if f, ok := flagKeys[strings.TrimPrefix(name, "UN")]; ok {
		return func(it *store.Item) bool { return it.Flags&f == 0 }, nil
	}
	switch name {
	case "ALL", "OLD":
		return func(*store.Item) bool { return true }, nil
	case "RECENT", "NEW":
		return func(*store.Item) bool { return false }, nil
	case "NOT":
		k, err := q.key()
		return func(it *store.Item) bool { return !k(it) }, err
	case "OR":
		a, err := q.key()
		if err != nil {
			return nil, err
		}
		b, err := q.key()
		return func(it *store.Item) bool { return a(it) || b(it) }, err
	}
	return q.keyWithValue(name)
}

func (q *query) keyWithValue(name string) (predicate, error) {
	if name != "" && (name[0] == '*' || name[0] >= '0' && name[0] <= '9') {
		return q.set(name, false)
	}
	v, err := q.next()
	if err != nil || v.isList {
		return nil, badArgument
	}
	switch name {
	case "UID":
		return q.set(v.text, true)
	case "SINCE", "BEFORE", "ON", "SENTSINCE", "SENTBEFORE", "SENTON":
		return dateKey(name, v.text)
	case "LARGER", "SMALLER":
		n, err := strconv.ParseUint(v.text, 10, 32)
		if err != nil {
			return nil, badArgument
		}
		return func(it *store.Item) bool {
			if name == "LARGER" {
				return estimatedSize(it) > int64(n)
			}
			return estimatedSize(it) < int64(n)
		}, nil
	case "SUBJECT", "FROM", "TO", "CC", "BCC":
		return q.header(name, v.text), nil
	case "HEADER":
		text, err := q.next()
		if err != nil || text.isList {
			return nil, badArgument
		}
		return q.header(v.text, text.text), nil
	}
	return nil, badArgument
}

func (q *query) set(text string, byUID bool) (predicate, error) {
	picked, err := q.session.selected.resolve(text, byUID)
	if err != nil {
		return nil, err
	}
	return func(it *store.Item) bool { return picked.has(it.UID) }, nil
}

// dateKey compares days, disregarding time and zone.
func dateKey(name, text string) (predicate, error) {
	day, err := time.Parse("_2-Jan-2006", text)
	if err != nil {
		return nil, badArgument
	}
	of := func(it *store.Item) time.Time { return it.Received }
	if rest, ok := strings.CutPrefix(name, "SENT"); ok {
		name, of = rest, func(it *store.Item) time.Time { return it.Sent }
	}
	return func(it *store.Item) bool {
		got := of(it).UTC().Truncate(24 * time.Hour)
		switch name {
		case "SINCE":
			return !got.Before(day)
		case "BEFORE":
			return got.Before(day)
		}
		return got.Equal(day)
	}, nil
}

// header finds text in a field. The Message-ID is in memory; other fields are
// read from disk.
func (q *query) header(name, text string) predicate {
	text = strings.ToLower(text)
	db := q.session.mailbox.Store()
	return func(it *store.Item) bool {
		if strings.EqualFold(name, "Message-Id") {
			return it.MessageID != "" && strings.Contains(strings.ToLower(it.MessageID), text)
		}
		raw, err := db.Header(it.Body)
		if err != nil {
			return false
		}
		for _, f := range store.ParseHeader(raw) {
			if strings.EqualFold(f.Name, name) && (strings.Contains(strings.ToLower(f.Value), text) ||
				strings.Contains(strings.ToLower(store.Header{f}.Text(name)), text)) {
				return true
			}
		}
		return false
	}
}
