package migratetest

import (
	"context"
	"time"

	"mailferry/shared/migrate"
)

// lease is a migrate.Lease of a Store.
type lease struct {
	store  *Store
	name   string
	id     int
	length time.Duration
}

// Acquire implements migrate.Store. d is 15 to 60 s in whole seconds, as at Azure.
func (s *Store) Acquire(ctx context.Context, name string, d time.Duration) (migrate.Lease, error) {
	var got *lease
	err := s.do(ctx, "acquire", name, func() error {
		if d < 15*time.Second || d > time.Minute || d%time.Second != 0 {
			return refuse("a lease of %s", d)
		}
		if s.blobs[name] == nil {
			s.store(name, &blob{})
		}
		b := s.blobs[name]
		if s.leased(b) {
			return migrate.ErrLeaseHeld
		}
		s.leases++
		b.lease, b.until = s.leases, s.now().Add(d)
		got = &lease{store: s, name: name, id: s.leases, length: d}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return got, nil
}

// Renew implements migrate.Lease. As at Azure, a lease that ran out can still be renewed while
// nobody else took it and nobody wrote the blob.
func (l *lease) Renew(ctx context.Context) error {
	return l.store.do(ctx, "renew", l.name, func() error {
		b := l.store.blobs[l.name]
		if b == nil || b.lease != l.id {
			return migrate.ErrLeaseLost
		}
		b.until = l.store.now().Add(l.length)
		return nil
	})
}

// Release implements migrate.Lease.
func (l *lease) Release(ctx context.Context) error {
	return l.store.do(ctx, "release", l.name, func() error {
		if b := l.store.blobs[l.name]; b != nil && b.lease == l.id {
			b.lease = 0
		}
		return nil
	})
}
