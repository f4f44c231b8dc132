package functionhost

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// blobMessage is what lies in the host's queue for a blob that was found, and
// in the poison queue for one that was given up (BlobTriggerMessage.cs in
// azure-sdk-for-net).
type blobMessage struct {
	Type          string
	FunctionID    string `json:"FunctionId"`
	BlobType      string
	ContainerName string
	BlobName      string
	ETag          string
}

// parseBlobMessage reads a message as it lies in the queue.
func parseBlobMessage(content string) (blobMessage, error) {
	var m blobMessage
	data, err := base64.StdEncoding.DecodeString(content)
	if err == nil {
		err = json.Unmarshal(data, &m)
	}
	if err == nil && m.FunctionID == "" {
		err = errors.New("no FunctionId")
	}
	if err != nil {
		return m, fmt.Errorf("read blob trigger message: %w", err)
	}
	return m, nil
}

// blobListener fires the blobTriggers of one instance. All instances take from
// one queue (SharedBlobQueueListenerFactory.cs in azure-sdk-for-net).
type blobListener struct {
	instance *instance
	queue    *storageQueue
	poison   *storageQueue // for a blob whose account has no queues
	triggers map[string]*blobTrigger
}

// blobTrigger is one function of a listener.
type blobTrigger struct {
	function *function
	pattern  *blobPattern
	data     *azblob.Client
	poison   *storageQueue
}

// blobListener returns nil when no function has a blobTrigger.
func (in *instance) blobListener() (*blobListener, error) {
	h := in.host
	l := &blobListener{instance: in, triggers: map[string]*blobTrigger{}}
	for _, f := range h.functions {
		if !f.trigger.is("blobTrigger") {
			continue
		}
		t := &blobTrigger{function: f}
		var failed [3]error
		t.pattern, failed[0] = parseBlobPattern(f.trigger.Path)
		t.data, failed[1] = h.settings.blobs(f.trigger.Connection)
		t.poison, failed[2] = h.settings.queue(f.trigger.Connection, poisonBlobs)
		if err := errors.Join(failed[:]...); err != nil {
			return nil, fmt.Errorf("function %s: %w", f.name, err)
		}
		l.triggers[functionID(f)] = t
	}
	if len(l.triggers) == 0 {
		return nil, nil
	}
	var err error
	if l.queue, err = h.settings.queue("", foundBlobs); err != nil {
		return nil, err
	}
	l.poison, err = h.settings.queue("", poisonBlobs)
	return l, err
}

// run takes messages while invocations are allowed: at once when this host put
// one into the queue, else every poll interval.
func (l *blobListener) run() {
	in := l.instance
	slots := make(chan struct{}, in.config.blobs.concurrency)
	for in.alive.Err() == nil {
		select {
		case slots <- struct{}{}:
		case <-in.alive.Done():
			return
		}
		bell := in.host.found.next()
		// A call that is cut could leave a message hidden: it ends by itself.
		m, err := l.queue.take(in.life, in.host.options.BlobVisibility)
		if m != nil {
			in.tasks.Go(func() {
				defer func() { <-slots }()
				l.handle(m)
			})
			continue
		}
		<-slots
		if err != nil && in.life.Err() == nil {
			in.log.Warn("take from the queue of found blobs", "error", err)
		}
		l.wait(bell)
	}
}

func (l *blobListener) wait(bell <-chan struct{}) {
	poll := time.NewTimer(l.instance.host.options.BlobPoll)
	defer poll.Stop()
	select {
	case <-bell:
	case <-poll.C:
	case <-l.instance.alive.Done():
	}
}

// handle invokes the function for one message. Then the message is removed or,
// when the invocation failed, given back at once, or moved to the poison queue
// when it was taken poisonBlobThreshold times (QueueProcessor.cs in
// azure-sdk-for-net).
func (l *blobListener) handle(m *queueMessage) {
	in := l.instance
	log := in.log.With("message", m.id, "try", m.count)
	limit := int64(in.config.blobs.tries)
	held := &heldMessage{queue: l.queue, message: m, visibility: in.host.options.BlobVisibility, found: in.host.found}
	message, err := parseBlobMessage(m.content)
	if err == nil && m.count <= limit {
		stop := held.renew(in)
		err = l.execute(message, held)
		stop()
	}
	if in.life.Err() != nil || held.isLost() {
		return
	}
	ctx, cancel := context.WithTimeout(in.life, settleWithin)
	defer cancel()
	switch {
	case err == nil && m.count <= limit:
		err = held.remove(ctx)
	case m.count >= limit:
		log.Error("blob given up", "function", message.FunctionID, "error", err)
		err = l.giveUp(ctx, held, message)
	default:
		log.Error("invocation failed", "function", message.FunctionID, "error", err)
		err = held.hide(ctx, 0)
		in.host.found.ring()
	}
	l.settled(log, err)
}

func (l *blobListener) settled(log *slog.Logger, err error) {
	if err != nil && !isTakenOver(err) && l.instance.life.Err() == nil {
		log.Warn("settle message of a found blob", "error", err)
	}
}

// giveUp moves a message to the poison queue of the blob's account or, if that
// has no queues, of AzureWebJobsStorage.
func (l *blobListener) giveUp(ctx context.Context, held *heldMessage, message blobMessage) error {
	poison := l.poison
	if t := l.triggers[message.FunctionID]; t != nil {
		poison = t.poison
	}
	if err := poison.putText(ctx, held.message.content); err != nil {
		if err := l.poison.putText(ctx, held.message.content); err != nil {
			return fmt.Errorf("put into queue %s: %w", poisonBlobs, err)
		}
	}
	return held.remove(ctx)
}

// execute reads the blob and invokes the function. A message is done with when
// its blob or its function isn't there any more. An event's ETag decides
// nothing: the function gets what the blob holds now, except without Event
// Grid, where a version that was overwritten is left out
// (BlobQueueTriggerExecutor.cs in azure-sdk-for-net).
func (l *blobListener) execute(message blobMessage, held *heldMessage) error {
	t := l.triggers[message.FunctionID]
	if t == nil {
		return nil
	}
	ctx := l.instance.work
	parent := t.data.ServiceClient().NewContainerClient(message.ContainerName)
	client := parent.NewBlobClient(message.BlobName)
	properties, err := client.GetProperties(ctx, nil)
	if isBlobGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the blob's properties: %w", err)
	}
	if !t.function.trigger.eventGrid() && strings.Trim(message.ETag, `"`) != strings.Trim(string(or(properties.ETag, azcore.ETag(""))), `"`) {
		return nil
	}
	tokens, ok := t.pattern.match(message.BlobName)
	if !ok || message.ContainerName != t.pattern.container {
		return fmt.Errorf("blob %s/%s doesn't match the path of function %s", message.ContainerName, message.BlobName, t.function.name)
	}
	response, err := client.DownloadStream(ctx, nil)
	if isBlobGone(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the blob: %w", err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("read the blob: %w", err)
	}
	e := newEnvelope(t.function, content, blobMetadata(blobURL(parent, message.BlobName), properties, tokens))
	return l.instance.invoke(t.function, message.ContainerName+"/"+message.BlobName, e, held.expire)
}

func isBlobGone(err error) bool {
	return bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ResourceNotFound, bloberror.ContainerNotFound)
}
