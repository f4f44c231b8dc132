package graph

import (
	"html"
	"io"
	"net/mail"
	"regexp"
	"strings"
	"time"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // text parts in any charset

	"mailferry/infra/local/exchange/store"
)

// maxBody bounds what is shown of a text, in octets.
const maxBody = 1 << 20

// messageProperties are the properties of a message
// (https://learn.microsoft.com/graph/api/resources/message).
var messageProperties = []string{
	"id", "createdDateTime", "lastModifiedDateTime", "changeKey", "categories", "receivedDateTime", "sentDateTime",
	"hasAttachments", "internetMessageId", "internetMessageHeaders", "subject", "body", "bodyPreview", "importance",
	"parentFolderId", "conversationId", "conversationIndex", "uniqueBody", "sender", "from", "toRecipients",
	"ccRecipients", "bccRecipients", "replyTo", "isDeliveryReceiptRequested", "isReadReceiptRequested", "isRead",
	"isDraft", "webLink", "inferenceClassification", "flag", "singleValueExtendedProperties",
	"multiValueExtendedProperties", "attachments", "extensions",
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
	out := map[string]any{"@odata.etag": etag(it), "id": messageID(m, it, r.immutable)}
	sent := it.Sent
	if sent.IsZero() {
		sent = it.Received
	}
	for name, v := range map[string]any{
		"createdDateTime": stamp(it.Created), "lastModifiedDateTime": stamp(it.Modified), "changeKey": changeKey(it),
		"categories": anySlice(it.Categories), "receivedDateTime": stamp(it.Received), "sentDateTime": stamp(sent),
		"internetMessageId": it.MessageID, "subject": it.Subject, "importance": importance(it),
		"parentFolderId": folderID(m, it.Folder), "isRead": it.Flags&store.Seen != 0, "isDraft": it.Flags&store.Draft != 0,
		"flag": map[string]any{"flagStatus": flagStatus(it)}, "inferenceClassification": "focused",
		"isDeliveryReceiptRequested": nil,
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
	if q.attach {
		list, err := r.attachmentList(it)
		if err != nil {
			return nil, err
		}
		out["attachments"] = list
	}
	return out, r.addProperties(out, it)
}

// addProperties adds the extended properties that were asked for by $expand,
// the only way to see them
// (https://learn.microsoft.com/graph/api/singlevaluelegacyextendedproperty-get).
func (r *request) addProperties(out map[string]any, it *store.Item) error {
	var props []property
	for _, id := range r.query.expand {
		v, ok, err := r.propertyOf(it, id)
		if err != nil {
			return err
		}
		if ok {
			props = append(props, property{id, v})
		}
	}
	if props != nil {
		out["singleValueExtendedProperties"] = props
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05Z") }

// recipientFields are the properties that hold recipients, by header field.
var recipientFields = map[string]string{"toRecipients": "To", "ccRecipients": "Cc", "bccRecipients": "Bcc", "replyTo": "Reply-To"}

// addHeader adds the properties that come from the header on disk.
func (r *request) addHeader(out map[string]any, it *store.Item) error {
	wanted := r.query.has("internetMessageHeaders", false)
	for _, name := range []string{"toRecipients", "ccRecipients", "bccRecipients", "replyTo", "from", "sender", "hasAttachments", "isReadReceiptRequested"} {
		wanted = wanted || r.query.has(name, true)
	}
	if !wanted {
		return nil
	}
	h, err := r.header(it)
	if err != nil {
		return err
	}
	for name, field := range recipientFields {
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
		out["hasAttachments"] = r.hasAttachments(it, h)
	}
	if r.query.has("isReadReceiptRequested", true) {
		out["isReadReceiptRequested"] = it.Properties[propReceipt] == "true" ||
			it.Properties[propReceipt] == "" && h.Get("Disposition-Notification-To") != ""
	}
	if r.query.has("internetMessageHeaders", false) && it.Flags&store.Draft == 0 {
		out["internetMessageHeaders"] = headerFields(it, h)
	}
	return nil
}

// headerFields shows the fields of PidTagTransportMessageHeaders, if a client
// set it, else those of the message.
func headerFields(it *store.Item, h store.Header) []any {
	if set, ok := it.Properties[propHeaders]; ok {
		h = store.ParseHeader([]byte(set))
	}
	out := []any{}
	for _, f := range h {
		out = append(out, map[string]any{"name": f.Name, "value": strings.ToValidUTF8(f.Value, "\uFFFD")})
	}
	return out
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

// addBody shows the first text part, as HTML unless Prefer says otherwise
// (https://learn.microsoft.com/graph/api/user-list-messages).
func (r *request) addBody(out map[string]any, it *store.Item) {
	kind, text := "text", ""
	// A message that cannot be parsed is shown without text.
	if e, err := message.Read(r.mailbox.Store().Open(it.Body)); readable(e, err) {
		kind, text = firstText(e)
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	plain := text
	if kind == "html" {
		plain = html.UnescapeString(markup.ReplaceAllString(text, " "))
	}
	if r.query.has("bodyPreview", true) {
		preview := []rune(strings.Join(strings.Fields(plain), " "))
		out["bodyPreview"] = string(preview[:min(len(preview), 255)])
	}
	switch {
	case !r.query.has("body", true):
	case r.textBody:
		out["body"] = map[string]any{"contentType": "text", "content": plain}
	case kind == "html":
		out["body"] = map[string]any{"contentType": "html", "content": text}
	default:
		out["body"] = map[string]any{"contentType": "html", "content": "<html><head>\r\n" +
			`<meta http-equiv="Content-Type" content="text/html; charset=utf-8"></head><body><div class="PlainText">` +
			strings.ReplaceAll(html.EscapeString(text), "\n", "<br>\n") + "</div></body></html>"}
	}
}

var markup = regexp.MustCompile(`(?s)<(head|style|script)\b.*?</(head|style|script)>|<[^>]*>`)

func firstText(e *message.Entity) (kind, text string) {
	kind = "text"
	_ = leaves(e, 0, func(part *message.Entity) error { // io.EOF ends it early
		typ, _, _ := part.Header.ContentType()
		if typ != "" && !strings.HasPrefix(typ, "text/") || isAttachment(part) {
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
