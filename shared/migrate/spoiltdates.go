package migrate

import (
	"slices"
	"time"
)

// ReceivedDay counts messages, mostly of a sample, that would get a received date of one day (UTC).
type ReceivedDay struct {
	Day      Day   `json:"day"`
	Messages int   `json:"messages"`
	Astray   int   `json:"astray"`           // of them, with a Date field that is far from it
	Mended   int   `json:"mended,omitempty"` // of those astray, with a topmost Received field that is near Date, or with none
	Months   []int `json:"months,omitempty"` // in which the Dates of those astray lie: 12 × year + month - 1, in order
}

// SpoiltDates are neighbouring days to which messages were stored that were written at many other
// times, as an earlier migration leaves them.
type SpoiltDates struct {
	First    Day           `json:"first"`
	Last     Day           `json:"last"`
	Messages int           `json:"messages"` // looked at, of these days
	Astray   int           `json:"astray"`   // of them, with a received date that is wrong
	Received ReceivedOrder `json:"received"` // the endpoint's setting that mends them
}

const (
	spoiltApart  = 7 * 24 * time.Hour // between the received date and Date: no mail is under way so long
	spoiltDaily  = 5                  // messages astray that make a day suspect
	spoiltLeast  = 20                 // messages astray that are no accident
	spoiltMonths = 3                  // in which they were written: a sender's wrong clock fills fewer
	oneDay       = 24 * time.Hour
)

// dateTally counts messages by the day of their received date.
type dateTally map[time.Time]*ReceivedDay

// add counts a message by the date that it would get and its header. One without either date tells nothing.
func (t dateTally) add(received time.Time, header []byte) {
	fields := headerFields(header)
	date := headerDate(fields, FromDateHeader)
	if received.IsZero() || date.IsZero() {
		return
	}
	day := received.UTC().Truncate(oneDay)
	d := t[day]
	if d == nil {
		d = &ReceivedDay{Day: Day(day)}
		t[day] = d
	}
	d.Messages++
	if received.Sub(date).Abs() <= spoiltApart {
		return
	}
	d.Astray++
	if topmost := headerDate(fields, FromReceivedHeader); topmost.IsZero() || topmost.Sub(date).Abs() <= spoiltApart {
		d.Mended++
	}
	d.addMonths(12*date.UTC().Year() + int(date.UTC().Month()) - 1)
}

func (d *ReceivedDay) addMonths(months ...int) {
	for _, m := range months {
		if i, known := slices.BinarySearch(d.Months, m); !known {
			d.Months = slices.Insert(d.Months, i, m)
		}
	}
}

// days returns the days with messages astray, in order.
func (t dateTally) days() (days []ReceivedDay) {
	for _, d := range t {
		if d.Astray > 0 {
			days = append(days, *d)
		}
	}
	slices.SortFunc(days, compareDays)
	return days
}

func compareDays(a, b ReceivedDay) int { return a.Day.Time().Compare(b.Day.Time()) }

// plus adds what another count says of the same days, or of the days behind.
func (d *ReceivedDay) plus(o ReceivedDay) {
	d.Messages, d.Astray, d.Mended = d.Messages+o.Messages, d.Astray+o.Astray, d.Mended+o.Mended
	d.addMonths(o.Months...)
}

// FindSpoiltDates finds days on which most messages were written long before, or after, and in many
// months: their received date is then when somebody copied them. Days may come several times, as from
// several folders, and in any order.
//
// It cannot be a sender's wrong clock, which errs by one amount: mail of a few days then has Dates of
// as few.
func FindSpoiltDates(days []ReceivedDay) (found []SpoiltDates) {
	var run *ReceivedDay // its Day is the first
	var last time.Time
	finish := func() {
		if run == nil || run.Astray < spoiltLeast || len(run.Months) < spoiltMonths {
			return
		}
		s := SpoiltDates{First: run.Day, Last: Day(last), Messages: run.Messages, Astray: run.Astray, Received: ReceivedOrder{FromDateHeader}}
		if 10*run.Mended >= 9*run.Astray {
			s.Received = ReceivedOrder{FromReceivedHeader, FromDateHeader} // the server's word before the sender's
		}
		found = append(found, s)
	}
	for _, d := range eachDayOnce(days) {
		if d.Astray < spoiltDaily || 2*d.Astray <= d.Messages {
			continue
		}
		if run == nil || d.Day.Time().Sub(last) > oneDay {
			finish()
			run = &ReceivedDay{Day: d.Day}
		}
		run.plus(d)
		last = d.Day.Time()
	}
	finish()
	return found
}

// eachDayOnce sums up what is said of the same day, in order.
func eachDayOnce(days []ReceivedDay) (once []ReceivedDay) {
	sorted := slices.Clone(days)
	slices.SortStableFunc(sorted, compareDays)
	for _, d := range sorted {
		if n := len(once); n == 0 || compareDays(once[n-1], d) != 0 {
			once = append(once, ReceivedDay{Day: d.Day})
		}
		once[len(once)-1].plus(d)
	}
	return once
}
