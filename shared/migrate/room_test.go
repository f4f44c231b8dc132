package migrate

import (
	"errors"
	"testing"
	"time"
)

// TestRoom shares connections out: the parts never make more than the whole, and no less than they may.
func TestRoom(t *testing.T) {
	for slots := 1; slots <= 12; slots++ {
		for each := 1; each <= 5; each++ {
			for total := 1; total <= slots*each; total++ {
				r := Endpoint{Slots: slots, Connections: each}.room(total)
				sum := 0
				for slot := range slots + 3 { // some may be left of an endpoint that had more
					n := r.of(slot)
					if n < 0 || n > each || (n > 0) != (slot < r.runs) {
						t.Fatalf("%d slots of %d, %d in all: slot %d of %d has %d", slots, each, total, slot, r.runs, n)
					}
					sum += n
				}
				if sum != total {
					t.Fatalf("%d slots of %d, %d in all: the parts make %d", slots, each, total, sum)
				}
			}
		}
	}
}

// TestCapFallsAndRises has it fall at once and rise slowly, to where there is none.
func TestCapFallsAndRises(t *testing.T) {
	var c serverCap
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	fall := func(want int) {
		t.Helper()
		c.fall(now, 30, "old/0011", errors.New("too many"))
		if got := c.at(now, 30); got != want {
			t.Errorf("it fell to %d, want %d", got, want)
		}
	}
	later := func(d time.Duration, want int) {
		t.Helper()
		now = now.Add(d)
		if got := c.at(now, 30); got != want {
			t.Errorf("it is %d, want %d", got, want)
		}
	}
	later(time.Hour, 30)
	fall(15)
	later(30*time.Second, 15)
	fall(15) // another instance hears the same
	later(30*time.Second, 15)
	fall(7)
	later(time.Minute, 7)
	fall(3)
	later(15*time.Minute-time.Second, 3)
	later(time.Second, 4)
	later(time.Hour, 8)
	later(15*time.Minute, 9)
	later(2*time.Hour, 18)
	fall(14) // it had risen there: by a quarter
	later(-time.Second, 14)
	fall(14) // a clock that is behind
	later(time.Second, 14)
	later(24*time.Hour, 30)
	fall(23)
	for range 9 {
		now = now.Add(time.Minute)
		c.fall(now, 30, "old/0011", errors.New("too many"))
	}
	later(0, 1)
	if got := c.at(now.Add(1000*time.Hour), 3); got != 3 {
		t.Errorf("it rose to %d of 3", got)
	}
}

// TestMostConnections reads maxConnections.
func TestMostConnections(t *testing.T) {
	for setting, want := range map[string]int{``: 30, `,"maxConnections":7`: 7, `,"maxConnections":31`: 30, `,"maxConnections":-1`: 0, `,"maxConnections":16001`: 0} {
		e, err := ParseEndpoint("e", []byte(`{"host":"h"`+setting+`}`))
		if (err != nil) != (want == 0) || err == nil && e.full() != want {
			t.Errorf("%s: %d, %v", setting, e.full(), err)
		}
	}
}
