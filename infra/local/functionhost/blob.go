package functionhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

const (
	// hostContainer holds what the host must remember (HostContainerNames).
	hostContainer = "azure-webjobs-hosts"
	// hostID is the directory of this host in it.
	hostID = "local"
)

// blobListener fires one blobTrigger. There is one per Host: the real instances
// share a queue of found blobs.
type blobListener struct {
	host     *Host
	function *function
	pattern  *blobPattern
	data     *azblob.Client // where the blobs are
	receipts *azblob.Client // AzureWebJobsStorage
	slots    chan struct{}
	begun    map[blobVersion]bool // run's own: versions that need no look any more
}

// blobVersion is what fires once: a blob overwritten has a new ETag.
type blobVersion struct{ name, etag string }

// newVersion drops the quotes of an ETag: headers have them, listings don't.
func newVersion(name string, etag *azcore.ETag) blobVersion {
	return blobVersion{name, strings.Trim(string(or(etag, "")), `"`)}
}

func (h *Host) blobTrigger(f *function) ([]func(), error) {
	pattern, err := parseBlobPattern(f.trigger.Path)
	if err != nil {
		return nil, err
	}
	data, err := h.storageClient(f.trigger.Connection)
	if err != nil {
		return nil, err
	}
	receipts, err := h.storageClient("")
	if err != nil {
		return nil, err
	}
	l := &blobListener{host: h, function: f, pattern: pattern, data: data, receipts: receipts,
		slots: make(chan struct{}, h.config.blobs.concurrency),
		begun: map[blobVersion]bool{}}
	return []func(){l.run}, nil
}

func (h *Host) storageClient(connection string) (*azblob.Client, error) {
	value, err := h.settings.storage(connection)
	if err != nil {
		return nil, err
	}
	client, err := azblob.NewClientFromConnectionString(value, nil)
	if err != nil {
		return nil, fmt.Errorf("read connection %q: it is no storage connection string", connection)
	}
	return client, nil
}

// run lists the container every poll interval.
func (l *blobListener) run() {
	tick := time.NewTicker(l.host.poll)
	defer tick.Stop()
	for {
		if err := l.scan(l.host.intake); err != nil && l.host.intake.Err() == nil {
			l.host.log.Warn("list container", "function", l.function.name, "container", l.pattern.container, "error", err)
		}
		select {
		case <-tick.C:
		case <-l.host.intake.Done():
			return
		}
	}
}

// scan starts an invocation for every new version of a matching blob and
// forgets versions that are gone. A container that doesn't exist is empty.
func (l *blobListener) scan(ctx context.Context) error {
	listed := map[blobVersion]bool{}
	pager := l.data.NewListBlobsFlatPager(l.pattern.container, &azblob.ListBlobsFlatOptions{Prefix: &l.pattern.prefix})
	for pager.More() {
		page, err := pager.NextPage(ctx)
		if bloberror.HasCode(err, bloberror.ContainerNotFound) {
			break
		}
		if err != nil {
			return err
		}
		for _, item := range page.Segment.BlobItems {
			version := newVersion(*item.Name, item.Properties.ETag)
			listed[version] = true
			if err := l.begin(ctx, version); err != nil {
				return err
			}
		}
	}
	for version := range l.begun {
		if !listed[version] {
			delete(l.begun, version)
		}
	}
	return nil
}

