package migrate

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MessageFilter leaves messages out. Each has a recorded outcome with the reason. When the filter
// changes, what it left out is looked at again.
type MessageFilter struct {
	Since   Day  `json:"since,omitzero"`    // received on this day (UTC) or later
	Before  Day  `json:"before,omitzero"`   // received before this day (UTC)
	MaxSize Size `json:"maxSize,omitempty"` // of at most so many octets, as the server sends them
}

// validate checks what ParseEndpoint cannot see by the types.
func (f MessageFilter) validate() error {
	if !f.Since.IsZero() && !f.Before.IsZero() && !f.Since.Time().Before(f.Before.Time()) {
		return fmt.Errorf("since %s is not before %s", f.Since, f.Before)
	}
	return nil
}

// byDate says why a message with this received date stays behind; empty is that it comes. One without
// a date comes.
func (f MessageFilter) byDate(received time.Time) string {
	switch {
	case received.IsZero():
		return ""
	case !f.Since.IsZero() && received.Before(f.Since.Time()):
		return "received before " + f.Since.String() + " (since)"
	case !f.Before.IsZero() && !received.Before(f.Before.Time()):
		return "received on " + f.Before.String() + " or later (before)"
	}
	return ""
}

// bySize says why a message of so many octets stays behind.
func (f MessageFilter) bySize(octets int64) string {
	if f.MaxSize > 0 && octets > int64(f.MaxSize) {
		text, _ := f.MaxSize.MarshalText()
		return "larger than " + string(text) + " (maxSize)"
	}
	return ""
}

// fingerprint tells filters apart; that of none is empty.
func (f MessageFilter) fingerprint() string {
	if f == (MessageFilter{}) {
		return ""
	}
	return fmt.Sprintf("%s %s %d", f.Since, f.Before, f.MaxSize)
}

// refilter takes up again what another filter left out.
func (m *mailboxRun) refilter() {
	if m.endpoint.Deleted != SkipDeleted {
		for _, f := range m.cp.Folders {
			f.unmark(f.Marked)
		}
	}
	filter := m.endpoint.MessageFilter.fingerprint()
	if filter == m.cp.Filter {
		return
	}
	m.cp.Filter = filter
	for _, f := range m.cp.Folders {
		f.Done = f.Done.Minus(f.LeftOut)
		f.Counts.Skipped -= f.LeftOut.Len()
		f.LeftOut, f.Known = UIDSet{}, FolderState{}
	}
}

// filtersDates reports whether messages stay behind for their received date.
func (f MessageFilter) filtersDates() bool { return !f.Since.IsZero() || !f.Before.IsZero() }

// filters reports whether messages may stay behind.
func (e Endpoint) filters() bool {
	return e.Deleted == SkipDeleted || e.MessageFilter != MessageFilter{}
}

// leaves reports whether a message stays behind. Its received date is the one that it would get.
func (e Endpoint) leaves(i MessageInfo, received time.Time) bool {
	return cmp.Or(e.byMark(i.Flags), e.bySize(i.Size), e.byDate(received)) != ""
}

// asksDates reports whether the filter needs the date that the server keeps.
func (e Endpoint) asksDates() bool {
	return e.filtersDates() && e.Received.internal()
}

// asksInfo reports whether messages stay behind for what the server tells of them.
func (e Endpoint) asksInfo() bool { return e.asksDates() || e.Deleted == SkipDeleted }

// leftOut returns the records of those messages that stay behind for their mark or their date. A date
// that stands in the header is seen when the message is read.
func (e Endpoint) leftOut(infos map[UID]MessageInfo) (left UIDSet, records []Record) {
	if !e.asksInfo() {
		return left, nil
	}
	for _, uid := range slices.Sorted(maps.Keys(infos)) {
		why := e.byMark(infos[uid].Flags)
		if why == "" && e.asksDates() {
			why = e.byDate(infos[uid].Received)
		}
		if why != "" {
			left.Add(uid)
			records = append(records, Record{UID: uid, Outcome: LeftOut, Reason: why})
		}
	}
	return left, records
}

// Day is the beginning of a day in UTC, written "2006-01-02" in JSON.
type Day time.Time

// Time returns the moment.
func (d Day) Time() time.Time { return time.Time(d) }

// IsZero reports whether no day is set.
func (d Day) IsZero() bool { return d.Time().IsZero() }

func (d Day) String() string { return d.Time().Format(time.DateOnly) }

// MarshalText implements encoding.TextMarshaler.
func (d Day) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Day) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.DateOnly, string(text))
	if err != nil {
		return fmt.Errorf("%q is no day such as 2019-12-31", text)
	}
	*d = Day(t)
	return nil
}

// Size is a number of octets, written "35MB" in JSON: a number with B, KB, MB or GB, in powers of 1024.
type Size int64

var sizeUnits = []struct {
	name   string
	octets Size
}{{"GB", 1 << 30}, {"MB", 1 << 20}, {"KB", 1 << 10}, {"B", 1}}

// MarshalText implements encoding.TextMarshaler.
func (s Size) MarshalText() ([]byte, error) {
	for _, u := range sizeUnits {
		if s%u.octets == 0 {
			return []byte(strconv.FormatInt(int64(s/u.octets), 10) + u.name), nil
		}
	}
	return nil, errors.New("no size")
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Size) UnmarshalText(text []byte) error {
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(strings.ToUpper(string(text)), u.name)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err == nil && n > 0 && n <= int64(1<<50/u.octets) {
			*s = Size(n) * u.octets
			return nil
		}
		break
	}
	return fmt.Errorf("%q is no size such as 35MB", text)
}
