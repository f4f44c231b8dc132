// Package rebuild shows a message as Exchange does: not the octets it was given
// but MIME made anew of what was understood of them. Header fields come in
// another order and encoding, doubles of fields that may occur once are gone,
// boundaries, transfer encodings and charsets are Exchange's own, and preamble,
// epilogue and unknown fields of parts are lost. What is signed or encrypted is
// kept (MS-OXOSMIME), and so is the text of a message that cannot be parsed.
//
// How exactly Exchange writes is not documented; what counts is that no client
// can rely on getting back what it gave.
package rebuild

import (
	"fmt"
	"io"

	"github.com/emersion/go-message"
	_ "github.com/emersion/go-message/charset" // lets go-message decode text
)

// Message is a message as it is shown.
type Message struct {
	body   *io.SectionReader
	id     string
	header []byte
	text   int64 // octets of the text
	opaque int64 // where the text begins that is passed on as it is; -1 if it is made anew
}

// New makes the message of body, whose header has headerSize octets; it reads
// all of it once. The id goes into boundaries; it has to be the same whenever
// the same body is shown.
func New(body *io.SectionReader, headerSize int, id string) (*Message, error) {
	raw := make([]byte, headerSize)
	if _, err := body.ReadAt(raw, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read header: %w", err)
	}
	m := &Message{body: body, id: id, opaque: -1}
	fields := parseFields(raw)
	if p, err := m.part(); err == nil {
		n := new(counter)
		if err := p.body(n); err == nil {
			m.header, m.text = headerBlock(fields, p.fields), int64(*n)
			return m, nil
		}
	}
	m.header, m.opaque = headerBlock(fields, contentFields(fields)), int64(headerSize)
	m.text = body.Size() - m.opaque
	return m, nil
}

// part begins to read the message; an error says that it cannot be parsed.
func (m *Message) part() (part, error) {
	e, err := message.Read(io.NewSectionReader(m.body, 0, m.body.Size()))
	if err != nil && !message.IsUnknownCharset(err) {
		return part{}, err
	}
	b := &builder{id: m.id}
	return b.plan(e, err == nil, 0)
}

// Header returns the header, the empty line included.
func (m *Message) Header() []byte { return m.header }

// TextSize returns the octets of what follows the header.
func (m *Message) TextSize() int64 { return m.text }

// WriteText writes what follows the header.
func (m *Message) WriteText(w io.Writer) error {
	if m.opaque >= 0 {
		_, err := io.Copy(w, io.NewSectionReader(m.body, m.opaque, m.text))
		return err
	}
	p, err := m.part()
	if err != nil {
		return err
	}
	return p.body(w)
}

type counter int64

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}
