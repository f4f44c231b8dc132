package blobstore

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"mailferry/shared/migrate"
)

// Append implements migrate.Store. When the first try's answer got lost and the retry meets its own
// block, that is migrate.ErrConflict: the caller reads the blob from at on and compares. A blob that
// does not exist has no length, so that at above 0 is migrate.ErrConflict too. The block has 1 byte
// to 4 MiB.
func (s *Store) Append(ctx context.Context, name string, block []byte, at int64) (int64, error) {
	client := s.container.NewAppendBlobClient(name)
	if at == 0 {
		_, err := client.Create(ctx, &appendblob.CreateOptions{AccessConditions: conditions(migrate.Condition{Absent: true})})
		// One that is there may still be empty: the position decides.
		if err != nil && !exists(err) {
			return 0, writeFault(ctx, "create append blob", name, err)
		}
	}
	_, err := client.AppendBlock(ctx, body(block), &appendblob.AppendBlockOptions{
		AppendPositionAccessConditions: &appendblob.AppendPositionAccessConditions{AppendPosition: to.Ptr(at)},
	})
	if err = writeFault(ctx, "append to blob", name, err); errors.Is(err, migrate.ErrNotFound) {
		return 0, conflict("append to blob", name)
	} else if err != nil {
		return 0, err
	}
	return at + int64(len(block)), nil
}

// exists reports whether If-None-Match: * did not hold. A leased blob says so by its lease.
func exists(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet, bloberror.LeaseIDMissing)
}
