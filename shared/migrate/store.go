package migrate

import (
	"context"
	"errors"
	"io"
	"time"
)

// ETag names one version of a blob.
type ETag string

// What a Store says with errors.Is.
var (
	ErrNotFound  = errors.New("no such blob")
	ErrConflict  = errors.New("the blob has changed")              // a condition did not hold
	ErrLeaseHeld = errors.New("the lease is held by someone else") // acquire
	ErrLeaseLost = errors.New("the lease is no longer ours")       // renew, release
)

// Condition guards a write. The zero value writes whatever is there.
type Condition struct {
	Absent bool // only if no such blob exists (If-None-Match: *)
	Match  ETag // only if this is the current version (If-Match)
}

// Entry is a blob as a listing shows it.
type Entry struct {
	Name     string
	ETag     ETag
	Size     int64
	Modified time.Time
	Metadata map[string]string // keys in lower case
	Leased   bool
}

// Store keeps blobs. Reads see the writes before them; a write is atomic. Names are slash-separated
// paths. Methods may be called by several goroutines at once. Implementations retry what is safe to
// retry; every error is one of the sentinels above (by errors.Is), a *Error, or the context's.
type Store interface {
	// Get returns a blob's content and version, or ErrNotFound.
	Get(ctx context.Context, name string) ([]byte, ETag, error)

	// Put writes a blob. Metadata is ASCII, at most 1 KiB; keys are lower-case letters and digits.
	// A condition that does not hold is ErrConflict. When the first try's answer got lost and the
	// retry meets its own write, that may come back as ErrConflict too: the caller reads again.
	Put(ctx context.Context, name string, content []byte, metadata map[string]string, c Condition) (ETag, error)

	// Delete removes a blob. One that does not exist is ErrNotFound.
	Delete(ctx context.Context, name string, c Condition) error

	// List yields every blob whose name begins with prefix, in order of name.
	List(ctx context.Context, prefix string, yield func(Entry) error) error

	// Append adds a block to an append blob, which is created when at is 0, and returns the new
	// length. The block lands only if the blob's length is at (If-AppendPosition-Equal), else
	// ErrConflict. A blob takes 50,000 blocks.
	Append(ctx context.Context, name string, block []byte, at int64) (int64, error)

	// Open streams a blob from offset on, or gives ErrNotFound.
	Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error)

	// Acquire takes the lease of a blob for d (15 to 60 s at Azure), creating the blob when it does
	// not exist. A lease that someone else holds is ErrLeaseHeld.
	Acquire(ctx context.Context, name string, d time.Duration) (Lease, error)
}

// Lease is the right to a blob. It ends by itself when it is not renewed.
type Lease interface {
	// Renew extends the lease by its length from now on. ErrLeaseLost is final.
	Renew(ctx context.Context) error
	// Release ends the lease. One that was lost already is no error.
	Release(ctx context.Context) error
}
