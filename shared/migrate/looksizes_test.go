package migrate_test

import (
	"errors"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// uneven fills a folder with n messages whose sizes a sample does not tell, and returns their sum.
func uneven(f *migratetest.SourceFolder, n int) (octets int64) {
	for i := range n {
		m := f.Add(migratetest.Message("", "uneven", 150+i*i%4001), received)
		octets += int64(len(m.Content))
	}
	return octets
}

// askedFor counts the calls of one kind.
func askedFor(b *migratetest.Box, op string, fails error) *int {
	n := new(int)
	b.Source.Before = func(called, _ string, _ migrate.UID) error {
		if called != op {
			return nil
		}
		*n++
		return fails
	}
	return n
}

// TestPreflightSizes asks a server for sizes that a sample would only estimate. The sync does not ask.
func TestPreflightSizes(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		asked := askedFor(b, "ask for sizes", nil)
		want := uneven(b.Source.Folder("INBOX"), 3000) + uneven(b.Source.AddFolder("", "More"), 700)
		w.Preflight(t)
		if p := wantUntouched(t, w, b).Preflight; p.Octets != want || p.Estimated || *asked != 1 {
			t.Errorf("%+v, want %d octets; asked %d times", p, want, *asked)
		}
		if p := detailOf(t, w).Preflight; p.Octets != want || p.Estimated {
			t.Errorf("the status has %+v, want %d octets", p, want)
		}
		w.Start(t)
		if *asked != 1 {
			t.Errorf("the sync asked %d times", *asked-1)
		}
	})
}

// TestPreflightWithoutSizes estimates where a server does not tell them, has them not at hand, or breaks
// the connection over them, and loses no more than some minutes by that.
func TestPreflightWithoutSizes(t *testing.T) {
	without := func(name string, tries int, set func(*migratetest.SourceMailbox)) {
		inPreflight(t, name, func(t *testing.T, w *migratetest.World) {
			b := w.AddMailbox(t, "ann")
			var fails error
			if set == nil {
				fails = errors.New("crash")
			} else {
				set(b.Source)
			}
			asked := askedFor(b, "ask for sizes", fails)
			want := uneven(b.Source.Folder("INBOX"), 3000) + uneven(b.Source.AddFolder("", "More"), 700)
			began := time.Now()
			w.Preflight(t)
			if took := time.Since(began); took > 5*time.Minute || *asked != tries {
				t.Errorf("took %s, asked %d times", took, *asked)
			}
			if p := wantUntouched(t, w, b).Preflight; p.Messages != 3700 || !p.Estimated || p.Octets == want || p.Octets < want*9/10 || p.Octets > want*11/10 {
				t.Errorf("%+v, want about %d octets", p, want)
			}
			if p := detailOf(t, w).Preflight; !p.Estimated || len(p.Problems) != 0 {
				t.Errorf("the status has %+v", p)
			}
			list, err := migrate.Batches(t.Context(), w.Store, migratetest.EndpointName)
			if err != nil || len(list) != 1 || !list[0].Preflight.Estimated {
				t.Errorf("the list of batches has %+v, %v", list, err)
			}
		})
	}
	without("that it does not tell", 0, func(s *migratetest.SourceMailbox) { s.NoSizes = true })
	without("that take long", 1, func(s *migratetest.SourceMailbox) { s.SizeTakes = time.Second })
	without("that break the connection", 3, nil)
}
