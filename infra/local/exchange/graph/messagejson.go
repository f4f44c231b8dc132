package graph

import (
	"io"
	"net/mail"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // text parts in any charset

	"mailferry/infra/local/exchange/store"
)

func itoa(n int) string { return strconv.Itoa(n) }

// maxBody bounds what is shown of a text, in octets.
const maxBody = 1 << 20

// messageObject gives a filter the properties of a message.
func (r *request) messageObject(it *store.Item) object {
	return func(name string) (any, error) {
		switch name {
		case "receivedDateTime":
			return it.Received, nil
		case "sentDateTime":
			return it.Sent, nil
		case "createdDateTime":
			return it.Created, nil
		case "lastModifiedDateTime":
			return it.Modified, nil
		case "internetMessageId":
			return it.MessageID, nil
		case "subject":
			return it.Subject, nil
		case "isRead":
			return it.Flags&store.Seen != 0, nil
		case "isDraft":
			return it.Flags&store.Draft != 0, nil
		case "importance":
			return importance(it), nil
		case "parentFolderId":
			return folderID(r.mailbox, it.Folder), nil
		case "categories":
			return anySlice(it.Categories), nil
		case "flag":
			return object(func(name string) (any, error) {
				if name != "flagStatus" {
					return nil, errNoProperty
				}
				return flagStatus(it), nil
			}), nil
		case "singleValueExtendedProperties":
			return propertyObjects(it), nil
		case "from", "sender", "hasAttachments":
			return r.headerObject(it, name)
		}
		return nil, errNoProperty
	}
}

// headerObject gives a filter the properties that lie on disk.
func (r *request) headerObject(it *store.Item, name string) (any, error) {
	h, err := r.header(it)
	if err != nil {
		return nil, err
	}
	if name == "hasAttachments" {
		return hasAttachments(h), nil
	}
	var a mail.Address
	if list := h.Addresses(name); len(list) > 0 {
		a = *list[0]
	}
	email := object(func(name string) (any, error) {
		switch name {
		case "address":
			return a.Address, nil
		case "name":
			return a.Name, nil
		}
		return nil, errNoProperty
	})
	return object(func(name string) (any, error) {
		if name != "emailAddress" {
			return nil, errNoProperty
		}
		return email, nil
	}), nil
}

func propertyObject(id, value string) object {
	return func(name string) (any, error) {
		switch name {
		case "id":
			return id, nil
		case "value":
			return value, nil
		}
		return nil, errNoProperty
	}
}

func propertyObjects(it *store.Item) []any {
	var out []any
	for _, id := range []string{propMessageFlags, propDelivered, propSubmitted, propSize, propInternetID, propFlagStatus, propMessageClass} {
		if v, ok := propertyOf(it, id); ok {
			out = append(out, propertyObject(id, v))
		}
	}
	for id, v := range it.Properties {
		out = append(out, propertyObject(id, v))
	}
	return out
}

func anySlice(in []string) []any {
	out := []any{}
	for _, s := range in {
		out = append(out, s)
	}
	return out
}

func importance(it *store.Item) string {
	if it.Importance == "" {
		return "normal"
	}
	return it.Importance
}

func flagStatus(it *store.Item) string {
	if it.Flags&store.Flagged != 0 {
		return "flagged"
	}
	return "notFlagged"
}

func hasAttachments(h store.Header) bool {
	return strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "multipart/mixed")
}

func (r *request) header(it *store.Item) (store.Header, error) {
	raw, err := r.mailbox.Store().Header(it.Body)
	if err != nil {
		return nil, err
	}
	return store.ParseHeader(raw), nil
}

