package imap

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"mailferry/infra/local/exchange/rebuild"
	"mailferry/infra/local/exchange/store"
)

// fetch answers FETCH and UID FETCH.
func (s *session) fetch(c command) (string, error) {
	picked, err := s.selected.pick(c)
	if err != nil {
		return "", err
	}
	if len(c.args) != 2 {
		return "", badArgument
	}
	items, err := parseItems(c.args[1])
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(c.name, "UID ") {
		items = addItem(items, "UID")
	}
	for uid := range picked.all() {
		if err := s.fetchOne(uid, items); err != nil {
			return "", err
		}
	}
	return c.name + " completed.", nil
}

// item is what FETCH asks for: a name, and a section if the name is BODY.
type item struct {
	name    string
	peek    bool
	section string // upper case: "", HEADER, TEXT, HEADER.FIELDS, HEADER.FIELDS.NOT
	fields  []string
	label   string // as the reply repeats it
	from    int64  // of a partial fetch
	length  int64  // of a partial fetch; -1 means all
}

func addItem(items []item, name string) []item {
	for _, it := range items {
		if it.name == name {
			return items
		}
	}
	return append([]item{{name: name}}, items...)
}

var macros = map[string][]string{
	"ALL":  {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"},
	"FAST": {"FLAGS", "INTERNALDATE", "RFC822.SIZE"},
}

func parseItems(v value) ([]item, error) {
	list := v.list
	if !v.isList {
		list = []value{v}
		if names, ok := macros[strings.ToUpper(v.text)]; ok {
			list = nil
			for _, n := range names {
				list = append(list, value{text: n})
			}
		}
	}
	var out []item
	for _, v := range list {
		text, ok := v.atom()
		if !ok {
			return nil, badArgument
		}
		it, err := parseItem(text)
		if err != nil {
			return nil, err
		}
		out = append(out, it)
	}
	if len(out) == 0 {
		return nil, badArgument
	}
	return out, nil
}

func parseItem(text string) (item, error) {
	name, section, hasSection := strings.Cut(text, "[")
	name = strings.ToUpper(name)
	switch name {
	case "UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE":
		if !hasSection {
			return item{name: name}, nil
		}
	case "RFC822":
		return item{name: "BODY", label: name, length: -1}, nil
	case "RFC822.HEADER":
		return item{name: "BODY", label: name, section: "HEADER", peek: true, length: -1}, nil
	case "RFC822.TEXT":
		return item{name: "BODY", label: name, section: "TEXT", length: -1}, nil
	case "BODY", "BODY.PEEK":
		if hasSection {
			return parseSection(section, name == "BODY.PEEK")
		}
	}
	return item{}, badArgument
}

// parseSection reads what follows "BODY[".
func parseSection(text string, peek bool) (item, error) {
	section, partial, ok := strings.Cut(text, "]")
	if !ok {
		return item{}, badArgument
	}
	it := item{name: "BODY", peek: peek, length: -1}
	name, fields, _ := strings.Cut(section, " ")
	it.section = strings.ToUpper(name)
	it.label = "BODY[" + it.section + "]"
	switch it.section {
	case "", "HEADER", "TEXT":
		if fields != "" {
			return item{}, badArgument
		}
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		inner, ok := strings.CutPrefix(fields, "(")
		inner, ok2 := strings.CutSuffix(inner, ")")
		it.fields = strings.Fields(strings.ReplaceAll(inner, `"`, ""))
		if !ok || !ok2 || len(it.fields) == 0 {
			return item{}, badArgument
		}
		it.label = "BODY[" + it.section + " (" + strings.Join(it.fields, " ") + ")]"
	default:
		return item{}, badArgument
	}
	return it, it.parsePartial(partial)
}

// parsePartial reads "<first.count>".
func (it *item) parsePartial(text string) error {
	if text == "" {
		return nil
	}
	inner, ok := strings.CutPrefix(text, "<")
	inner, ok2 := strings.CutSuffix(inner, ">")
	first, count, ok3 := strings.Cut(inner, ".")
	from, err := strconv.ParseUint(first, 10, 32)
	n, err2 := strconv.ParseUint(count, 10, 32)
	if !ok || !ok2 || !ok3 || err != nil || err2 != nil || n == 0 {
		return badArgument
	}
	it.from, it.length = int64(from), int64(n)
	it.label += "<" + first + ">"
	return nil
}

func (s *session) fetchOne(uid uint32, items []item) error {
	v := s.selected
	m, err := s.mailbox.ItemByUID(v.folder.ID, uid)
	if err != nil {
		return nil // gone; the client learns it by EXPUNGE
	}
	if m.Flags&store.Seen == 0 && !v.readOnly && marksSeen(items) {
		m, err = s.mailbox.Update(m.ID, func(m *store.Item) { m.Flags |= store.Seen })
		if err != nil {
			return nil // gone since
		}
		items = addItem(items, "FLAGS")
	}
	s.printf("* %d FETCH (", v.sequence(uid))
	for i, it := range items {
		if i > 0 {
			s.printf(" ")
		}
		if err := s.writeItem(m, it); err != nil {
			return fmt.Errorf("%w: %w", errConnection, err)
		}
	}
	s.printf(")\r\n")
	return nil
}

func marksSeen(items []item) bool {
	for _, it := range items {
		if it.name == "BODY" && !it.peek {
			return true
		}
	}
	return false
}

func (s *session) writeItem(m *store.Item, it item) error {
	switch it.name {
	case "UID":
		s.printf("UID %d", m.UID)
	case "FLAGS":
		s.printf("FLAGS (%s)", strings.Join(m.Flags.Names(), " "))
	case "INTERNALDATE":
		s.printf(`INTERNALDATE "%s"`, m.Received.UTC().Format("02-Jan-2006 15:04:05 -0700"))
	case "RFC822.SIZE":
		s.printf("RFC822.SIZE %d", estimatedSize(m))
	case "ENVELOPE":
		raw, err := s.mailbox.Store().Header(m.Body)
		if err != nil {
			return err
		}
		s.printf("ENVELOPE %s", envelope(store.ParseHeader(raw)))
	case "BODY":
		return s.writeBody(m, it)
	}
	return nil
}

// estimatedSize is RFC822.SIZE: Exchange gives the size of the stored item, not
// that of the message it would send.
func estimatedSize(m *store.Item) int64 { return m.Body.Size + m.Body.Size/50 + 700 }

// writeBody streams a section from disk.
func (s *session) writeBody(m *store.Item, it item) error {
	msg, err := rebuild.New(s.mailbox.Store().Open(m.Body), m.Body.HeaderSize, m.Body.SHA256)
	if err != nil {
		return err
	}
	var head []byte
	text := int64(0)
	switch it.section {
	case "":
		head, text = msg.Header(), msg.TextSize()
	case "HEADER":
		head = msg.Header()
	case "TEXT":
		text = msg.TextSize()
	default:
		head = selectFields(msg.Header(), it.fields, it.section == "HEADER.FIELDS")
	}
	size := int64(len(head)) + text
	out := &window{w: s.bw, skip: min(it.from, size)}
	if out.left = size - out.skip; it.length >= 0 {
		out.left = min(out.left, it.length)
	}
	s.printf("%s {%d}\r\n", it.label, out.left)
	if _, err = out.Write(head); err == nil && text > 0 {
		err = msg.WriteText(out)
	}
	if out.left == 0 {
		return nil
	}
	return cmp.Or(err, io.ErrUnexpectedEOF)
}

// window lets a part of what is written through.
type window struct {
	w          io.Writer
	skip, left int64
}

var errWindowPassed = errors.New("rest is not wanted")

func (v *window) Write(p []byte) (int, error) {
	if v.left == 0 {
		return 0, errWindowPassed
	}
	skipped := min(v.skip, int64(len(p)))
	v.skip -= skipped
	rest := p[skipped:]
	n, err := v.w.Write(rest[:min(int64(len(rest)), v.left)])
	v.left -= int64(n)
	return len(p), err
}

// selectFields keeps the named fields of a header, or all others.
func selectFields(header []byte, names []string, keep bool) []byte {
	var b bytes.Buffer
	for _, f := range store.ParseHeader(header) {
		named := false
		for _, n := range names {
			named = named || strings.EqualFold(n, f.Name)
		}
		if named == keep {
			b.Write(f.Raw)
		}
	}
	b.WriteString("\r\n")
	return b.Bytes()
}
