package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// gatekeeper is a server that lets in who knows the password.
type gatekeeper struct {
	tries int
	err   error
}

type nothing struct{ migrate.Source }

func (nothing) Close() error { return nil }

func (g *gatekeeper) dial(context.Context, migrate.Endpoint, migrate.Mailbox) (migrate.Source, error) {
	g.tries++
	if g.err != nil {
		return nil, g.err
	}
	return nothing{}, nil
}

func refusal(reason migrate.Reason) error {
	return &migrate.Error{Op: "sign in", Kind: migrate.SignIn, Reason: reason, Err: errors.New("no")}
}

func TestBrake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &gatekeeper{err: refusal(migrate.WrongPassword)}
		store := migratetest.NewStore(nil)
		dial := migrate.Brake{Store: store}.Guard(server.dial)
		other := migrate.Brake{Store: store}.Guard(server.dial) // another instance's
		try := func(dial migrate.DialSource, tried bool, kind migrate.Kind, reason migrate.Reason) time.Duration {
			t.Helper()
			before := server.tries
			_, err := dial(t.Context(), migrate.Endpoint{Name: "old"}, migrate.Mailbox{})
			if (server.tries > before) != tried || err != nil != (kind != "") || err != nil && (migrate.KindOf(err) != kind || migrate.ReasonOf(err) != reason) {
				t.Fatalf("tried %t, %v; want %t, %s %s", server.tries > before, err, tried, kind, reason)
			}
			var e *migrate.Error
			errors.As(err, &e)
			if e == nil {
				return 0
			}
			return e.RetryAfter
		}
		for range 2 {
			try(dial, true, migrate.SignIn, migrate.WrongPassword)
			try(other, true, migrate.SignIn, migrate.WrongPassword)
		}
		// Now everybody rests, and says for how long.
		if rest := try(other, false, migrate.Throttled, migrate.EndpointResting); rest != 15*time.Minute {
			t.Errorf("the rest is %s", rest)
		}
		elsewhere, err := other(t.Context(), migrate.Endpoint{Name: "another"}, migrate.Mailbox{})
		if elsewhere != nil || migrate.KindOf(err) != migrate.SignIn {
			t.Errorf("another endpoint rests, too: %v", err)
		}
		// Behind it one tries, and the next rest is longer.
		time.Sleep(15 * time.Minute)
		try(dial, true, migrate.SignIn, migrate.WrongPassword)
		if rest := try(other, false, migrate.Throttled, migrate.EndpointResting); rest != 30*time.Minute {
			t.Errorf("the second rest is %s", rest)
		}
		// One who tries and learns nothing lets the next try soon.
		time.Sleep(30 * time.Minute)
		server.err = &migrate.Error{Kind: migrate.Unreachable}
		try(dial, true, migrate.Unreachable, "")
		try(other, false, migrate.Throttled, migrate.EndpointResting)
		time.Sleep(2 * time.Minute)
		server.err = nil
		try(other, true, "", "")
		for range 3 {
			try(dial, true, "", "")
		}
		server.err = refusal(migrate.WrongPassword)
		for range 3 {
			try(dial, true, migrate.SignIn, migrate.WrongPassword) // counted anew
		}
		if err := (migrate.Brake{Store: store}).Reset(t.Context(), "old"); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			try(dial, true, migrate.SignIn, migrate.WrongPassword)
		}
		if err := (migrate.Brake{Store: store}).Reset(t.Context(), "old"); err != nil {
			t.Fatal(err)
		}
		try(dial, true, migrate.SignIn, migrate.WrongPassword) // new credentials ended the rest
	})
}

// What a server does not count is not counted, and an administrator is stopped sooner.
func TestBrakeCounts(t *testing.T) {
	for _, c := range []struct {
		endpoint migrate.Endpoint
		err      error
		tries    int // of ten
	}{
		{migrate.Endpoint{Name: "a"}, refusal(migrate.WrongPassword), 4},
		{migrate.Endpoint{Name: "a", Admin: &migrate.Admin{}}, refusal(migrate.AdminRefused), 2},
		{migrate.Endpoint{Name: "a"}, refusal(migrate.IMAPDisabled), 10},
		{migrate.Endpoint{Name: "a"}, refusal(migrate.RefreshTokenDead), 10},
		{migrate.Endpoint{Name: "a"}, &migrate.Error{Kind: migrate.Throttled}, 10},
		{migrate.Endpoint{Name: "a"}, nil, 10},
	} {
		server := &gatekeeper{err: c.err}
		dial := migrate.Brake{Store: migratetest.NewStore(nil)}.Guard(server.dial)
		for range 10 {
			_, _ = dial(t.Context(), c.endpoint, migrate.Mailbox{})
		}
		if server.tries != c.tries {
			t.Errorf("%v: tried %d times, want %d", c.err, server.tries, c.tries)
		}
	}
}