// messageJSON shows a message, as far as it was selected.
func (r *request) messageJSON(it *store.Item) (map[string]any, error) {
	m, q := r.mailbox, r.query
	change := strconv.FormatUint(it.ID<<16|it.Change, 36)
	out := map[string]any{"@odata.etag": `W/"` + change + `"`, "id": messageID(m, it, r.immutable)}
	sent := it.Sent
	if sent.IsZero() {
		sent = it.Received
	}
	for name, v := range map[string]any{
		"createdDateTime": stamp(it.Created), "lastModifiedDateTime": stamp(it.Modified), "changeKey": change,
		"categories": anySlice(it.Categories), "receivedDateTime": stamp(it.Received), "sentDateTime": stamp(sent),
		"internetMessageId": it.MessageID, "subject": it.Subject, "importance": importance(it),
		"parentFolderId": folderID(m, it.Folder), "isRead": it.Flags&store.Seen != 0, "isDraft": it.Flags&store.Draft != 0,
		"flag": map[string]any{"flagStatus": flagStatus(it)}, "inferenceClassification": "focused",
		"isDeliveryReceiptRequested": nil, "isReadReceiptRequested": false,
	} {
		if q.has(name, true) {
			out[name] = v
		}
	}
	if err := r.addHeader(out, it); err != nil {
		return nil, err
	}
	if q.has("body", true) || q.has("bodyPreview", true) {
		r.addBody(out, it)
	}
	var props []property
	for _, id := range q.expand {
		if v, ok := propertyOf(it, id); ok {
			props = append(props, property{id, v})
		}
	}
	if props != nil {
		out["singleValueExtendedProperties"] = props
	}
	return out, nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// addHeader adds the properties that come from the header on disk.
func (r *request) addHeader(out map[string]any, it *store.Item) error {
	lists := map[string]string{"toRecipients": "To", "ccRecipients": "Cc", "bccRecipients": "Bcc", "replyTo": "Reply-To"}
	names := []string{"from", "sender", "hasAttachments", "internetMessageHeaders"}
	for name := range lists {
		names = append(names, name)
	}
	wanted := false
	for _, name := range names {
		wanted = wanted || r.query.has(name, name != "internetMessageHeaders")
	}
	if !wanted {
		return nil
	}
	h, err := r.header(it)
	if err != nil {
		return err
	}
	for name, field := range lists {
		if r.query.has(name, true) {
			out[name] = recipients(h.Addresses(field))
		}
	}
	from := recipients(h.Addresses("From"))
	if sender := recipients(h.Addresses("Sender")); r.query.has("sender", true) && len(sender)+len(from) > 0 {
		out["sender"] = append(sender, from...)[0]
	}
	if r.query.has("from", true) && len(from) > 0 {
		out["from"] = from[0]
	}
	if r.query.has("hasAttachments", true) {
		out["hasAttachments"] = hasAttachments(h)
	}
	if r.query.has("internetMessageHeaders", false) {
		fields := []any{}
		for _, f := range h {
			fields = append(fields, map[string]any{"name": f.Name, "value": strings.ToValidUTF8(f.Value, "\uFFFD")})
		}
		out["internetMessageHeaders"] = fields
	}
	return nil
}

func recipients(list []*mail.Address) []any {
	out := []any{}
	for _, a := range list {
		name := a.Name
		if name == "" {
			name = a.Address
		}
		out = append(out, map[string]any{"emailAddress": map[string]any{"name": name, "address": a.Address}})
	}
	return out
}

// addBody shows the first text part.
func (r *request) addBody(out map[string]any, it *store.Item) {
	kind, text := "text", ""
	// A message that cannot be parsed is shown without text.
	if e, err := message.Read(r.mailbox.Store().Open(it.Body)); err == nil || message.IsUnknownCharset(err) {
		kind, text = firstText(e)
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	if r.query.has("body", true) {
		out["body"] = map[string]any{"contentType": kind, "content": text}
	}
	if r.query.has("bodyPreview", true) {
		preview := []rune(strings.Join(strings.Fields(text), " "))
		out["bodyPreview"] = string(preview[:min(len(preview), 255)])
	}
}

func firstText(e *message.Entity) (kind, text string) {
	kind = "text"
	// Walk ends early by io.EOF or at a part that cannot be parsed.
	_ = e.Walk(func(_ []int, part *message.Entity, err error) error {
		if err != nil && !message.IsUnknownCharset(err) {
			return err
		}
		typ, _, _ := part.Header.ContentType()
		if typ != "" && !strings.HasPrefix(typ, "text/") {
			return nil
		}
		if typ == "text/html" {
			kind = "html"
		}
		b, _ := io.ReadAll(io.LimitReader(part.Body, maxBody)) // what could be decoded
		text = string(b)
		return io.EOF
	})
	return kind, text
}
