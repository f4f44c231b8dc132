package functionhost

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"mailferry/infra/local/faults"
)

const (
	// hostContainer holds what the host must remember (HostContainerNames).
	hostContainer = "azure-webjobs-hosts"
	// hostID is the directory of this host in it.
	hostID = "local"
)

// blobLister stands in for Event Grid: it lists a container and sends one event
// for every version of a blob that fits. In the real service a webhook of the
// host takes the event in and puts it into the host's queue
// (BlobsExtensionConfigProvider.ProcessEventsAsync in azure-sdk-for-net); this
// one writes to the queue itself. A receipt in hostContainer says that a
// version's event was sent, so that the next start doesn't send it again. There
// is one lister for each blobTrigger of a Host.
type blobLister struct {
	host     *Host
	function *function
	pattern  *blobPattern
	data     *azblob.Client // where the blobs are
	receipts *azblob.Client // AzureWebJobsStorage
	queue    *storageQueue
	sent     map[blobVersion]bool // run's own: versions that need no look any more
}

// blobVersion is what an event is about: a blob overwritten has a new ETag.
type blobVersion struct{ name, etag string }

// newVersion drops the quotes of an ETag: headers have them, listings don't.
func newVersion(name string, etag *azcore.ETag) blobVersion {
	return blobVersion{name, strings.Trim(string(or(etag, "")), `"`)}
}

func (h *Host) blobLister(f *function) (*blobLister, error) {
	l := &blobLister{host: h, function: f, sent: map[blobVersion]bool{}}
	var err error
	if l.pattern, err = parseBlobPattern(f.trigger.Path); err != nil {
		return nil, err
	}
	if l.data, err = h.settings.blobs(f.trigger.Connection); err != nil {
		return nil, err
	}
	if l.receipts, err = h.settings.blobs(""); err != nil {
		return nil, err
	}
	l.queue, err = h.settings.queue("", foundBlobs)
	return l, err
}

// run lists the container every poll interval.
func (l *blobLister) run() {
	ctx := l.host.intake
	for {
		if err := l.scan(ctx); err != nil && ctx.Err() == nil {
			l.host.log.Warn("list container", "function", l.function.name, "container", l.pattern.container, "error", err)
		}
		if faults.Pause(ctx, l.host.options.BlobPoll) != nil {
			return
		}
	}
}

// scan sends an event for every new version of a matching blob and forgets
// versions that are gone. A container that doesn't exist is empty.
func (l *blobLister) scan(ctx context.Context) error {
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
			if err := l.notice(ctx, version); err != nil {
				return err
			}
		}
	}
	for version := range l.sent {
		if !listed[version] {
			delete(l.sent, version)
		}
	}
	return nil
}

// notice sends the version's event unless the blob doesn't match or it was sent
// before.
func (l *blobLister) notice(ctx context.Context, version blobVersion) error {
	if _, ok := l.pattern.match(version.name); !ok || l.sent[version] {
		return nil
	}
	known, err := l.hasReceipt(ctx, version)
	if err == nil && !known {
		err = l.publish(ctx, version)
	}
	if err == nil {
		l.sent[version] = true
	}
	return err
}

// publish sends the event as the plan has it at host.blob-event.
func (l *blobLister) publish(ctx context.Context, version blobVersion) error {
	rule := l.host.options.Faults.At("host.blob-event", l.function.name+" "+l.pattern.container+"/"+version.name)
	if rule == nil {
		return l.send(ctx, version, 1)
	}
	switch rule.Do {
	case faults.Delay, faults.AnswerLate, faults.WorkLate:
		l.host.tasks.Go(func() { l.sendLater(version, rule.After) })
		return nil
	case faults.AnswerTwice, faults.LoseAnswer: // an event whose answer is lost is sent again
		return l.send(ctx, version, 2)
	case faults.Cut:
		return l.send(ctx, version, 0)
	}
	return l.send(ctx, version, 1)
}

// sendLater lets later events overtake this one.
func (l *blobLister) sendLater(version blobVersion, after time.Duration) {
	ctx := l.host.intake
	err := sleep(ctx, l.host.clock, after)
	if err == nil {
		err = l.send(ctx, version, 1)
	}
	if err != nil && ctx.Err() == nil {
		l.host.log.Warn("send blob event", "function", l.function.name, "error", err)
	}
}

// send puts the event into the queue so many times and then writes the receipt.
func (l *blobLister) send(ctx context.Context, version blobVersion, times int) error {
	message, err := json.Marshal(blobMessage{Type: "BlobTrigger", FunctionID: functionID(l.function), BlobType: "BlockBlob",
		ContainerName: l.pattern.container, BlobName: version.name, ETag: `"` + version.etag + `"`})
	if err != nil {
		return err
	}
	for range times {
		if err := l.queue.put(ctx, message); err != nil {
			return fmt.Errorf("put blob into the queue: %w", err)
		}
	}
	l.host.found.ring()
	return putJSON(ctx, l.receipts, l.receipt(version), struct{}{})
}

// functionID is how the host calls a function in what it stores.
func functionID(f *function) string { return "Host.Functions." + f.name }

// receipt is where the real host keeps its receipt (BlobReceiptManager).
func (l *blobLister) receipt(version blobVersion) string {
	return strings.Join([]string{"blobreceipts", hostID, functionID(l.function), version.etag, l.pattern.container, version.name}, "/")
}

func (l *blobLister) hasReceipt(ctx context.Context, version blobVersion) (bool, error) {
	_, err := l.receipts.ServiceClient().NewContainerClient(hostContainer).NewBlobClient(l.receipt(version)).GetProperties(ctx, nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ResourceNotFound, bloberror.ContainerNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read blob receipt: %w", err)
	}
	return true, nil
}
