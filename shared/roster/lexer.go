package roster

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// maxRecord bounds the memory that one line takes, in bytes.
const maxRecord = 64 << 10

// end stands for the end of the file.
const end = rune(-1)

// lexer cuts a file into records. encoding/csv knows neither lines that CR ends nor a quote inside
// an unquoted field, which passwords have.
type lexer struct {
	r         *bufio.Reader
	err       error // found when the file was opened
	line      int   // of what read gives next, from 1
	separator rune  // 0 until the first comma or semicolon
}

// record is a line's fields.
type record struct {
	line   int
	fields []string
	size   int    // bytes in fields
	fault  string // why the fields are not to be trusted
}

// blank reports whether there is nothing in any field, as in the lines that spreadsheets add.
func (r record) blank() bool {
	return r.fault == "" && strings.Join(r.fields, "") == ""
}

func newLexer(r io.Reader) *lexer {
	l := &lexer{r: bufio.NewReader(r), line: 1}
	start, _ := l.r.Peek(3) // what is wrong comes again with the next read
	switch {
	case bytes.HasPrefix(start, []byte("\xef\xbb\xbf")):
		_, l.err = l.r.Discard(3)
	case bytes.HasPrefix(start, []byte("\xff\xfe")), bytes.HasPrefix(start, []byte("\xfe\xff")):
		l.err = refuse(1, "the file is in UTF-16", utf8Advice)
	}
	return l
}

const utf8Advice = "Save the file as UTF-8; Excel calls it CSV UTF-8 (comma delimited)."

// next returns the next record, or io.EOF.
func (l *lexer) next() (record, error) {
	rec := record{line: l.line}
	c, err := l.read()
	if err == nil && c == end {
		err = io.EOF
	}
	for err == nil {
		if c == '"' {
			c, err = l.quoted(&rec)
		} else {
			c, err = l.plain(&rec, c)
		}
		if err != nil || c == '\n' || c == end {
			break
		}
		c, err = l.read() // behind the separator
	}
	return rec, err
}

// read returns the next character, '\n' for each kind of line end.
func (l *lexer) read() (rune, error) {
	if l.err != nil {
		return 0, l.err
	}
	c, size, err := l.r.ReadRune()
	switch {
	case err == io.EOF:
		return end, nil
	case err != nil:
		return 0, err
	case c == utf8.RuneError && size == 1:
		return 0, refuse(l.line, "the line is not in UTF-8", utf8Advice)
	case c == 0:
		return 0, refuse(l.line, "the line has a NUL in it", utf8Advice)
	case c == '\r':
		if next, _ := l.r.Peek(1); len(next) == 1 && next[0] == '\n' {
			_, _ = l.r.Discard(1) // it was peeked
		}
		c = '\n'
	}
	if c == '\n' {
		l.line++
	}
	return c, nil
}

// ends reports whether c ends a field. The first separator of the file decides which one it is.
func (l *lexer) ends(c rune) bool {
	if l.separator == 0 && (c == ',' || c == ';') {
		l.separator = c
	}
	return c == '\n' || c == end || c == l.separator
}

// plain reads the rest of a field that begins with c, and returns what ended it.
func (l *lexer) plain(rec *record, c rune) (rune, error) {
	var field strings.Builder
	var err error
	for !l.ends(c) {
		rec.write(&field, c)
		if c, err = l.read(); err != nil {
			return 0, err
		}
	}
	rec.add(&field)
	return c, nil
}

// quoted reads a field from behind its opening quote, and returns what ended it.
func (l *lexer) quoted(rec *record) (rune, error) {
	var field strings.Builder
	opened := l.line
	for {
		c, err := l.read()
		if err != nil {
			return 0, err
		}
		if c == end {
			return 0, refuse(opened, "a quoted field is never closed", `Close the quote, and double every quote inside a quoted field ("").`)
		}
		if c != '"' {
			rec.write(&field, c)
			continue
		}
		if c, err = l.read(); err != nil {
			return 0, err
		}
		if c == '"' {
			rec.write(&field, c)
			continue
		}
		if closed := l.lastLine(c); closed > opened {
			rec.fault = fmt.Sprintf("a quoted field runs from line %d to line %d", opened, closed)
		}
		return l.behind(rec, &field, c)
	}
}

// lastLine is the line that c was on.
func (l *lexer) lastLine(c rune) int {
	if c == '\n' {
		return l.line - 1
	}
	return l.line
}

// behind ends a quoted field; c is what comes behind its closing quote.
func (l *lexer) behind(rec *record, field *strings.Builder, c rune) (rune, error) {
	var err error
	for !l.ends(c) {
		if rec.fault == "" {
			rec.fault = "there is text behind the closing quote of a field"
		}
		if c, err = l.read(); err != nil {
			return 0, err
		}
	}
	rec.add(field)
	return c, nil
}

func (r *record) write(field *strings.Builder, c rune) {
	if r.size += utf8.RuneLen(c); r.room() {
		field.WriteRune(c)
	}
}

func (r *record) add(field *strings.Builder) {
	if r.size++; r.room() {
		r.fields = append(r.fields, field.String())
	}
}

func (r *record) room() bool {
	if r.size > maxRecord {
		r.fault = fmt.Sprintf("the line has more than %d bytes", maxRecord)
	}
	return r.size <= maxRecord
}
