package migratetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// StoreSuite holds a migrate.Store to its contract. newStore gives an empty store for each part. The
// store's clock must go on by itself, as one part waits for a lease of 15 s to end.
func StoreSuite(t *testing.T, newStore func(t *testing.T) migrate.Store) {
	parts := []struct {
		name string
		test func(*testing.T, migrate.Store)
	}{
		{"Absent", testAbsent},
		{"PutGet", testPutGet},
		{"Conditions", testConditions},
		{"OneOfManyWins", testOneOfManyWins},
		{"List", testList},
		{"ListMany", testListMany},
		{"ListStops", testListStops},
		{"Append", testAppend},
		{"AppendOneOfManyWins", testAppendOneOfManyWins},
		{"Open", testOpen},
		{"Lease", testLease},
		{"LeaseGuardsTheBlob", testLeaseGuards},
		{"LeaseEnds", testLeaseEnds},
		{"LeaseOfNoBlob", testLeaseOfNoBlob},
		{"LeaseLength", testLeaseLength},
		{"Cancelled", testCancelled},
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.test(t, newStore(t)) })
	}
}

var (
	always = migrate.Condition{}
	absent = migrate.Condition{Absent: true}
)

func match(tag migrate.ETag) migrate.Condition { return migrate.Condition{Match: tag} }

func testAbsent(t *testing.T, s migrate.Store) {
	ctx := t.Context()
	_, _, err := s.Get(ctx, "a/b")
	wantIs(t, "get", err, migrate.ErrNotFound)
	_, err = s.Open(ctx, "a/b", 0)
	wantIs(t, "open", err, migrate.ErrNotFound)
	wantIs(t, "delete", s.Delete(ctx, "a/b", always), migrate.ErrNotFound)
	_, err = s.Put(ctx, "a/b", nil, nil, match(`"0x1"`))
	wantIs(t, "put with a version", err, migrate.ErrConflict)
	_, err = s.Append(ctx, "a/b", []byte("x"), 1)
	wantIs(t, "append behind nothing", err, migrate.ErrConflict)
}

func testPutGet(t *testing.T, s migrate.Store) {
	for _, name := range []string{"a", "a/b.json", "batches/dövecot ñ/Ж 1+2%20#?&.csv", "a//b"} {
		for _, content := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte{0, 1, 0xff, '\n'}, 300_000)} {
			tag := put(t, s, name, content, nil, always)
			got, gotTag, err := s.Get(t.Context(), name)
			if err != nil || !bytes.Equal(got, content) || gotTag != tag || tag == "" {
				t.Fatalf("%s: put %d bytes as %s, got %d as %s, %v", name, len(content), tag, len(got), gotTag, err)
			}
		}
		if err := s.Delete(t.Context(), name, always); err != nil {
			t.Fatal(err)
		}
	}
}

func testConditions(t *testing.T, s migrate.Store) {
	ctx := t.Context()
	first := put(t, s, "c", []byte("1"), nil, absent)
	_, err := s.Put(ctx, "c", []byte("2"), nil, absent)
	wantIs(t, "put a second time", err, migrate.ErrConflict)
	second := put(t, s, "c", []byte("2"), nil, match(first))
	if second == first {
		t.Fatalf("both versions are %s", first)
	}
	_, err = s.Put(ctx, "c", []byte("3"), nil, match(first))
	wantIs(t, "put over an old version", err, migrate.ErrConflict)
	wantContent(t, s, "c", "2")
	wantIs(t, "delete an old version", s.Delete(ctx, "c", match(first)), migrate.ErrConflict)
	if err := s.Delete(ctx, "c", match(second)); err != nil {
		t.Fatal(err)
	}
	if again := put(t, s, "c", []byte("1"), nil, absent); again == first || again == second {
		t.Fatalf("the version %s comes again", again)
	}
}

// testOneOfManyWins has many writers replace the same version.
func testOneOfManyWins(t *testing.T, s migrate.Store) {
	tag := put(t, s, "c", nil, nil, absent)
	wins := race(t, func(i int) error {
		_, err := s.Put(t.Context(), "c", []byte{byte('a' + i)}, nil, match(tag))
		return err
	})
	wantContent(t, s, "c", string(byte('a'+wins)))
}

func testAppendOneOfManyWins(t *testing.T, s migrate.Store) {
	wins := race(t, func(i int) error {
		_, err := s.Append(t.Context(), "log", []byte{byte('a' + i)}, 0)
		return err
	})
	wantContent(t, s, "log", string(byte('a'+wins)))
}

