package rebuild

import (
	"bytes"
	"mime"
	"net/mail"
	"slices"
	"strings"

	"github.com/emersion/go-message"

	"mailferry/infra/local/exchange/store"
)

// field is a header field; raw is what it came as, without the last line end.
type field struct{ name, value, raw string }

func parseFields(raw []byte) []field {
	var out []field
	for _, f := range store.ParseHeader(raw) {
		out = append(out, field{f.Name, f.Value, crlf(f.Raw)})
	}
	return out
}

func entityFields(e *message.Entity) []field {
	var out []field
	for f := e.Header.Fields(); f.Next(); {
		raw, err := f.Raw()
		if err != nil {
			raw = []byte(f.Key() + ": " + f.Value())
		}
		out = append(out, field{f.Key(), f.Value(), crlf(raw)})
	}
	return out
}

// crlf gives every line that end but the last none.
func crlf(raw []byte) string {
	line := bytes.ReplaceAll(bytes.TrimRight(raw, "\r\n"), []byte("\r\n"), []byte("\n"))
	return string(bytes.ReplaceAll(line, []byte("\n"), []byte("\r\n")))
}

// order is that of the fields Exchange makes of properties, under its names;
// the others follow as they came.
var order = []string{
	"Received", "From", "Sender", "Reply-To", "To", "CC", "BCC", "Subject", "Date", "Message-ID", "References", "In-Reply-To",
}

// headerBlock writes the fields of a message in Exchange's order, then those of
// its content.
func headerBlock(fields []field, content []string) []byte {
	var b bytes.Buffer
	lines := append(arrange(fields), "X-MS-Has-Attach:", "X-MS-TNEF-Correlator:")
	for _, line := range append(append(lines, content...), "MIME-Version: 1.0", "") {
		b.WriteString(line)
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// arrange returns the lines of all fields that don't describe the content. Of a
// field that may be there once the first one counts (RFC 5322, section 3.6).
func arrange(fields []field) []string {
	var out []string
	for _, name := range order {
		for _, f := range fields {
			if !strings.EqualFold(f.name, name) {
				continue
			}
			out = append(out, rewrite(name, f))
			if name != "Received" {
				break
			}
		}
	}
	for _, f := range fields {
		if !isContent(f.name) && !slices.ContainsFunc(order, func(name string) bool { return strings.EqualFold(name, f.name) }) {
			out = append(out, f.raw)
		}
	}
	return out
}

var words = &mail.AddressParser{WordDecoder: store.WordDecoder()}

// rewrite writes a field of order from what it means, if that is understood.
func rewrite(name string, f field) string {
	switch name {
	case "Subject":
		text := store.Header{{Name: f.name, Value: f.value}}.Text(f.name)
		return "Subject: " + strings.ReplaceAll(mime.BEncoding.Encode("utf-8", text), "?= =?", "?=\r\n\t=?")
	case "From", "Sender", "Reply-To", "To", "CC", "BCC":
		list, err := words.ParseList(f.value)
		if err != nil || len(list) == 0 {
			break
		}
		var all []string
		for _, a := range list {
			all = append(all, a.String())
		}
		return name + ": " + strings.Join(all, ",\r\n\t")
	}
	_, value, _ := strings.Cut(f.raw, ":")
	return name + ": " + strings.TrimLeft(value, " \t")
}

// isContent tells whether a field describes the content (RFC 2045).
func isContent(name string) bool {
	name = strings.ToLower(name)
	return strings.HasPrefix(name, "content-") || name == "mime-version"
}

// contentFields returns the lines that describe the content, as they came.
func contentFields(fields []field) []string {
	var out []string
	for _, f := range fields {
		if isContent(f.name) && !strings.EqualFold(f.name, "MIME-Version") {
			out = append(out, f.raw)
		}
	}
	return out
}

// keptFields returns what a part keeps beside type and encoding.
func keptFields(e *message.Entity) []string {
	return named(e, "Content-ID", "Content-Description", "Content-Disposition", "Content-Location")
}

// untouched returns type and encoding of a part whose body is not touched.
func untouched(e *message.Entity) []string {
	return named(e, "Content-Type", "Content-Transfer-Encoding")
}

func named(e *message.Entity, names ...string) []string {
	var out []string
	for _, f := range entityFields(e) {
		for _, name := range names {
			if strings.EqualFold(f.name, name) {
				_, value, _ := strings.Cut(f.raw, ":")
				out = append(out, name+": "+strings.TrimLeft(value, " \t"))
			}
		}
	}
	return out
}
