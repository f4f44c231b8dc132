// Package migratetest has what tests of the domain and of its adapters share.
package migratetest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"mailferry/shared/migrate"
)

// The limits of Azure Blob Storage that Store has too:
// https://learn.microsoft.com/azure/storage/blobs/scalability-targets and
// https://learn.microsoft.com/rest/api/storageservices/append-block.
const (
	maxBlocks      = 50_000
	maxAppendBlock = 4 << 20
	maxMetadata    = 1 << 10 // migrate.Store's own
)

// Hook is asked at every operation of a Store: "get", "put", "delete", "list", "append", "open",
// "acquire", "renew" or "release". An error that it returns is the operation's.
type Hook func(op, name string) error

// Store is migrate.Store in memory, as strict as Azure Blob Storage. Make it with NewStore.
type Store struct {
	// Before runs ahead of an operation: with an error the operation does not happen.
	Before Hook
	// After runs behind one that succeeded: with an error its answer is lost, but it has happened.
	After Hook

	now func() time.Time

	mu       sync.Mutex
	blobs    map[string]*blob
	versions int // counts writes, for ETags
	leases   int // counts leases, for their ids
}

var _ migrate.Store = (*Store)(nil)

type blob struct {
	content  []byte // only ever appended to
	metadata map[string]string
	etag     migrate.ETag
	modified time.Time
	appended bool // an append blob
	blocks   int
	lease    int // id of the last lease, 0 if none
	until    time.Time
}

// NewStore returns an empty store whose leases run on the given clock; nil is time.Now.
func NewStore(now func() time.Time) *Store {
	if now == nil {
		now = time.Now
	}
	return &Store{now: now, blobs: map[string]*blob{}}
}

// do runs an operation under the lock, between the hooks.
func (s *Store) do(ctx context.Context, op, name string, work func() error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	if s.Before != nil {
		if err := s.Before(op, name); err != nil {
			return err
		}
	}
	s.mu.Lock()
	err := work()
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s %s: %w", op, name, err)
	}
	if s.After != nil {
		return s.After(op, name)
	}
	return nil
}

// Get implements migrate.Store.
func (s *Store) Get(ctx context.Context, name string) ([]byte, migrate.ETag, error) {
	var content []byte
	var tag migrate.ETag
	err := s.do(ctx, "get", name, func() error {
		b := s.blobs[name]
		if b == nil {
			return migrate.ErrNotFound
		}
		content, tag = bytes.Clone(b.content), b.etag
		return nil
	})
	if err != nil {
		return nil, "", err
	}
	return content, tag, nil
}

// peek is a blob's content without an operation.
func (s *Store) peek(name string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.blobs[name]
	if b == nil {
		return nil, false
	}
	return b.content, true
}

// Put implements migrate.Store. An empty metadata value is not kept.
func (s *Store) Put(ctx context.Context, name string, content []byte, metadata map[string]string, c migrate.Condition) (migrate.ETag, error) {
	var tag migrate.ETag
	err := s.do(ctx, "put", name, func() error {
		if err := checkMetadata(metadata); err != nil {
			return err
		}
		old := s.blobs[name]
		if err := s.mayWrite(old, c); err != nil {
			return err
		}
		b := &blob{content: bytes.Clone(content), metadata: maps.Clone(metadata)}
		maps.DeleteFunc(b.metadata, func(_, value string) bool { return value == "" })
		s.store(name, b)
		tag = b.etag
		return nil
	})
	if err != nil {
		return "", err
	}
	return tag, nil
}

// Delete implements migrate.Store.
func (s *Store) Delete(ctx context.Context, name string, c migrate.Condition) error {
	return s.do(ctx, "delete", name, func() error {
		b := s.blobs[name]
		if b == nil {
			return migrate.ErrNotFound
		}
		if err := s.mayWrite(b, c); err != nil {
			return err
		}
		delete(s.blobs, name)
		return nil
	})
}

