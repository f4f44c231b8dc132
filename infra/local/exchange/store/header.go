package store

import (
	"bytes"
	"mime"
	"net/mail"
	"strings"
	"time"

	"github.com/emersion/go-message/charset"
)

// Field is a header field. Value is unfolded but not decoded.
type Field struct {
	Name, Value string
	Raw         []byte // as it came, with folding and line end
}

// Header is a message header (RFC 5322, section 2.2).
type Header []Field

// ParseHeader reads fields up to the first empty line. Lines that are no
// field are left out.
func ParseHeader(raw []byte) Header {
	var h Header
	for len(raw) > 0 {
		line := raw
		if n := bytes.IndexByte(raw, '\n'); n >= 0 {
			line = raw[:n+1]
		}
		raw = raw[len(line):]
		text := strings.TrimRight(string(line), "\r\n")
		if text == "" {
			break
		}
		if (text[0] == ' ' || text[0] == '\t') && len(h) > 0 {
			last := &h[len(h)-1]
			last.Value += " " + strings.TrimSpace(text)
			last.Raw = append(last.Raw, line...)
			continue
		}
		if name, value, ok := strings.Cut(text, ":"); ok {
			h = append(h, Field{strings.TrimSpace(name), strings.TrimSpace(value), append([]byte(nil), line...)})
		}
	}
	return h
}

// Get returns the value of the first field with the name, or "".
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

var words = &mime.WordDecoder{CharsetReader: charset.Reader}

// WordDecoder decodes encoded words of all charsets that are known.
func WordDecoder() *mime.WordDecoder { return words }

// Text returns the first field with the name, decoded (RFC 2047).
func (h Header) Text(name string) string {
	v := h.Get(name)
	if s, err := words.DecodeHeader(v); err == nil {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(v, "\uFFFD")
}

// Addresses returns the mailboxes of all fields with the name; what cannot be
// parsed is given as a name without address.
func (h Header) Addresses(name string) []*mail.Address {
	parser := mail.AddressParser{WordDecoder: words}
	var out []*mail.Address
	for _, f := range h {
		if !strings.EqualFold(f.Name, name) || f.Value == "" {
			continue
		}
		list, err := parser.ParseList(f.Value)
		if err != nil {
			list = []*mail.Address{{Name: strings.ToValidUTF8(f.Value, "\uFFFD")}}
		}
		out = append(out, list...)
	}
	return out
}

// Date returns the Date field in UTC, or the zero time.
func (h Header) Date() time.Time {
	t, err := mail.ParseDate(h.Get("Date"))
	if err != nil {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}
