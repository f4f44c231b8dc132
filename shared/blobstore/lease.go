package blobstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"mailferry/shared/migrate"
)

// Acquire implements migrate.Store. d is 15 to 60 s in whole seconds:
// https://learn.microsoft.com/rest/api/storageservices/lease-blob.
func (s *Store) Acquire(ctx context.Context, name string, d time.Duration) (migrate.Lease, error) {
	if d < 15*time.Second || d > time.Minute || d%time.Second != 0 {
		return nil, &migrate.Error{Op: "acquire lease", Kind: migrate.Configuration, Err: fmt.Errorf("%s is not 15 to 60 whole seconds", d)}
	}
	// A lease id of our own: a retry that meets its own first try renews that lease.
	client, err := lease.NewBlobClient(s.container.NewBlobClient(name), nil)
	if err != nil {
		return nil, &migrate.Error{Op: "acquire lease", Kind: migrate.Unexpected, Err: err}
	}
	_, err = client.AcquireLease(ctx, int32(d/time.Second), nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		if err := s.createEmpty(ctx, name); err != nil {
			return nil, err
		}
		_, err = client.AcquireLease(ctx, int32(d/time.Second), nil)
	}
	if err != nil {
		return nil, fault(ctx, "acquire lease", name, err)
	}
	return &held{client: client, name: name}, nil
}

// createEmpty makes a blob to lease. One that is there is left alone.
func (s *Store) createEmpty(ctx context.Context, name string) error {
	_, err := s.container.NewBlockBlobClient(name).Upload(ctx, body(nil), &blockblob.UploadOptions{
		AccessConditions: conditions(migrate.Condition{Absent: true}),
	})
	if err != nil && !exists(err) {
		return fault(ctx, "create blob to lease", name, err)
	}
	return nil
}

// held is a migrate.Lease. One that ran out can still be renewed at Azure while nobody else took it
// and nobody wrote the blob.
type held struct {
	client *lease.BlobClient
	name   string
}

// Renew implements migrate.Lease.
func (h *held) Renew(ctx context.Context) error {
	_, err := h.client.RenewLease(ctx, nil)
	if err = fault(ctx, "renew lease", h.name, err); errors.Is(err, migrate.ErrNotFound) {
		return fmt.Errorf("renew lease of %s: %w", h.name, migrate.ErrLeaseLost)
	}
	return err
}

// Release implements migrate.Lease.
func (h *held) Release(ctx context.Context) error {
	_, err := h.client.ReleaseLease(ctx, nil)
	err = fault(ctx, "release lease", h.name, err)
	if errors.Is(err, migrate.ErrLeaseLost) || errors.Is(err, migrate.ErrNotFound) {
		return nil
	}
	return err
}