// List implements migrate.Store. It yields what was there when it began.
func (s *Store) List(ctx context.Context, prefix string, yield func(migrate.Entry) error) error {
	var entries []migrate.Entry
	err := s.do(ctx, "list", prefix, func() error {
		for _, name := range slices.Sorted(maps.Keys(s.blobs)) {
			if strings.HasPrefix(name, prefix) {
				entries = append(entries, s.entry(name))
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := yield(e); err != nil {
			return err
		}
	}
	return nil
}

// Append implements migrate.Store. A blob that does not exist has no length, so that at above 0 is
// migrate.ErrConflict.
func (s *Store) Append(ctx context.Context, name string, block []byte, at int64) (int64, error) {
	err := s.do(ctx, "append", name, func() error {
		old := s.blobs[name]
		if old == nil {
			old = &blob{appended: true}
		}
		switch {
		case len(block) == 0 || len(block) > maxAppendBlock:
			return refuse("a block of %d bytes", len(block))
		case !old.appended:
			return refuse("it is no append blob")
		case int64(len(old.content)) != at:
			return migrate.ErrConflict
		case old.blocks == maxBlocks:
			return refuse("it has %d blocks already", maxBlocks)
		}
		if err := s.mayWrite(old, migrate.Condition{}); err != nil {
			return err
		}
		// Who reads the old version has its length, and never sees what is appended behind it.
		s.store(name, &blob{content: append(old.content, block...), appended: true, blocks: old.blocks + 1})
		return nil
	})
	if err != nil {
		return 0, err
	}
	return at + int64(len(block)), nil
}

// Open implements migrate.Store. The stream shows the blob as it was when it was opened.
func (s *Store) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	var rest []byte
	err := s.do(ctx, "open", name, func() error {
		b := s.blobs[name]
		if b == nil {
			return migrate.ErrNotFound
		}
		rest = b.content[min(offset, int64(len(b.content))):]
		return nil
	})
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(rest)), nil
}

// mayWrite checks a write's condition and the lease of what it writes over, which may be nil.
func (s *Store) mayWrite(b *blob, c migrate.Condition) error {
	switch {
	case c.Absent && b != nil,
		c.Match != "" && (b == nil || b.etag != c.Match):
		return migrate.ErrConflict
	case b != nil && s.leased(b):
		return migrate.ErrLeaseHeld
	}
	return nil
}

// store puts b in place as a new version.
func (s *Store) store(name string, b *blob) {
	s.versions++
	b.etag = migrate.ETag(fmt.Sprintf(`"0x%08X"`, s.versions))
	b.modified = s.now()
	s.blobs[name] = b
}

func (s *Store) entry(name string) migrate.Entry {
	b := s.blobs[name]
	metadata := maps.Clone(b.metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	return migrate.Entry{
		Name: name, ETag: b.etag, Size: int64(len(b.content)), Modified: b.modified,
		Metadata: metadata, Leased: s.leased(b),
	}
}

func (s *Store) leased(b *blob) bool { return b.lease != 0 && s.now().Before(b.until) }

// checkMetadata holds a caller to what migrate.Store asks for.
func checkMetadata(metadata map[string]string) error {
	size := 0
	for key, value := range metadata {
		size += len(key) + len(value)
		if key == "" || strings.Trim(key, "abcdefghijklmnopqrstuvwxyz0123456789") != "" || key[0] <= '9' {
			return refuse("the metadata key %q", key)
		}
		if strings.TrimSpace(value) != value || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return refuse("the metadata value of %s", key)
		}
	}
	if size > maxMetadata {
		return refuse("%d bytes of metadata", size)
	}
	return nil
}

// refuse is an error that a caller must not run into.
func refuse(format string, a ...any) error {
	return &migrate.Error{Op: "store", Kind: migrate.Unexpected, Err: fmt.Errorf(format, a...)}
}
