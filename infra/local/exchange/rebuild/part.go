package rebuild

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/quotedprintable"
	"strings"

	"github.com/emersion/go-message"
)

// maxDepth is how deep parts may lie in each other.
const maxDepth = 32

var errTooDeep = errors.New("parts lie too deep")

// part is the plan of a part: its content fields, and what writes its body,
// which can be done once.
type part struct {
	fields []string
	body   func(io.Writer) error
}

// builder numbers the boundaries of a message.
type builder struct {
	id string
	n  int
}

// plan says how e is written; decoded tells whether its text is UTF-8 now.
func (b *builder) plan(e *message.Entity, decoded bool, depth int) (part, error) {
	if depth > maxDepth {
		return part{}, errTooDeep
	}
	typ, params, err := e.Header.ContentType()
	if err != nil && e.Header.Has("Content-Type") {
		return part{}, err
	}
	if params == nil {
		params = map[string]string{}
	}
	kept := keptFields(e)
	switch {
	case typ == "multipart/signed" || typ == "multipart/encrypted":
		return part{append(kept, untouched(e)...), func(w io.Writer) error { return pass(w, e.Body) }}, nil
	case strings.HasPrefix(typ, "multipart/"):
		params["boundary"] = b.boundary()
		return part{append(kept, contentType(typ, params)), func(w io.Writer) error {
			return b.parts(w, e.MultipartReader(), params["boundary"], depth)
		}}, nil
	case typ == "message/rfc822":
		return part{append(kept, contentType(typ, params)), func(w io.Writer) error { return b.nested(w, e.Body, depth) }}, nil
	case strings.HasPrefix(typ, "text/"):
		if params["charset"] != "" && decoded {
			params["charset"] = "utf-8"
		}
		delete(params, "format") // text is laid out anew
		delete(params, "delsp")
		return part{append(kept, contentType(typ, params), "Content-Transfer-Encoding: quoted-printable"), func(w io.Writer) error {
			return encode(quotedprintable.NewWriter(w), e.Body)
		}}, nil
	}
	return part{append(kept, contentType(typ, params), "Content-Transfer-Encoding: base64"), func(w io.Writer) error {
		return encode(base64.NewEncoder(base64.StdEncoding, &wrapper{w: w}), e.Body)
	}}, nil
}

func (b *builder) boundary() string {
	b.n++
	return fmt.Sprintf("_%03d_%.24s_", b.n, b.id)
}

// parts writes the parts of a multipart. One without any cannot be parsed.
func (b *builder) parts(w io.Writer, in message.MultipartReader, boundary string, depth int) error {
	for n := 0; ; n++ {
		e, err := in.NextPart()
		if err == io.EOF && n > 0 {
			_, err = fmt.Fprintf(w, "--%s--\r\n", boundary)
			return err
		}
		if err != nil && (e == nil || !message.IsUnknownCharset(err)) {
			return err
		}
		p, err := b.plan(e, err == nil, depth+1)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "--%s\r\n%s\r\n\r\n", boundary, strings.Join(p.fields, "\r\n")); err != nil {
			return err
		}
		if err := p.body(w); err != nil {
			return err
		}
		if _, err := io.WriteString(w, "\r\n"); err != nil {
			return err
		}
	}
}

// nested writes a message that is a part.
func (b *builder) nested(w io.Writer, in io.Reader, depth int) error {
	e, err := message.Read(in)
	if err != nil && !message.IsUnknownCharset(err) {
		return err
	}
	p, err := b.plan(e, err == nil, depth+1)
	if err != nil {
		return err
	}
	if _, err := w.Write(headerBlock(entityFields(e), p.fields)); err != nil {
		return err
	}
	return p.body(w)
}

// contentType writes the field with its parameters in alphabetical order.
func contentType(typ string, params map[string]string) string {
	text := mime.FormatMediaType(typ, params)
	if text == "" {
		text = mime.FormatMediaType("application/octet-stream", nil) // no media type
	}
	return "Content-Type: " + strings.ReplaceAll(text, "; ", ";\r\n\t")
}

// pass copies lines as they are.
func pass(w io.Writer, r io.Reader) error {
	_, err := io.Copy(w, r)
	return err
}

func encode(w io.WriteCloser, r io.Reader) error {
	if _, err := io.Copy(w, r); err != nil {
		return err
	}
	return w.Close()
}

// wrapper breaks base64 into lines of 76 (RFC 2045, section 6.8).
type wrapper struct {
	w  io.Writer
	at int
}

func (l *wrapper) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		if l.at == 76 {
			if _, err := io.WriteString(l.w, "\r\n"); err != nil {
				return n, err
			}
			l.at = 0
		}
		k, err := l.w.Write(p[:min(len(p), 76-l.at)])
		n, l.at, p = n+k, l.at+k, p[k:]
		if err != nil {
			return n, err
		}
	}
	return n, nil
}
