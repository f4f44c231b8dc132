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

// TestPreflightWithoutSizes has a server that does not tell sizes, has them not at hand, or breaks the
// connection over them: they are taken from the messages or estimated, and some minutes are lost at most.
func TestPreflightWithoutSizes(t *testing.T) {
	without := func(name string, tries, measured int, exact bool, set func(*migratetest.World, *migratetest.SourceMailbox)) {
		inPreflight(t, name, func(t *testing.T, w *migratetest.World) {
			b := w.AddMailbox(t, "ann")
			asked := make(map[string]int)
			b.Source.Before = func(op, _ string, _ migrate.UID) error {
				asked[op]++
				return nil
			}
			set(w, b.Source)
			want := uneven(b.Source.Folder("INBOX"), 3000) + uneven(b.Source.AddFolder("", "More"), 700)
			began := time.Now()
			w.Preflight(t)
			if took := time.Since(began); took > 6*time.Minute || asked["ask for sizes"] != tries || asked["describe"] != measured {
				t.Errorf("took %s, asked for %v", took, asked)
			}
			p := wantUntouched(t, w, b).Preflight
			if p.Messages != 3700 || p.Estimated == exact || (p.Octets == want) != exact || p.Octets < want*9/10 || p.Octets > want*11/10 || (p.Unsized == 0) != exact {
				t.Errorf("%+v, want about %d octets", p, want)
			}
			if p := detailOf(t, w).Preflight; p.Estimated == exact || len(p.Problems) != 0 {
				t.Errorf("the status has %+v", p)
			}
			list, err := migrate.Batches(t.Context(), w.Store, migratetest.EndpointName)
			if err != nil || len(list) != 1 || list[0].Preflight.Estimated == exact {
				t.Errorf("the list of batches has %+v, %v", list, err)
			}
		})
	}
	breaking := func(op string) func(*migratetest.World, *migratetest.SourceMailbox) {
		return func(_ *migratetest.World, s *migratetest.SourceMailbox) {
			s.NoSizes = op != "ask for sizes"
			count := s.Before
			s.Before = func(called, folder string, uid migrate.UID) error {
				if count(called, folder, uid); called == op {
					return errors.New("crash")
				}
				return nil
			}
		}
	}
	without("that it does not tell", 0, 2, true, func(_ *migratetest.World, s *migratetest.SourceMailbox) { s.NoSizes = true })
	without("that take long", 1, 0, false, func(_ *migratetest.World, s *migratetest.SourceMailbox) { s.SizeTakes = time.Second })
	without("of messages that take long", 0, 1, false, func(_ *migratetest.World, s *migratetest.SourceMailbox) {
		s.NoSizes, s.SizeTakes = true, time.Second
	})
	without("that take longer than a run", 0, 3, false, func(w *migratetest.World, s *migratetest.SourceMailbox) {
		w.Limits.Budget = time.Minute
		s.NoSizes, s.SizeTakes = true, time.Second
	})
	without("that break the connection", 3, 0, false, breaking("ask for sizes"))
	without("of messages that break the connection", 0, 2, false, breaking("describe"))
}

// TestPreflightTooLarge names every message that the target does not take, and says of how many that is not
// known.
func TestPreflightTooLarge(t *testing.T) {
	fill := func(t *testing.T, w *migratetest.World, login string) *migratetest.Box {
		b := w.AddMailbox(t, login)
		for _, f := range []*migratetest.SourceFolder{b.Source.Folder("INBOX"), b.Source.AddFolder("", "More")} {
			uneven(f, 3000)
			for i := range 120 {
				f.Add(migratetest.Message("", "limit", 200), received).Size = 150<<20 + int64(i)
			}
			uneven(f, 80)
		}
		return b
	}
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		b, other := fill(t, w, "ann"), fill(t, w, "bob")
		other.Source.SizeTakes = 5 * time.Second
		w.Preflight(t)
		if p := wantUntouched(t, w, b).Preflight; p.TooLarge != 2*119 || p.Unsized != 0 {
			t.Errorf("%+v", p)
		}
		r, _, err := migrate.LoadPreflight(t.Context(), w.Store, b.Mailbox.ID)
		if err != nil || len(r.Folders[1].Large) != 100 || r.Folders[1].Large[0] != (migrate.LargeMessage{UID: 3120, Octets: 150<<20 + 119, Received: received}) {
			t.Errorf("%+v, %v", r, err)
		}
		known := wantUntouched(t, w, other).Preflight
		if known.TooLarge >= 30 || known.Unsized < 5900 {
			t.Errorf("%+v", known)
		}
		p := detailOf(t, w).Preflight
		if p.TooLarge != 2*119+known.TooLarge || p.Unsized != known.Unsized || len(p.Large) != 100 ||
			p.Large[0].Address != "ann@example.com" || p.Large[0].Folder != "INBOX" || p.Large[1].Folder != "More" || p.Large[99].Octets < 150<<20+119-50 {
			t.Errorf("%+v", p)
		}
	})
}
