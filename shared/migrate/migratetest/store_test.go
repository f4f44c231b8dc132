package migratetest

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// TestStore has a clock that goes on by a second whenever somebody looks at it: 15 s of lease pass while it is
// asked for 15 times, and a minute does not pass within a part, however slow the machine is.
func TestStore(t *testing.T) {
	StoreSuite(t, func(*testing.T) migrate.Store {
		start := time.Now()
		var looks atomic.Int64
		return NewStore(func() time.Time { return start.Add(time.Duration(looks.Add(1)) * time.Second) })
	})
}

func TestStoreHooks(t *testing.T) {
	s, broken := NewStore(nil), errors.New("broken")
	s.Before = func(op, name string) error {
		if op == "put" && name == "a" {
			return broken
		}
		return nil
	}
	s.After = func(op, name string) error {
		if op == "put" && name == "b" {
			return broken
		}
		return nil
	}
	for _, name := range []string{"a", "b"} {
		_, err := s.Put(t.Context(), name, []byte("x"), nil, migrate.Condition{})
		wantIs(t, name, err, broken)
	}
	_, _, err := s.Get(t.Context(), "a")
	wantIs(t, "get what was stopped before", err, migrate.ErrNotFound)
	wantContent(t, s, "b", "x")
}

func TestStoreRefusesWhatAzureDoes(t *testing.T) {
	s := NewStore(nil)
	for _, metadata := range []map[string]string{
		{"State": "x"}, {"": "x"}, {"1a": "x"}, {"a-b": "x"}, {"state": "ä"}, {"state": " x"}, {"state": "x\n"},
		{"long": strings.Repeat("x", 1024)},
	} {
		var e *migrate.Error
		if _, err := s.Put(t.Context(), "m", nil, metadata, migrate.Condition{}); !errors.As(err, &e) {
			t.Errorf("metadata %.60v: %v", metadata, err)
		}
	}
}
