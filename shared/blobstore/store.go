// Package blobstore is migrate.Store over Azure Blob Storage: one container, blobs by name.
package blobstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"mailferry/shared/migrate"
)

// Store implements migrate.Store. Besides what that says, a write to a blob whose lease is held is
// migrate.ErrLeaseHeld, and an error that may hide a write that was done has Unknown set.
type Store struct {
	container *container.Client
}

var _ migrate.Store = (*Store)(nil)

// New keeps the blobs in a container of the client's account.
func New(client *azblob.Client, container string) *Store {
	return &Store{container: client.ServiceClient().NewContainerClient(container)}
}

// FromConnectionString connects with a storage connection string.
func FromConnectionString(connection, container string) (*Store, error) {
	client, err := azblob.NewClientFromConnectionString(connection, clientOptions())
	if err != nil {
		return nil, &migrate.Error{Op: "read storage connection string", Kind: migrate.Configuration, Err: err}
	}
	return New(client, container), nil
}

// FromURL connects to a blob service such as https://account.blob.core.windows.net with a token,
// which goes over TLS only.
func FromURL(serviceURL string, credential azcore.TokenCredential, container string) (*Store, error) {
	if u, err := url.Parse(serviceURL); err != nil || u.Scheme != "https" || u.Host == "" {
		return nil, &migrate.Error{Op: "read storage URL", Kind: migrate.Configuration, Err: errors.New("it is not https://host")}
	}
	client, err := azblob.NewClient(serviceURL, credential, clientOptions())
	if err != nil {
		return nil, &migrate.Error{Op: "read storage URL", Kind: migrate.Configuration, Err: err}
	}
	return New(client, container), nil
}

// clientOptions bound one try, not the whole: a stalled connection is given up and tried again. A
// stream that outlives a try goes on where it was.
func clientOptions() *azblob.ClientOptions {
	return &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{
		Retry:     policy.RetryOptions{MaxRetries: 4, TryTimeout: time.Minute, RetryDelay: 500 * time.Millisecond, MaxRetryDelay: 10 * time.Second},
		Telemetry: policy.TelemetryOptions{ApplicationID: "mailferry"},
	}}
}

// EnsureContainer creates the container unless it is there.
func (s *Store) EnsureContainer(ctx context.Context) error {
	_, err := s.container.Create(ctx, nil)
	if bloberror.HasCode(err, bloberror.ContainerAlreadyExists, bloberror.ResourceAlreadyExists) {
		return nil
	}
	return fault(ctx, "create container", "", err)
}

// Get implements migrate.Store.
func (s *Store) Get(ctx context.Context, name string) ([]byte, migrate.ETag, error) {
	response, err := s.container.NewBlobClient(name).DownloadStream(ctx, nil)
	if err != nil {
		return nil, "", fault(ctx, "get blob", name, err)
	}
	body := response.NewRetryReader(ctx, nil)
	defer body.Close()
	content, err := io.ReadAll(body)
	if err != nil {
		return nil, "", fault(ctx, "get blob", name, err)
	}
	return content, quoted(response.ETag), nil
}

// Put implements migrate.Store. An empty metadata value is not kept.
func (s *Store) Put(ctx context.Context, name string, content []byte, metadata map[string]string, c migrate.Condition) (migrate.ETag, error) {
	response, err := s.container.NewBlockBlobClient(name).Upload(ctx, body(content), &blockblob.UploadOptions{
		Metadata:         pointers(metadata),
		AccessConditions: conditions(c),
	})
	if err != nil {
		return "", writeFault(ctx, "put blob", name, err)
	}
	return quoted(response.ETag), nil
}

// Delete implements migrate.Store.
func (s *Store) Delete(ctx context.Context, name string, c migrate.Condition) error {
	_, err := s.container.NewBlobClient(name).Delete(ctx, &blob.DeleteOptions{AccessConditions: conditions(c)})
	return writeFault(ctx, "delete blob", name, err)
}

// List implements migrate.Store. An error of yield ends the listing and is returned as it is.
func (s *Store) List(ctx context.Context, prefix string, yield func(migrate.Entry) error) error {
	pager := s.container.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix:  &prefix,
		Include: container.ListBlobsInclude{Metadata: true},
	})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if err != nil {
			return fault(ctx, "list blobs", prefix, err)
		}
		for _, item := range page.Segment.BlobItems {
			if err := yield(entry(item)); err != nil {
				return err
			}
		}
	}
	return nil
}

func entry(item *container.BlobItem) migrate.Entry {
	e := migrate.Entry{Name: *item.Name, Metadata: make(map[string]string, len(item.Metadata))}
	for key, value := range item.Metadata {
		if value != nil {
			e.Metadata[strings.ToLower(key)] = *value
		}
	}
	if p := item.Properties; p != nil {
		e.ETag = quoted(p.ETag)
		e.Size = value(p.ContentLength)
		e.Modified = value(p.LastModified)
		e.Leased = value(p.LeaseStatus) == "locked"
	}
	return e
}

// Open implements migrate.Store. From the end of the blob on there is nothing to read, which is no
// error. When the connection broke and the blob has changed meanwhile, reading on is
// migrate.ErrConflict.
func (s *Store) Open(ctx context.Context, name string, offset int64) (io.ReadCloser, error) {
	response, err := s.container.NewBlobClient(name).DownloadStream(ctx, &blob.DownloadStreamOptions{
		Range: blob.HTTPRange{Offset: offset},
	})
	if bloberror.HasCode(err, bloberror.InvalidRange) {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	if err != nil {
		return nil, fault(ctx, "open blob", name, err)
	}
	return &stream{ctx: ctx, name: name, ReadCloser: response.NewRetryReader(ctx, nil)}, nil
}

// stream gives reading errors their kind.
type stream struct {
	io.ReadCloser
	ctx  context.Context
	name string
}

func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = fault(s.ctx, "read blob", s.name, err)
	}
	return n, err
}

// quoted gives an ETag the form of the header also where it comes from a listing, which has it bare:
// https://learn.microsoft.com/rest/api/storageservices/list-blobs (response body).
func quoted(tag *azcore.ETag) migrate.ETag {
	bare := strings.Trim(string(value(tag)), `"`)
	return migrate.ETag(fmt.Sprintf("%q", bare))
}

func conditions(c migrate.Condition) *blob.AccessConditions {
	m := &blob.ModifiedAccessConditions{}
	if c.Absent {
		m.IfNoneMatch = to.Ptr(azcore.ETagAny)
	}
	if c.Match != "" {
		m.IfMatch = to.Ptr(azcore.ETag(c.Match))
	}
	return &blob.AccessConditions{ModifiedAccessConditions: m}
}

func pointers(metadata map[string]string) map[string]*string {
	out := make(map[string]*string, len(metadata))
	for key, value := range metadata {
		if value != "" {
			out[key] = &value
		}
	}
	return out
}

func body(content []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(content)) }

func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