// A state that is damaged, or a store that is down, never lets a refusal pass for a success.
func TestBrakeWithoutItsState(t *testing.T) {
	store := migratetest.NewStore(nil)
	if _, err := store.Put(t.Context(), "endpoints/a/brake", []byte("{"), nil, migrate.Condition{}); err != nil {
		t.Fatal(err)
	}
	server := &gatekeeper{err: refusal(migrate.WrongPassword)}
	dial := migrate.Brake{Store: store}.Guard(server.dial)
	if _, err := dial(t.Context(), migrate.Endpoint{Name: "a"}, migrate.Mailbox{}); migrate.KindOf(err) != migrate.SignIn {
		t.Errorf("got %v", err)
	}
	store.Before = func(string, string) error { return &migrate.Error{Kind: migrate.Unreachable} }
	if _, err := dial(t.Context(), migrate.Endpoint{Name: "a"}, migrate.Mailbox{}); migrate.KindOf(err) != migrate.Unreachable || server.tries != 1 {
		t.Errorf("got %v after %d tries", err, server.tries)
	}
}

// shutOut is a source whose connection broke and whose sign-in over another one is refused.
type shutOut struct {
	migrate.Source
	err error
}

func (s shutOut) Close() error { return nil }

func (s shutOut) Folders(context.Context) ([]migrate.SourceFolder, error) { return nil, s.err }
func (s shutOut) States(context.Context, []string) (map[string]migrate.FolderState, error) {
	return nil, s.err
}
func (s shutOut) Sizes(context.Context, []string) (map[string]int64, error) { return nil, s.err }
func (s shutOut) Open(context.Context, string) (migrate.FolderState, error) {
	return migrate.FolderState{}, s.err
}
func (s shutOut) Survey(context.Context, string, migrate.UIDSet) (migrate.FolderState, migrate.UIDSet, []migrate.MessageInfo, error) {
	return migrate.FolderState{}, migrate.UIDSet{}, nil, s.err
}
func (s shutOut) SurveyNew(context.Context, []string) ([]migrate.Surveyed, error) {
	return nil, s.err
}
func (s shutOut) UIDs(context.Context, migrate.UID, migrate.UID) (migrate.UIDSet, error) {
	return migrate.UIDSet{}, s.err
}
func (s shutOut) Describe(context.Context, migrate.UIDSet, func(migrate.MessageInfo) error) error {
	return s.err
}
func (s shutOut) Headers(context.Context, migrate.UIDSet, func(migrate.MessageInfo, []byte) error) error {
	return s.err
}
func (s shutOut) Fetch(context.Context, migrate.UIDSet, func(migrate.MessageInfo, int64, io.Reader) error) error {
	return s.err
}