// begin starts an invocation unless the version doesn't match, was begun
// before, or has a receipt that says it is finished with.
func (l *blobListener) begin(ctx context.Context, version blobVersion) error {
	tokens, ok := l.pattern.match(version.name)
	if !ok || l.begun[version] {
		return nil
	}
	receipt, err := l.receipt(ctx, version)
	if err != nil {
		return err
	}
	if receipt.Finished {
		l.begun[version] = true
		return nil
	}
	select {
	case l.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	l.begun[version] = true
	l.host.tasks.Go(func() {
		defer func() { <-l.slots }()
		l.handle(ctx, version, tokens, receipt)
	})
	return nil
}

// handle invokes the function until it succeeds, up to poisonBlobThreshold
// times over all runs of the host, and then records a poison blob.
func (l *blobListener) handle(ctx context.Context, version blobVersion, tokens map[string]string, r blobReceipt) {
	log := l.host.log.With("function", l.function.name, "etag", version.etag)
	for ctx.Err() == nil {
		err := l.invoke(ctx, version, tokens)
		if errors.Is(err, errBlobGone) || ctx.Err() != nil && err != nil {
			return
		}
		r.Tries++
		r.Finished = err == nil || r.Tries >= l.host.config.blobs.tries
		if err != nil {
			log.Error("invocation failed", "try", r.Tries, "error", err)
		}
		if err := l.finish(version, r, err); err != nil {
			log.Error("keep blob receipt", "error", err)
		}
		if r.Finished {
			return
		}
	}
}

// errBlobGone says that the version is no more the blob's current one.
var errBlobGone = errors.New("the blob was deleted or overwritten")

// invoke reads the blob and invokes the function once.
func (l *blobListener) invoke(ctx context.Context, version blobVersion, tokens map[string]string) error {
	parent := l.data.ServiceClient().NewContainerClient(l.pattern.container)
	client := parent.NewBlobClient(version.name)
	properties, err := client.GetProperties(ctx, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ResourceNotFound, bloberror.ContainerNotFound) ||
		err == nil && newVersion(version.name, properties.ETag) != version {
		return errBlobGone
	}
	if err != nil {
		return fmt.Errorf("read the blob's properties: %w", err)
	}
	response, err := client.DownloadStream(ctx, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound) {
		return errBlobGone
	}
	if err != nil {
		return fmt.Errorf("read the blob: %w", err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the blob: %w", err)
	}
	in := l.host.pick()
	if in == nil {
		return errStopped
	}
	e := newEnvelope(l.function, content, blobMetadata(blobURL(parent, version.name), properties, tokens))
	return in.invoke(l.host.work, l.function, e)
}

// blobURL leaves the slashes of a name as they are (BlobUriBuilder in
// azure-sdk-for-net), which the client used here does not.
func blobURL(c *container.Client, name string) string {
	segments := strings.Split(name, "/")
	for i, segment := range segments {
		segments[i] = url.PathEscape(segment)
	}
	return c.URL() + "/" + strings.Join(segments, "/")
}

// blobMetadata is the binding data of a blob (BlobTriggerBinding in
// azure-sdk-for-net), with the tokens of the path over it.
//
// Properties has the names of Azure.Storage.Blobs.Models.BlobProperties, the
// enumerations as numbers, and an ETag without content: Newtonsoft.Json writes
// the struct Azure.ETag as {} (https://github.com/Azure/azure-sdk-for-net/pull/5469).
func blobMetadata(uri string, p blob.GetPropertiesResponse, tokens map[string]string) metadata {
	user := map[string]string{}
	for key, value := range p.Metadata {
		user[key] = or(value, "")
	}
	m := metadata{"Uri": quoted(uri), "Metadata": user, "Properties": map[string]any{
		"LastModified":            timestamp(or(p.LastModified, time.Time{}), "+00:00"),
		"CreatedOn":               timestamp(or(p.CreationTime, time.Time{}), "+00:00"),
		"Metadata":                user,
		"BlobType":                0, // BlobType.Block
		"LeaseDuration":           0,
		"LeaseState":              0,
		"LeaseStatus":             1, // LeaseStatus.Unlocked
		"ContentLength":           or(p.ContentLength, 0),
		"ContentType":             p.ContentType,
		"ETag":                    struct{}{},
		"ContentHash":             p.ContentMD5,
		"ContentEncoding":         p.ContentEncoding,
		"ContentDisposition":      p.ContentDisposition,
		"ContentLanguage":         p.ContentLanguage,
		"CacheControl":            p.CacheControl,
		"BlobSequenceNumber":      0,
		"AcceptRanges":            p.AcceptRanges,
		"BlobCommittedBlockCount": 0,
		"IsServerEncrypted":       or(p.IsServerEncrypted, false),
		"AccessTier":              p.AccessTier,
		"AccessTierInferred":      or(p.AccessTierInferred, false),
		"VersionId":               p.VersionID,
		"IsLatestVersion":         or(p.IsCurrentVersion, false),
		"TagCount":                or(p.TagCount, 0),
	}}
	for token, value := range tokens {
		m.set(token, quoted(value))
	}
	return m
}
