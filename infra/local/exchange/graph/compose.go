package graph

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
)

// mime writes the message that Exchange would make of the properties, without
// attachments.
func (b *messageBody) mime(it *store.Item) []byte {
	var out bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%s: %s\r\n", name, strings.NewReplacer("\r", "", "\n", " ").Replace(value))
		}
	}
	field("From", addresses(b.From))
	field("Sender", addresses(b.Sender))
	for _, l := range []struct {
		name string
		list []recipient
	}{{"To", b.To}, {"Cc", b.Cc}, {"Bcc", b.Bcc}, {"Reply-To", b.ReplyTo}} {
		field(l.name, addresses(pointers(l.list)...))
	}
	field("Subject", mime.QEncoding.Encode("utf-8", it.Subject))
	field("Date", it.Sent.Format(time.RFC1123Z))
	if it.MessageID == "" {
		it.MessageID = "<" + newRequestID() + "@contoso.prod.outlook.com>"
	}
	field("Message-ID", it.MessageID)
	field("In-Reply-To", it.Properties[propInReplyTo])
	field("References", it.Properties[propReferences])
	if b.IsReadReceiptRequested != nil && *b.IsReadReceiptRequested {
		// The sender gets it (microsoftgraph/msgraph-sdk-dotnet issue 2063).
		field("Disposition-Notification-To", addresses(b.From))
	}
	for _, h := range b.headers() {
		field(h.Name, h.Value)
	}
	kind, content := "plain", ""
	if b.Body != nil {
		content = b.Body.Content
		if strings.EqualFold(b.Body.ContentType, "html") {
			kind = "html"
		}
	}
	fmt.Fprintf(&out, "MIME-Version: 1.0\r\nContent-Type: text/%s; charset=utf-8\r\n"+
		"Content-Transfer-Encoding: quoted-printable\r\n\r\n", kind)
	qp := quotedprintable.NewWriter(&out)
	_, _ = io.WriteString(qp, content) // a bytes.Buffer takes everything
	_ = qp.Close()
	return out.Bytes()
}

func pointers(list []recipient) []*recipient {
	var out []*recipient
	for i := range list {
		out = append(out, &list[i])
	}
	return out
}

func addresses(list ...*recipient) string {
	var out []string
	for _, r := range list {
		if r != nil && r.EmailAddress.Address != "" {
			a := mail.Address{Name: r.EmailAddress.Name, Address: r.EmailAddress.Address}
			out = append(out, a.String())
		}
	}
	return strings.Join(out, ", ")
}

// newAttachment is a file that is put to a message.
type newAttachment struct {
	key, name, contentType, contentID string
	inline                            bool
	content                           io.Reader
	size                              int64
}

// ownBoundary begins the boundaries that this package makes, so that a further
// attachment goes beside the others.
const ownBoundary = "_attached_"

// keyField holds the key of an attachment's id.
const keyField = "X-Attachment-Id"

// attach writes the message anew with one more part at its end.
func attach(db *store.Store, b store.Body, a newAttachment) (store.Body, error) {
	raw, err := db.Header(b)
	if err != nil {
		return b, err
	}
	h := store.ParseHeader(raw)
	text := io.NewSectionReader(db.Open(b), int64(b.HeaderSize), b.Size-int64(b.HeaderSize))
	_, params, _ := mime.ParseMediaType(h.Get("Content-Type"))
	boundary := params["boundary"]
	var head, tail bytes.Buffer
	length := text.Size()
	if strings.HasPrefix(boundary, ownBoundary) && endsWith(text, closing(boundary)) {
		head.Write(raw)
		length -= int64(len(closing(boundary)))
	} else {
		boundary = wrap(&head, h)
	}
	fmt.Fprintf(&tail, "\r\n--%s\r\n%s\r\n", boundary, a.header())
	end := closing(boundary)
	size := int64(head.Len()) + length + int64(tail.Len()) + encodedLength(a.size) + int64(len(end))
	return db.Receive(io.MultiReader(&head, io.LimitReader(text, length), &tail,
		&encoder{from: io.LimitReader(a.content, a.size)}, strings.NewReader(end)), size)
}

// endsWith tells whether a text ends in this way.
func endsWith(text *io.SectionReader, end string) bool {
	last := make([]byte, len(end))
	_, err := text.ReadAt(last, max(text.Size()-int64(len(end)), 0))
	return err == nil && string(last) == end
}

func closing(boundary string) string { return "\r\n--" + boundary + "--\r\n" }

// fieldName is the name of a header field (RFC 5322, section 2.2).
var fieldName = regexp.MustCompile(`^[!-9;-~]+$`)

// wrap begins a multipart/mixed whose first part has the content fields of h.
func wrap(head *bytes.Buffer, h store.Header) (boundary string) {
	boundary = ownBoundary + newRequestID()
	var content bytes.Buffer
	for _, f := range h {
		if !fieldName.MatchString(f.Name) {
			continue
		}
		_, value, _ := bytes.Cut(bytes.TrimRight(f.Raw, "\r\n"), []byte(":"))
		line := fmt.Appendf(nil, "%s:%s\r\n", f.Name, value) // the last one may have no end
		if strings.HasPrefix(strings.ToLower(f.Name), "content-") {
			content.Write(line)
		} else if !strings.EqualFold(f.Name, "MIME-Version") {
			head.Write(line)
		}
	}
	fmt.Fprintf(head, "MIME-Version: 1.0\r\nContent-Type: multipart/mixed;\r\n\tboundary=\"%s\"\r\n\r\n--%[1]s\r\n%s\r\n", boundary, content.Bytes())
	return boundary
}

func (a newAttachment) header() string {
	typ, params, err := mime.ParseMediaType(a.contentType)
	if err != nil || strings.HasPrefix(typ, "multipart/") {
		typ, params = "application/octet-stream", map[string]string{}
	}
	params["name"] = a.name
	contentType := mime.FormatMediaType(typ, params)
	if contentType == "" {
		contentType = "application/octet-stream"
	}
	disposition := "attachment"
	if a.inline {
		disposition = "inline"
	}
	out := "Content-Type: " + contentType + "\r\n" +
		"Content-Disposition: " + mime.FormatMediaType(disposition, map[string]string{"filename": a.name}) + "\r\n" +
		"Content-Transfer-Encoding: base64\r\n" + keyField + ": " + a.key + "\r\n"
	if a.contentID != "" {
		out += "Content-ID: <" + strings.NewReplacer("\r", "", "\n", "", "<", "", ">", "").Replace(a.contentID) + ">\r\n"
	}
	return out
}

// lineOctets make a line of base64 (RFC 2045, section 6.8).
const lineOctets = 57

func encodedLength(n int64) int64 {
	lines := (n + lineOctets - 1) / lineOctets
	return int64(base64.StdEncoding.EncodedLen(int(n))) + 2*lines
}

// encoder reads base64 in lines.
type encoder struct {
	from io.Reader
	out  bytes.Buffer
	err  error
}

func (e *encoder) Read(p []byte) (int, error) {
	for e.out.Len() == 0 && e.err == nil {
		line := make([]byte, lineOctets)
		for range 512 {
			var n int
			if n, e.err = io.ReadFull(e.from, line); n == 0 {
				break
			}
			e.out.Write(base64.StdEncoding.AppendEncode(e.out.AvailableBuffer(), line[:n]))
			e.out.WriteString("\r\n")
		}
	}
	if e.out.Len() > 0 {
		return e.out.Read(p)
	}
	if e.err == io.ErrUnexpectedEOF {
		e.err = io.EOF
	}
	return 0, e.err
}
