package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"mailferry/shared/migrate"
)

// sentinels are the answers that the contract has a name for:
// https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes.
var sentinels = map[bloberror.Code]error{
	bloberror.BlobNotFound:                       migrate.ErrNotFound,
	bloberror.BlobAlreadyExists:                  migrate.ErrConflict,
	bloberror.ConditionNotMet:                    migrate.ErrConflict,
	bloberror.TargetConditionNotMet:              migrate.ErrConflict,
	bloberror.AppendPositionConditionNotMet:      migrate.ErrConflict,
	bloberror.LeaseAlreadyPresent:                migrate.ErrLeaseHeld,
	bloberror.LeaseIDMissing:                     migrate.ErrLeaseHeld,
	bloberror.LeaseIsBreakingAndCannotBeAcquired: migrate.ErrLeaseHeld,
	bloberror.LeaseIDMismatchWithLeaseOperation:  migrate.ErrLeaseLost,
	bloberror.LeaseNotPresentWithLeaseOperation:  migrate.ErrLeaseLost,
	bloberror.LeaseIsBrokenAndCannotBeRenewed:    migrate.ErrLeaseLost,
	bloberror.LeaseLost:                          migrate.ErrLeaseLost,
}

// fault turns what azblob says into what migrate.Store promises; nil stays nil.
func fault(ctx context.Context, op, name string, err error) error {
	if err == nil {
		return nil
	}
	if name != "" {
		op += " " + name
	}
	var response *azcore.ResponseError
	if errors.As(err, &response) {
		if sentinel, ok := sentinels[bloberror.Code(response.ErrorCode)]; ok {
			return fmt.Errorf("%s: %w", op, sentinel)
		}
		return answered(op, response)
	}
	if ended := ctx.Err(); ended != nil {
		if cause := context.Cause(ctx); !errors.Is(cause, ended) {
			return fmt.Errorf("%s: %w: %w", op, ended, cause)
		}
		return fmt.Errorf("%s: %w", op, ended)
	}
	return unanswered(op, err)
}

// writeFault is fault for a write, which may have been done when its answer did not come.
func writeFault(ctx context.Context, op, name string, err error) error {
	err = fault(ctx, op, name, err)
	var e *migrate.Error
	if errors.As(err, &e) && e.Kind == migrate.Unreachable {
		e.Unknown = true
	}
	return err
}

// answered is an error that the service answered. Its text has many lines and the URL; status and
// code say it.
func answered(op string, response *azcore.ResponseError) error {
	e := &migrate.Error{Op: op, Kind: migrate.Unexpected, Err: fmt.Errorf("storage answered %d %s", response.StatusCode, response.ErrorCode)}
	switch status := response.StatusCode; {
	case bloberror.HasCode(response, bloberror.ContainerNotFound, bloberror.ContainerBeingDeleted, bloberror.ContainerDisabled):
		e.Kind = migrate.Configuration
		e.Advice = "Create the container that the settings name, or name another."
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		e.Kind = migrate.Permission
		e.Advice = "Grant this app's identity the role Storage Blob Data Contributor on the container, and check the storage firewall."
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		e.Kind = migrate.Throttled
		e.RetryAfter = retryAfter(response.RawResponse)
	case status >= http.StatusInternalServerError, status == http.StatusRequestTimeout:
		e.Kind = migrate.Unreachable
	}
	return e
}

// unanswered is an error before or instead of an answer.
func unanswered(op string, err error) error {
	e := &migrate.Error{Op: op, Kind: migrate.Unexpected, Err: err}
	var location *url.Error
	if errors.As(err, &location) {
		e.Err = location.Err // the URL may carry a shared access signature
	}
	var network net.Error
	var token interface{ NonRetriable() } // azcore/internal/errorinfo: what azidentity's errors implement
	switch {
	case errors.As(err, &token):
		e.Kind = migrate.Permission
		e.Advice = "Check the identity that this app signs in to storage with."
	case location != nil, errors.As(err, &network), errors.Is(err, io.ErrUnexpectedEOF):
		e.Kind = migrate.Unreachable
	}
	return e
}

func retryAfter(response *http.Response) time.Duration {
	if response == nil {
		return 0
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	return 0
}

func conflict(op, name string) error {
	return fmt.Errorf("%s %s: %w", op, name, migrate.ErrConflict)
}
