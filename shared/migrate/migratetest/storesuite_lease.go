package migratetest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

func testLease(t *testing.T, s migrate.Store) {
	ctx := t.Context()
	first, err := s.Acquire(ctx, "slots/1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, "slots/1", "")
	_, err = s.Acquire(ctx, "slots/1", time.Minute)
	wantIs(t, "acquire what is held", err, migrate.ErrLeaseHeld)
	if err := first.Renew(ctx); err != nil {
		t.Fatal(err)
	}
	if err := first.Release(ctx); err != nil {
		t.Fatal(err)
	}
	second, err := s.Acquire(ctx, "slots/1", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	wantIs(t, "renew what another has", first.Renew(ctx), migrate.ErrLeaseLost)
	if err := first.Release(ctx); err != nil {
		t.Errorf("release what another has: %v", err)
	}
	if err := second.Renew(ctx); err != nil {
		t.Errorf("the first holder's release ended the second's lease: %v", err)
	}
}

func testLeaseGuards(t *testing.T, s migrate.Store) {
	ctx := t.Context()
	put(t, s, "g", []byte("kept"), nil, always)
	lease, err := s.Acquire(ctx, "g", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, "g", "kept")
	_, err = s.Put(ctx, "g", []byte("x"), nil, always)
	wantIs(t, "put", err, migrate.ErrLeaseHeld)
	wantIs(t, "delete", s.Delete(ctx, "g", always), migrate.ErrLeaseHeld)
	if err := lease.Release(ctx); err != nil {
		t.Fatal(err)
	}
	put(t, s, "g", []byte("x"), nil, always)
}

func testLeaseEnds(t *testing.T, s migrate.Store) {
	ctx := t.Context()
	first, err := s.Acquire(ctx, "slots/1", 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	deadline := time.After(2 * time.Minute)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err = s.Acquire(ctx, "slots/1", time.Minute); err == nil {
			break
		}
		wantIs(t, "acquire", err, migrate.ErrLeaseHeld)
		select {
		case <-deadline:
			t.Fatal("the lease does not end")
		case <-tick.C:
		}
	}
	wantIs(t, "renew what ended", first.Renew(ctx), migrate.ErrLeaseLost)
	if err := first.Release(ctx); err != nil {
		t.Errorf("release what ended: %v", err)
	}
}

func testLeaseOfNoBlob(t *testing.T, s migrate.Store) {
	ctx := t.Context()
	var held atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, err := s.Acquire(ctx, "slots/new", time.Minute)
			if err == nil {
				held.Add(1)
			} else if !errors.Is(err, migrate.ErrLeaseHeld) {
				t.Errorf("acquire: %v", err)
			}
		})
	}
	all.Wait()
	if held.Load() != 1 {
		t.Fatalf("%d hold the lease", held.Load())
	}
}

func testLeaseLength(t *testing.T, s migrate.Store) {
	for _, d := range []time.Duration{0, 14 * time.Second, 61 * time.Second, 15*time.Second + time.Millisecond} {
		var e *migrate.Error
		if _, err := s.Acquire(t.Context(), "slots/1", d); !errors.As(err, &e) {
			t.Errorf("a lease of %s: %v", d, err)
		}
	}
}
