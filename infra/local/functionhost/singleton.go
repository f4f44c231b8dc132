package functionhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/google/uuid"
)

// The singleton section of host.json, by its defaults.
//
// https://learn.microsoft.com/azure/azure-functions/functions-host-json#singleton
const (
	// listenerLockPeriod is how long a listener's lease lasts; it is renewed at
	// half of it.
	listenerLockPeriod = time.Minute
	// listenerLockRecovery is the pause before a lease that somebody else has is
	// asked for again (listenerLockRecoveryPollingInterval).
	listenerLockRecovery = time.Minute
)

// singleton is a lease that at most one instance of all hosts on one storage
// account has.
type singleton interface {
	// take reports whether the lease is this one's now.
	take(ctx context.Context) (bool, error)
	renew(ctx context.Context) error
	release(ctx context.Context) error
}

// whileHeld does something whenever the instance has the lease, until it ends
// (SingletonListener in azure-webjobs-sdk). do ends when its context does: the
// lease is lost, or the instance ends. A crash doesn't give the lease back.
func whileHeld(in *instance, lock singleton, name string, do func(context.Context)) {
	log := in.log.With("function", name)
	for in.alive.Err() == nil {
		has, err := lock.take(in.alive)
		if err != nil && in.alive.Err() == nil {
			log.Warn("take singleton lease", "error", err)
		}
		if has {
			holdLease(in, lock, name, do)
		}
		if sleep(in.alive, in.host.clock, listenerLockRecovery) != nil {
			return
		}
	}
}

func holdLease(in *instance, lock singleton, name string, do func(context.Context)) {
	held, lose := context.WithCancel(in.alive)
	var renewing sync.WaitGroup
	renewing.Go(func() {
		defer lose()
		if err := keepLease(held, in.host.clock, lock); err != nil {
			in.log.Error("singleton lease lost", "function", name, "error", err)
		}
	})
	do(held)
	lose()
	renewing.Wait()
	ctx, cancel := context.WithTimeout(in.life, settleWithin)
	defer cancel()
	if err := lock.release(ctx); err != nil && in.life.Err() == nil {
		in.log.Warn("release singleton lease", "function", name, "error", err)
	}
}

// keepLease renews until ctx ends, and fails when the lease has run out.
func keepLease(ctx context.Context, c clock, lock singleton) error {
	until := c.Now().Add(listenerLockPeriod)
	for sleep(ctx, c, listenerLockPeriod/2) == nil {
		err := lock.renew(ctx)
		switch {
		case ctx.Err() != nil:
		case err == nil:
			until = c.Now().Add(listenerLockPeriod)
		case !c.Now().Before(until) || errors.Is(err, errLeaseTaken) || bloberror.HasCode(err, bloberror.LeaseIDMismatchWithLeaseOperation, bloberror.LeaseLost,
			bloberror.LeaseIsBrokenAndCannotBeRenewed, bloberror.LeaseNotPresentWithLeaseOperation, bloberror.BlobNotFound):
			return err
		}
	}
	return nil
}

// blobLock is a lease on a blob in hostContainer, where the real host has it
// (StorageBaseDistributedLockManager in azure-webjobs-sdk).
type blobLock struct {
	client *azblob.Client
	name   string
	lease  *lease.BlobClient
}

func (l *blobLock) take(ctx context.Context) (bool, error) {
	target := l.client.ServiceClient().NewContainerClient(hostContainer).NewBlobClient(l.name)
	id := uuid.NewString()
	held, err := lease.NewBlobClient(target, &lease.BlobClientOptions{LeaseID: &id})
	if err != nil {
		return false, err
	}
	acquire := func() error {
		_, err := held.AcquireLease(ctx, int32(listenerLockPeriod/time.Second), nil)
		return err
	}
	if err = acquire(); bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ResourceNotFound, bloberror.ContainerNotFound) {
		if err = l.create(ctx); err == nil {
			err = acquire()
		}
	}
	if bloberror.HasCode(err, bloberror.LeaseAlreadyPresent) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("acquire lease on %s: %w", l.name, err)
	}
	l.lease = held
	return true, nil
}

// create makes the blob; that it is there by now is no error.
func (l *blobLock) create(ctx context.Context) error {
	if err := createHostContainer(ctx, l.client); err != nil {
		return err
	}
	any := azcore.ETagAny
	_, err := l.client.UploadBuffer(ctx, hostContainer, l.name, nil, &azblob.UploadBufferOptions{
		AccessConditions: &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &any}}})
	if bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.LeaseIDMissing) {
		return nil
	}
	return err
}

func (l *blobLock) renew(ctx context.Context) error {
	_, err := l.lease.RenewLease(ctx, nil)
	return err
}

func (l *blobLock) release(ctx context.Context) error {
	_, err := l.lease.ReleaseLease(ctx, nil)
	return err
}

// memoryLease is the lease of a timer when there is no AzureWebJobsStorage, for
// the instances of one Host.
type memoryLease struct {
	mu    sync.Mutex
	owner any
	until time.Time
}

// memoryLock is one owner's side of a memoryLease.
type memoryLock struct {
	lease *memoryLease
	owner any
	clock clock
}

var errLeaseTaken = errors.New("the lease is somebody else's")

func (l *memoryLock) take(context.Context) (bool, error) {
	l.lease.mu.Lock()
	defer l.lease.mu.Unlock()
	now := l.clock.Now()
	if l.lease.owner != nil && l.lease.owner != l.owner && now.Before(l.lease.until) {
		return false, nil
	}
	l.lease.owner, l.lease.until = l.owner, now.Add(listenerLockPeriod)
	return true, nil
}

func (l *memoryLock) renew(context.Context) error {
	l.lease.mu.Lock()
	defer l.lease.mu.Unlock()
	if l.lease.owner != l.owner {
		return errLeaseTaken
	}
	l.lease.until = l.clock.Now().Add(listenerLockPeriod)
	return nil
}

// release gives back what is still held. After a crash there is nobody to do it.
func (l *memoryLock) release(ctx context.Context) error {
	l.lease.mu.Lock()
	defer l.lease.mu.Unlock()
	if l.lease.owner == l.owner && ctx.Err() == nil {
		l.lease.owner = nil
	}
	return nil
}
