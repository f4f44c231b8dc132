package functionhost

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2/queueerror"
)

// The queues of the blob trigger (HostQueueNames.cs in azure-sdk-for-net).
const (
	foundBlobs  = "azure-webjobs-blobtrigger-" + hostID
	poisonBlobs = "webjobs-blobtrigger-poison"
)

// blobs is a client for the blobs of a connection; "" is AzureWebJobsStorage.
func (s settings) blobs(connection string) (*azblob.Client, error) {
	value, err := s.storage(connection)
	if err != nil {
		return nil, err
	}
	client, err := azblob.NewClientFromConnectionString(value, nil)
	if err != nil {
		return nil, fmt.Errorf("read connection %q: it is no storage connection string", connection)
	}
	return client, nil
}

// queue is a client for a queue of a connection; "" is AzureWebJobsStorage.
func (s settings) queue(connection, name string) (*storageQueue, error) {
	value, err := s.storage(connection)
	if err != nil {
		return nil, err
	}
	client, err := azqueue.NewQueueClientFromConnectionString(value, name, nil)
	if err != nil {
		return nil, fmt.Errorf("read connection %q: it is no storage connection string", connection)
	}
	return &storageQueue{client}, nil
}

// storageQueue is a queue of Azure Queue Storage. Messages are base64 in it, as
// the WebJobs SDK writes them.
type storageQueue struct{ client *azqueue.QueueClient }

// queueMessage is a message that was taken, and is hidden from others for a
// while.
type queueMessage struct {
	id, receipt string
	content     string // base64
	count       int64  // how often it was taken
}

// put adds a message and makes the queue if it isn't there.
func (q *storageQueue) put(ctx context.Context, content []byte) error {
	return q.putText(ctx, base64.StdEncoding.EncodeToString(content))
}

func (q *storageQueue) putText(ctx context.Context, text string) error {
	_, err := q.client.EnqueueMessage(ctx, text, nil)
	if queueerror.HasCode(err, queueerror.QueueNotFound) {
		if _, err := q.client.Create(ctx, nil); err != nil && !queueerror.HasCode(err, queueerror.QueueAlreadyExists) {
			return fmt.Errorf("create queue: %w", err)
		}
		_, err = q.client.EnqueueMessage(ctx, text, nil)
	}
	return err
}

// take returns nil when there is no message to be seen.
func (q *storageQueue) take(ctx context.Context, hidden time.Duration) (*queueMessage, error) {
	response, err := q.client.DequeueMessage(ctx, &azqueue.DequeueMessageOptions{VisibilityTimeout: seconds(hidden)})
	if queueerror.HasCode(err, queueerror.QueueNotFound) || err == nil && len(response.Messages) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := response.Messages[0]
	return &queueMessage{id: *m.MessageID, receipt: *m.PopReceipt, content: or(m.MessageText, ""), count: or(m.DequeueCount, 1)}, nil
}

// hide changes for how long a message is hidden from now on.
func (q *storageQueue) hide(ctx context.Context, m *queueMessage, hidden time.Duration) error {
	response, err := q.client.UpdateMessage(ctx, m.id, m.receipt, m.content, &azqueue.UpdateMessageOptions{VisibilityTimeout: seconds(hidden)})
	if err == nil {
		m.receipt = or(response.PopReceipt, m.receipt)
	}
	return err
}

func (q *storageQueue) remove(ctx context.Context, m *queueMessage) error {
	_, err := q.client.DeleteMessage(ctx, m.id, m.receipt, nil)
	return err
}

// isTakenOver says that the message is somebody else's by now, or gone.
func isTakenOver(err error) bool {
	return queueerror.HasCode(err, queueerror.PopReceiptMismatch, queueerror.MessageNotFound, queueerror.QueueNotFound)
}

func seconds(d time.Duration) *int32 {
	s := int32(d / time.Second)
	return &s
}

// putJSON writes a blob into hostContainer, which it creates when needed.
func putJSON(ctx context.Context, client *azblob.Client, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = client.UploadBuffer(ctx, hostContainer, name, data, nil)
	if bloberror.HasCode(err, bloberror.ContainerNotFound) {
		if err := createHostContainer(ctx, client); err != nil {
			return err
		}
		_, err = client.UploadBuffer(ctx, hostContainer, name, data, nil)
	}
	if err != nil {
		return fmt.Errorf("write %s/%s: %w", hostContainer, name, err)
	}
	return nil
}

func createHostContainer(ctx context.Context, client *azblob.Client) error {
	_, err := client.CreateContainer(ctx, hostContainer, nil)
	if err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		return fmt.Errorf("create container %s: %w", hostContainer, err)
	}
	return nil
}
