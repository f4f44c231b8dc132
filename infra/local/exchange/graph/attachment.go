package graph

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/emersion/go-message"

	"mailferry/infra/local/exchange/store"
)

// attachment is a part of a message that is no text of it.
type attachment struct {
	key, name, contentType, contentID string
	inline, item                      bool
}

// attachmentProperties are the properties of a fileAttachment.
var attachmentProperties = []string{"id", "lastModifiedDateTime", "name", "contentType", "size", "isInline", "contentId",
	"contentLocation", "contentBytes", "item"}

// isAttachment tells whether Exchange makes an attachment of a part.
func isAttachment(part *message.Entity) bool {
	typ, params, _ := part.Header.ContentType()
	disposition, names, _ := part.Header.ContentDisposition()
	switch {
	case strings.HasPrefix(typ, "multipart/"):
		return false
	case part.Header.Get(keyField) != "", disposition == "attachment", names["filename"] != "", params["name"] != "":
		return true
	}
	return typ != "" && !strings.HasPrefix(typ, "text/")
}

// attachments calls visit for each attachment until it returns an error; io.EOF
// ends the walk. A message that cannot be parsed has those that can.
func (r *request) attachments(it *store.Item, visit func(attachment, io.Reader) error) error {
	e, err := message.Read(r.mailbox.Store().Open(it.Body))
	if !readable(e, err) {
		return nil
	}
	n := 0
	err = leaves(e, 0, func(part *message.Entity) error {
		if !isAttachment(part) {
			return nil
		}
		n++
		return visit(describe(part, n), part.Body)
	})
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func readable(e *message.Entity, err error) bool {
	return e != nil && (err == nil || message.IsUnknownCharset(err) || message.IsUnknownEncoding(err))
}

// maxParts bounds how deep parts lie in parts.
const maxParts = 100

// leaves calls visit for each part that has no parts. One that is broken ends
// with what can be read of it, and those after it go on: Entity.Walk would end.
func leaves(e *message.Entity, depth int, visit func(*message.Entity) error) error {
	parts := e.MultipartReader()
	if parts == nil {
		return visit(e)
	}
	for depth < maxParts {
		part, err := parts.NextPart()
		if !readable(part, err) {
			return nil
		}
		if err := leaves(part, depth+1, visit); err != nil {
			return err
		}
	}
	return nil
}

func describe(part *message.Entity, n int) attachment {
	typ, params, _ := part.Header.ContentType()
	disposition, names, _ := part.Header.ContentDisposition()
	a := attachment{
		key: part.Header.Get(keyField), name: names["filename"], contentType: typ,
		contentID: strings.Trim(part.Header.Get("Content-Id"), "<> "), inline: disposition == "inline",
	}
	a.item = typ == "message/rfc822" && a.key == ""
	if a.key == "" {
		a.key = fmt.Sprint("part", n)
	}
	if a.name == "" {
		a.name = params["name"]
	}
	decoded, err := new(mime.WordDecoder).DecodeHeader(a.name)
	if err == nil {
		a.name = decoded
	}
	if a.contentType == "" {
		a.contentType = "application/octet-stream"
	}
	return a
}

// hasAttachments is false if there are none but inline ones
// (https://learn.microsoft.com/graph/api/resources/message).
func (r *request) hasAttachments(it *store.Item, h store.Header) bool {
	typ, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	if typ == "" || strings.HasPrefix(typ, "text/") || typ == "multipart/alternative" {
		return false
	}
	found := false
	_ = r.attachments(it, func(a attachment, _ io.Reader) error { // no error of its own
		if found = found || !a.inline; found {
			return io.EOF
		}
		return nil
	})
	return found
}

// attachmentJSON shows an attachment. Its size is more than that of its content
// (https://learn.microsoft.com/graph/outlook-large-attachments: 3,640,066 for
// 3,483,322).
func (r *request) attachmentJSON(it *store.Item, a attachment, content io.Reader) (map[string]any, error) {
	wanted := !a.item && (r.query.attach || r.query.has("contentBytes", true))
	size, encoded, err := encode(content, wanted)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	all := map[string]any{
		"lastModifiedDateTime": stamp(it.Modified), "name": a.name, "contentType": a.contentType,
		"size": size*1045/1000 + 172, "isInline": a.inline,
	}
	if a.item {
		out["@odata.type"] = "#microsoft.graph.itemAttachment"
		all["contentType"] = nil
	} else {
		out["@odata.type"] = "#microsoft.graph.fileAttachment"
		all["contentId"], all["contentLocation"] = orNull(a.contentID), nil
		all["contentBytes"] = encoded
	}
	for name, v := range all {
		if r.query.attach || r.query.has(name, true) {
			out[name] = v
		}
	}
	out["id"] = attachmentID(r.mailbox, it, r.immutable, a.key)
	return out, nil
}

// encode measures a content, and encodes it if that is wanted. What cannot be
// decoded of a message's part ends it.
func encode(content io.Reader, wanted bool) (size int64, encoded string, err error) {
	var out strings.Builder
	if wanted {
		w := base64.NewEncoder(base64.StdEncoding, &out)
		size, _ = io.Copy(w, content)
		err = w.Close() // writes the last octets
		return size, out.String(), err
	}
	size, _ = io.Copy(io.Discard, content)
	return size, "", nil
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (r *request) attachmentList(it *store.Item) ([]any, error) {
	out := []any{}
	err := r.attachments(it, func(a attachment, content io.Reader) error {
		v, err := r.attachmentJSON(it, a, content)
		out = append(out, v)
		return err
	})
	return out, err
}

func (r *request) checkAttachmentSelect() error {
	return r.query.checkSelect("attachment", func(name string) bool {
		return slices.ContainsFunc(attachmentProperties, func(p string) bool { return strings.EqualFold(p, name) })
	})
}

func (f *face) listAttachments(w http.ResponseWriter, r *request) error {
	if err := r.checkAttachmentSelect(); err != nil {
		return err
	}
	it, err := r.message()
	if err != nil {
		return err
	}
	list, err := r.attachmentList(it)
	if err != nil {
		return err
	}
	r.query.writePage(w, r.Request, list, len(list), len(list))
	return nil
}

// attachment finds what the path names and calls found with its content.
func (r *request) attachment(found func(*store.Item, attachment, io.Reader) error) error {
	i, err := parseID(r.mailbox, r.PathValue("attachment"))
	if err != nil {
		return err
	}
	it, err := r.message()
	if err != nil {
		return err
	}
	of, err := i.message(r.mailbox)
	if err != nil {
		return err
	}
	if of.ID != it.ID || i.key == "" {
		return errItemNotFound
	}
	seen := false
	err = r.attachments(it, func(a attachment, content io.Reader) error {
		if a.key != i.key {
			return nil
		}
		seen = true
		if err := found(it, a, content); err != nil {
			return err
		}
		return io.EOF
	})
	if err == nil && !seen {
		return errItemNotFound
	}
	return err
}

func (f *face) getAttachment(w http.ResponseWriter, r *request) error {
	if err := r.checkAttachmentSelect(); err != nil {
		return err
	}
	return r.attachment(func(it *store.Item, a attachment, content io.Reader) error {
		out, err := r.attachmentJSON(it, a, content)
		if err != nil {
			return err
		}
		out["@odata.context"] = baseURL(r.Request) + "/$metadata#users('" + r.mailbox.User().ID + "')/messages('" +
			r.PathValue("id") + "')/attachments/$entity"
		writeJSON(w, http.StatusOK, out)
		return nil
	})
}

// getAttachmentContent gives the octets of a file
// (https://learn.microsoft.com/graph/api/attachment-get, example 6).
func (f *face) getAttachmentContent(w http.ResponseWriter, r *request) error {
	return r.attachment(func(_ *store.Item, a attachment, content io.Reader) error {
		w.Header().Set("Content-Type", a.contentType)
		_, err := io.Copy(w, content)
		return err
	})
}
