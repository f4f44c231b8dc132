package migrate

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// header has a Date field and, unless it is zero, a Received field.
func datedHeader(date, received time.Time) []byte {
	text := "Date: " + date.Format(time.RFC1123Z) + "\r\n"
	if !received.IsZero() {
		text = "Received: from a by b;\r\n\t" + received.Format(time.RFC1123Z) + "\r\n" + text
	}
	return []byte(text)
}

func TestFindSpoiltDates(t *testing.T) {
	at := func(day, second int) time.Time { return time.Date(2015, 1, day, 0, 0, second, 0, time.UTC) }
	tally := make(dateTally)
	add := func(n int, message func(int) (received, date, topmost time.Time)) {
		for i := range n {
			received, date, topmost := message(i)
			tally.add(received, datedHeader(date, topmost))
		}
	}
	var none time.Time
	// Everyday mail: each a minute after it was written.
	add(3000, func(i int) (time.Time, time.Time, time.Time) { return at(1, 60*i+60), at(1, 60*i), at(1, 60*i) })
	// An earlier migration: four months of mail stored around a midnight, some of it fresh.
	add(120, func(i int) (time.Time, time.Time, time.Time) {
		return at(500, 24*3600-60+i), at(300+i, 0), at(300+i, 9)
	})
	add(40, func(i int) (time.Time, time.Time, time.Time) { return at(500, 100+i), at(500, 99+i), none })
	// Another one, by a program that delivered each message anew.
	add(90, func(i int) (time.Time, time.Time, time.Time) { return at(550, i), at(300+i, 0), at(550, i) })
	// Somebody copied a few messages on another day.
	add(19, func(i int) (time.Time, time.Time, time.Time) { return at(600, i), at(10*i, 0), none })
	// Many days on each of which a few old messages came.
	add(60, func(i int) (time.Time, time.Time, time.Time) { return at(650+i/4, 0), at(10*i, 0), none })
	// A newsletter's burst with a broken clock among more ordinary mail.
	add(30, func(i int) (time.Time, time.Time, time.Time) { return at(700, i), at(10*i, 0), none })
	add(60, func(i int) (time.Time, time.Time, time.Time) { return at(700, i), at(700, i), none })
	// A machine whose clock goes wrong by years, and one whose clock stands.
	add(100, func(i int) (time.Time, time.Time, time.Time) { return at(750+i/25, i), at(10+i/25, i), at(750+i/25, i) })
	add(100, func(i int) (time.Time, time.Time, time.Time) { return at(770, i), at(1, 0), at(770, i) })
	// Dates that are not known.
	add(50, func(i int) (time.Time, time.Time, time.Time) { return none, at(10*i, 0), none })

	want := []SpoiltDates{
		{First: Day(at(500, 0)), Last: Day(at(501, 0)), Messages: 160, Astray: 120, Received: ReceivedOrder{FromReceivedHeader, FromDateHeader}},
		{First: Day(at(550, 0)), Last: Day(at(550, 0)), Messages: 90, Astray: 90, Received: ReceivedOrder{FromDateHeader}},
	}
	days := tally.days()
	if got := FindSpoiltDates(days); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("found %+v, want %+v", got, want)
	}
	slices.Reverse(days)
	halves := append(slices.Clone(days), days...) // two folders with the same mail
	if got := FindSpoiltDates(halves); len(got) != 4 || got[0].Messages != 320 || got[2].Astray != 38 {
		t.Errorf("found in two folders %+v", got)
	}
	if got := FindSpoiltDates(nil); got != nil {
		t.Errorf("found %+v among nothing", got)
	}
}

// What the endpoint says already about received dates mends what would be found.
func TestSpoiltDatesMended(t *testing.T) {
	copied := time.Date(2019, 5, 3, 4, 5, 6, 0, time.UTC)
	for order, want := range map[ReceivedFrom]int{FromInternal: 1, FromReceivedHeader: 0, FromDateHeader: 0} {
		tally := make(dateTally)
		for i := range 30 {
			sent := copied.AddDate(0, -i-1, 0)
			header := datedHeader(sent, sent.Add(time.Minute))
			tally.add(ReceivedOrder{order}.Of(copied, header), header)
		}
		if got := FindSpoiltDates(tally.days()); len(got) != want {
			t.Errorf("received %s: found %+v", order, got)
		}
	}
}

// FuzzDateTally has servers give any date and any header.
func FuzzDateTally(f *testing.F) {
	f.Add(int64(1500000000), []byte("Received: a; Mon, 6 May 2019 07:08:09 +0200\r\nDate: Mon, 6 May 2019 05:00:00 +0000\r\n"))
	f.Add(int64(-62135596800), []byte("Date: Thu, 1 Jan 1970 00:00:00 +0000\nDate: x"))
	f.Add(int64(253402300799), []byte("date:Fri, 31 Dec 2100 23:59:59 -2359"))
	f.Fuzz(func(t *testing.T, unix int64, header []byte) {
		tally := make(dateTally)
		for i := range 3 {
			tally.add(time.Unix(unix, int64(i)), header)
		}
		for _, d := range tally.days() {
			if d.Astray > d.Messages || d.Mended > d.Astray || d.Messages > 3 || len(d.Months) != 1 {
				t.Errorf("%+v", d)
			}
		}
		FindSpoiltDates(slices.Repeat(tally.days(), 10))
	})
}
