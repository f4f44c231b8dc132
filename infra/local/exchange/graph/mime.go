package graph

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
)

// mime writes the message that Exchange would make of the properties.
func (b *messageBody) mime(it *store.Item) []byte {
	var out bytes.Buffer
	field := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&out, "%s: %s\r\n", name, strings.NewReplacer("\r", " ", "\n", " ").Replace(value))
		}
	}
	field("From", addresses(b.From))
	field("Sender", addresses(b.Sender))
	for name, list := range map[string][]recipient{"To": b.To, "Cc": b.Cc, "Bcc": b.Bcc, "Reply-To": b.ReplyTo} {
		var all []*recipient
		for i := range list {
			all = append(all, &list[i])
		}
		field(name, addresses(all...))
	}
	field("Subject", mime.QEncoding.Encode("utf-8", it.Subject))
	field("Date", it.Sent.Format(time.RFC1123Z))
	if b.InternetMessageID != nil {
		field("Message-ID", *b.InternetMessageID)
	} else {
		field("Message-ID", "<"+newRequestID()+"@contoso.prod.outlook.com>")
	}
	if b.Headers != nil {
		for _, h := range *b.Headers {
			field(h.Name, h.Value)
		}
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
