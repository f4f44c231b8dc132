package migrate_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// signIns notes when the box is signed in to. It fails the first ones with a broken connection.
func signIns(b *migratetest.Box, broken int) *[]time.Time {
	times := new([]time.Time)
	b.Source.Before = func(op, _ string, _ migrate.UID) error {
		if op != "dial" {
			return nil
		}
		if broken--; broken >= 0 {
			return errors.New("no route")
		}
		*times = append(*times, time.Now())
		return nil
	}
	return times
}

// wantRefused checks that a mailbox was given up after few sign-ins that lie apart.
func wantRefused(t *testing.T, w *migratetest.World, b *migratetest.Box, times []time.Time) {
	t.Helper()
	p := w.Checkpoint(t, b.Mailbox.ID).Problem
	if p == nil || p.Kind != migrate.SignIn || p.Reason != migrate.NotConnected || !strings.Contains(p.Advice, "had enough") || !strings.Contains(p.Advice, "password") {
		t.Errorf("problem %+v", p)
	}
	if len(times) != 5 {
		t.Fatalf("signed in %d times", len(times))
	}
	for i := range times[1:] {
		if pause, least := times[i+1].Sub(times[i]), 15*time.Minute<<i; pause < least || pause > least+2*time.Minute {
			t.Errorf("pause %d was %s", i, pause)
		}
	}
	if _, _, err := w.Store.Get(t.Context(), "endpoints/"+migratetest.EndpointName+"/brake"); !errors.Is(err, migrate.ErrNotFound) {
		t.Errorf("it counts as a refused password: %v", err)
	}
}

// TestNotConnected: who signs in and gets nothing may be throttled. That passes, or the mailbox is given up
// and new credentials give it another try. What broke before does not count.
func TestNotConnected(t *testing.T) {
	bubble(t, "it passes", func(t *testing.T, w *migratetest.World) {
		w.Brake = true
		b := oneMailbox(t, w, 5)
		b.Source.NotConnected = true
		w.Run(t, 6*time.Hour, func() bool { return w.Checkpoint(t, b.Mailbox.ID).Failures == 4 })
		b.Source.NotConnected = false
		w.Settle(t)
		w.CheckExact(t, b)
		if c := wantState(t, w, b, migrate.Synced); c.Failures != 0 || c.Problem != nil {
			t.Errorf("%d failures, %+v", c.Failures, c.Problem)
		}
	})
	bubble(t, "it lasts", func(t *testing.T, w *migratetest.World) {
		w.Brake = true
		b := oneMailbox(t, w, 5)
		b.Source.NotConnected = true
		times := signIns(b, 60)
		w.Settle(t)
		wantState(t, w, b, migrate.Failed)
		wantRefused(t, w, b, *times)
		b.Source.NotConnected = false
		if err := migrate.Retry(t.Context(), w.Store, b.Mailbox.ID); err != nil {
			t.Fatal(err)
		}
		w.Settle(t)
		w.CheckExact(t, b)
		wantState(t, w, b, migrate.Synced)
	})
	bubble(t, "new credentials while it waits", func(t *testing.T, w *migratetest.World) {
		b := oneMailbox(t, w, 5)
		b.Source.NotConnected = true
		w.Run(t, time.Hour, func() bool { return w.Checkpoint(t, b.Mailbox.ID).Failures == 1 })
		b.Source.NotConnected = false
		if err := migrate.Retry(t.Context(), w.Store, b.Mailbox.ID); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.Settle(t)
		wantState(t, w, b, migrate.Synced)
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("took %s", took)
		}
	})
}

// TestNotConnectedInPreflight: it is tried as often, found, and not tried for the start.
func TestNotConnectedInPreflight(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		w.Brake = true
		b := oneMailbox(t, w, 5)
		b.Source.NotConnected = true
		times := signIns(b, 0)
		w.Preflight(t)
		wantRefused(t, w, b, *times)
		w.Start(t)
		wantState(t, w, b, migrate.Failed)
		if len(*times) != 5 {
			t.Errorf("signed in %d times", len(*times))
		}
	})
}
