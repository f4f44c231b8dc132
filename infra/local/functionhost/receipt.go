package functionhost

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
)

// blobReceipt is what is remembered of a version.
type blobReceipt struct {
	Tries    int
	Finished bool
}

// path is where the real host keeps its receipt (BlobReceiptManager).
func (l *blobListener) path(version blobVersion) string {
	return strings.Join([]string{"blobreceipts", hostID, "Host.Functions." + l.function.name,
		version.etag, l.pattern.container, version.name}, "/")
}

func (l *blobListener) receipt(ctx context.Context, version blobVersion) (blobReceipt, error) {
	var r blobReceipt
	response, err := l.receipts.DownloadStream(ctx, hostContainer, l.path(version), nil)
	if bloberror.HasCode(err, bloberror.BlobNotFound, bloberror.ContainerNotFound) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read blob receipt: %w", err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&r); err != nil {
		return r, fmt.Errorf("read blob receipt: %w", err)
	}
	return r, nil
}

// finish writes the receipt and, after the last try, what the real host would
// put on the queue webjobs-blobtrigger-poison.
func (l *blobListener) finish(version blobVersion, r blobReceipt, failure error) error {
	ctx, cancel := context.WithTimeout(context.Background(), settleWithin)
	defer cancel()
	if r.Finished && failure != nil {
		poison := map[string]string{
			"FunctionId": "Host.Functions." + l.function.name, "BlobType": "BlockBlob",
			"ContainerName": l.pattern.container, "BlobName": version.name, "ETag": `"` + version.etag + `"`,
		}
		name := strings.Join([]string{"poison", l.function.name, l.pattern.container, version.name}, "/")
		if err := putJSON(ctx, l.receipts, name, poison); err != nil {
			return err
		}
	}
	return putJSON(ctx, l.receipts, l.path(version), r)
}

// putJSON writes a blob into hostContainer, which it creates when needed.
func putJSON(ctx context.Context, client *azblob.Client, name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	_, err = client.UploadBuffer(ctx, hostContainer, name, data, nil)
	if bloberror.HasCode(err, bloberror.ContainerNotFound) {
		if _, err := client.CreateContainer(ctx, hostContainer, nil); err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
			return fmt.Errorf("create container %s: %w", hostContainer, err)
		}
		_, err = client.UploadBuffer(ctx, hostContainer, name, data, nil)
	}
	if err != nil {
		return fmt.Errorf("write %s/%s: %w", hostContainer, name, err)
	}
	return nil
}