// TestBrakeCountsReconnects has sources sign in again and be refused, whatever they are asked: each counts
// once, however often it says so.
func TestBrakeCountsReconnects(t *testing.T) {
	ways := map[string]func(context.Context, migrate.Source) error{
		"folders": func(ctx context.Context, s migrate.Source) error { _, err := s.Folders(ctx); return err },
		"states":  func(ctx context.Context, s migrate.Source) error { _, err := s.States(ctx, nil); return err },
		"sizes":   func(ctx context.Context, s migrate.Source) error { _, err := s.Sizes(ctx, nil); return err },
		"open":    func(ctx context.Context, s migrate.Source) error { _, err := s.Open(ctx, "a"); return err },
		"survey": func(ctx context.Context, s migrate.Source) error {
			_, _, _, err := s.Survey(ctx, "a", migrate.UIDSet{})
			return err
		},
		"new":      func(ctx context.Context, s migrate.Source) error { _, err := s.SurveyNew(ctx, nil); return err },
		"uids":     func(ctx context.Context, s migrate.Source) error { _, err := s.UIDs(ctx, 1, 2); return err },
		"describe": func(ctx context.Context, s migrate.Source) error { return s.Describe(ctx, migrate.UIDSet{}, nil) },
		"headers":  func(ctx context.Context, s migrate.Source) error { return s.Headers(ctx, migrate.UIDSet{}, nil) },
		"fetch":    func(ctx context.Context, s migrate.Source) error { return s.Fetch(ctx, migrate.UIDSet{}, nil) },
	}
	for name, ask := range ways {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dial := migrate.Brake{Store: migratetest.NewStore(nil)}.Guard(func(context.Context, migrate.Endpoint, migrate.Mailbox) (migrate.Source, error) {
					return shutOut{err: refusal(migrate.WrongPassword)}, nil
				})
				var sources []migrate.Source
				for range 4 {
					s, err := dial(t.Context(), migrate.Endpoint{Name: "old"}, migrate.Mailbox{})
					if err != nil {
						t.Fatal(err)
					}
					sources = append(sources, s)
				}
				for range 3 {
					for _, s := range sources[1:] {
						if err := ask(t.Context(), s); migrate.KindOf(err) != migrate.SignIn || migrate.ReasonOf(err) != migrate.WrongPassword {
							t.Fatal(err)
						}
					}
				}
				if s, err := dial(t.Context(), migrate.Endpoint{Name: "old"}, migrate.Mailbox{}); err != nil { // ends the row of refusals
					t.Fatalf("three refusals count as more: %v", err)
				} else {
					sources = append(sources[:1], s)
				}
				for range 3 {
					s, err := dial(t.Context(), migrate.Endpoint{Name: "old"}, migrate.Mailbox{})
					if err != nil {
						t.Fatal(err)
					}
					sources = append(sources, s)
				}
				for _, s := range sources[:4] {
					_ = ask(t.Context(), s)
				}
				if _, err := dial(t.Context(), migrate.Endpoint{Name: "old"}, migrate.Mailbox{}); migrate.ReasonOf(err) != migrate.EndpointResting {
					t.Errorf("after four refusals: %v", err)
				}
			})
		})
	}
}

// TestBrakeOfAWrongClock: a rest that an instance with a wrong clock dated years ahead does not last for years.
func TestBrakeOfAWrongClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := migratetest.NewStore(nil)
		state := fmt.Sprintf(`{"v":1,"refused":9,"until":%q}`, time.Now().AddDate(3, 0, 0).Format(time.RFC3339))
		if _, err := store.Put(t.Context(), "endpoints/old/brake", []byte(state), nil, migrate.Condition{}); err != nil {
			t.Fatal(err)
		}
		server := &gatekeeper{err: refusal(migrate.WrongPassword)}
		dial := migrate.Brake{Store: store}.Guard(server.dial)
		for range 2 {
			_, _ = dial(t.Context(), migrate.Endpoint{Name: "old"}, migrate.Mailbox{})
		}
		if server.tries != 1 {
			t.Errorf("tried %d times", server.tries)
		}
	})
}

// TestRefusedTogether has fifty instances be refused at once: the first rest is as long as after four, and the
// next one twice as long.
func TestRefusedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := migratetest.NewStore(nil)
		store.Before = func(string, string) error {
			time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
			return nil
		}
		tries := atomic.Int64{}
		rest := func() time.Duration {
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					_, _ = migrate.Brake{Store: store}.Guard(func(context.Context, migrate.Endpoint, migrate.Mailbox) (migrate.Source, error) {
						tries.Add(1)
						return nil, refusal(migrate.WrongPassword)
					})(t.Context(), migrate.Endpoint{Name: "old"}, migrate.Mailbox{})
				})
			}
			all.Wait()
			_, err := migrate.Brake{Store: store}.Guard((&gatekeeper{}).dial)(t.Context(), migrate.Endpoint{Name: "old"}, migrate.Mailbox{})
			var e *migrate.Error
			if !errors.As(err, &e) {
				t.Fatalf("it does not rest: %v", err)
			}
			return e.RetryAfter.Round(time.Minute)
		}
		for i, want := range []time.Duration{15 * time.Minute, 30 * time.Minute, time.Hour} {
			if got := rest(); got != want || tries.Load() != int64(50+i) {
				t.Errorf("rest %d is %s after %d tries", i, got, tries.Load())
			}
			time.Sleep(want)
		}
	})
}