// race runs attempts side by side and returns the one that won; the others must meet ErrConflict.
func race(t *testing.T, attempt func(i int) error) int {
	t.Helper()
	var winner, wins atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			err := attempt(i)
			if err == nil {
				winner.Store(int64(i))
				wins.Add(1)
			} else if !errors.Is(err, migrate.ErrConflict) {
				t.Errorf("attempt %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if wins.Load() != 1 {
		t.Fatalf("%d attempts won", wins.Load())
	}
	return int(winner.Load())
}

func testList(t *testing.T, s migrate.Store) {
	before := time.Now().Add(-time.Minute)
	tag := put(t, s, "e/b", []byte("12345"), map[string]string{"state": "Queued", "due": "2026-01-02T03:04:05Z", "error": ""}, always)
	put(t, s, "e/a", nil, nil, always)
	put(t, s, "e/ä", nil, nil, always)
	put(t, s, "e/B", nil, nil, always)
	put(t, s, "f/a", nil, nil, always)
	if _, err := s.Append(t.Context(), "e/c/log", []byte("xyz"), 0); err != nil {
		t.Fatal(err)
	}
	lease, err := s.Acquire(t.Context(), "e/d", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	entries := list(t, s, "e/")
	if got := names(entries); !slices.Equal(got, []string{"e/B", "e/a", "e/b", "e/c/log", "e/d", "e/ä"}) {
		t.Fatalf("listed %q", got)
	}
	b := entries[2]
	if b.ETag != tag || b.Size != 5 || b.Leased || b.Modified.Before(before) {
		t.Errorf("listed %+v, the version is %s", b, tag)
	}
	if len(b.Metadata) != 2 || b.Metadata["state"] != "Queued" || b.Metadata["due"] != "2026-01-02T03:04:05Z" {
		t.Errorf("metadata %v", b.Metadata)
	}
	if entries[3].Size != 3 || !entries[4].Leased {
		t.Errorf("listed %+v and %+v", entries[3], entries[4])
	}
	if err := lease.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if entries := list(t, s, "e/d"); len(entries) != 1 || entries[0].Leased {
		t.Errorf("after the release: %+v", entries)
	}
	put(t, s, "e/b", nil, nil, match(b.ETag)) // a listed version is good for a condition
	if entries := list(t, s, "e/b"); len(entries[0].Metadata) != 0 {
		t.Errorf("metadata outlives the version: %v", entries[0].Metadata)
	}
	if entries := list(t, s, "nothing"); len(entries) != 0 {
		t.Errorf("listed %q", names(entries))
	}
}

func testListMany(t *testing.T, s migrate.Store) {
	const n = 120
	var want []string
	for i := range n {
		name := fmt.Sprintf("m/%04d", i)
		put(t, s, name, nil, map[string]string{"state": "Queued"}, always)
		want = append(want, name)
	}
	if got := names(list(t, s, "m/")); !slices.Equal(got, want) {
		t.Fatalf("listed %d of %d", len(got), n)
	}
}

func testListStops(t *testing.T, s migrate.Store) {
	put(t, s, "a", nil, nil, always)
	put(t, s, "b", nil, nil, always)
	enough := errors.New("enough")
	calls := 0
	err := s.List(t.Context(), "", func(migrate.Entry) error { calls++; return enough })
	if err != enough || calls != 1 {
		t.Fatalf("%d calls, %v", calls, err)
	}
}

func testAppend(t *testing.T, s migrate.Store) {
	ctx := t.Context()
	at := int64(0)
	for _, block := range []string{"one\n", "two\n", strings.Repeat("x", 1<<20)} {
		end, err := s.Append(ctx, "log", []byte(block), at)
		if err != nil || end != at+int64(len(block)) {
			t.Fatalf("append at %d: %d, %v", at, end, err)
		}
		_, err = s.Append(ctx, "log", []byte(block), at)
		wantIs(t, "append there again", err, migrate.ErrConflict)
		at = end
	}
	_, err := s.Append(ctx, "log", []byte("x"), at+1)
	wantIs(t, "append beyond the end", err, migrate.ErrConflict)
	wantContent(t, s, "log", "one\ntwo\n"+strings.Repeat("x", 1<<20))
}

func testOpen(t *testing.T, s migrate.Store) {
	put(t, s, "o", []byte("0123456789"), nil, always)
	put(t, s, "empty", nil, nil, always)
	for _, c := range []struct {
		name   string
		offset int64
		want   string
	}{{"o", 0, "0123456789"}, {"o", 7, "789"}, {"o", 10, ""}, {"o", 20, ""}, {"empty", 0, ""}, {"empty", 1, ""}} {
		r, err := s.Open(t.Context(), c.name, c.offset)
		if err != nil {
			t.Fatalf("open %s at %d: %v", c.name, c.offset, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != c.want {
			t.Errorf("%s at %d: %q, %v", c.name, c.offset, got, err)
		}
		if err := r.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

func testCancelled(t *testing.T, s migrate.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Put(ctx, "c", nil, nil, always)
	wantIs(t, "put", err, context.Canceled)
	_, _, err = s.Get(ctx, "c")
	wantIs(t, "get", err, context.Canceled)
	err = s.List(ctx, "", func(migrate.Entry) error { return nil })
	wantIs(t, "list", err, context.Canceled)
	_, err = s.Acquire(ctx, "c", time.Minute)
	wantIs(t, "acquire", err, context.Canceled)
}

func put(t *testing.T, s migrate.Store, name string, content []byte, metadata map[string]string, c migrate.Condition) migrate.ETag {
	t.Helper()
	tag, err := s.Put(t.Context(), name, content, metadata, c)
	if err != nil {
		t.Fatal(err)
	}
	return tag
}

func list(t *testing.T, s migrate.Store, prefix string) []migrate.Entry {
	t.Helper()
	var entries []migrate.Entry
	err := s.List(t.Context(), prefix, func(e migrate.Entry) error {
		entries = append(entries, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func names(entries []migrate.Entry) []string {
	var out []string
	for _, e := range entries {
		out = append(out, e.Name)
	}
	return out
}

func wantContent(t *testing.T, s migrate.Store, name, want string) {
	t.Helper()
	got, _, err := s.Get(t.Context(), name)
	if err != nil || string(got) != want {
		t.Fatalf("%s has %d bytes, want %d; %v", name, len(got), len(want), err)
	}
}

func wantIs(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: %v, want %v", what, err, want)
	}
}
