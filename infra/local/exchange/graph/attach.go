package graph

import (
	"net/http"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// fileBody is an attachment as clients write it.
type fileBody struct {
	Type            string `json:"odataType"`
	ID              any    `json:"id"`
	Name            string `json:"name"`
	ContentType     string `json:"contentType"`
	ContentBytes    []byte `json:"contentBytes"`
	ContentID       string `json:"contentId"`
	ContentLocation any    `json:"contentLocation"`
	IsInline        bool   `json:"isInline"`
	Size            any    `json:"size"`
	Modified        any    `json:"lastModifiedDateTime"`

	Item map[string]any `json:"item"`
}

// attachment checks what a client wants to attach.
func (b fileBody) attachment() (newAttachment, error) {
	switch strings.TrimPrefix(strings.ToLower(b.Type), "#") {
	case "microsoft.graph.fileattachment":
	case "microsoft.graph.itemattachment":
		// alcionai/corso issue 2372.
		if b.Item["isDraft"] != nil || b.Item["isOrganizer"] != nil {
			return newAttachment{}, errBody
		}
		return newAttachment{}, errNotPlayed
	case "microsoft.graph.referenceattachment":
		return newAttachment{}, errNotPlayed
	default:
		return newAttachment{}, errBody
	}
	if b.Name == "" || b.ContentBytes == nil {
		return newAttachment{}, refuse(400, "ErrorInvalidRequest", "Required property missing: name and contentBytes of an attachment.")
	}
	return newAttachment{
		key: newRequestID(), name: b.Name, contentType: b.ContentType, contentID: b.ContentID, inline: b.IsInline,
		content: strings.NewReader(string(b.ContentBytes)), size: int64(len(b.ContentBytes)),
	}, nil
}

// addAttachment serves POST. It is good for less than 3 MB, as the request
// carries base64 (https://learn.microsoft.com/graph/outlook-large-attachments).
func (f *face) addAttachment(w http.ResponseWriter, r *request) error {
	it, err := r.message()
	if err != nil {
		return err
	}
	var b fileBody
	if err := r.decode(&b, "attachment"); err != nil {
		return err
	}
	a, err := b.attachment()
	if err != nil {
		return err
	}
	it, err = f.attachTo(r.mailbox, it, a)
	if err != nil {
		return err
	}
	out, err := r.attachmentJSON(it, attachment{
		key: a.key, name: a.name, contentType: a.contentType, contentID: a.contentID, inline: a.inline,
	}, strings.NewReader(string(b.ContentBytes)))
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusCreated, out)
	return nil
}

// attachTo puts an attachment to a stored message, if that does not grow beyond
// what the mailbox takes.
func (f *face) attachTo(m *store.Mailbox, it *store.Item, a newAttachment) (*store.Item, error) {
	if err := f.checkSize(m, it.Body.Size+a.size); err != nil {
		return nil, err
	}
	body, err := attach(m.Store(), it.Body, a)
	if err != nil {
		return nil, err
	}
	return m.SetBody(it.ID, body)
}

// checkSize refuses a message that is larger than the mailbox takes. The code
// is that of EWS: none is known of Graph
// (https://learn.microsoft.com/exchange/client-developer/web-service-reference/responsecode).
func (f *face) checkSize(m *store.Mailbox, size int64) error {
	limit := f.o.Limits.MessageSize
	if own := m.User().MaxReceiveSize; own > 0 {
		limit = own
	}
	if limit > 0 && size > limit {
		return refuse(413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
	}
	return nil
}

func (f *face) deleteAttachment(http.ResponseWriter, *request) error { return errNotPlayed }
