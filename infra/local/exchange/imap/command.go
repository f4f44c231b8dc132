package imap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxCommand is how many octets a command may have, the message of an APPEND
// not counted. Exchange answers "BAD Command Error. 10" beyond it (imapsync,
// FAQ.Office365.txt).
const maxCommand = 10240

var (
	errTooLong = errors.New("command is too long")
	errSyntax  = errors.New("command is malformed")
)

// value is an argument: an atom (or number, flag, FETCH item with its
// brackets), a string, or a parenthesised list.
type value struct {
	text   string
	quoted bool // text came as a quoted string or literal
	list   []value
	isList bool
}

func (v value) atom() (string, bool) { return v.text, !v.quoted && !v.isList }

// literal announces octets that follow a command and have not been read.
type literal struct {
	size int64
	sync bool // the client waits for a continuation request
}

// command is one command line of a client.
type command struct {
	tag, name string // name in upper case
	args      []value
	message   *literal // of an APPEND, still to be read
}

// reader reads commands from a client; proceed is called when the client waits
// to be asked for a literal.
type reader struct {
	br      *bufio.Reader
	proceed func() error
}

// read reads a command. On errTooLong and errSyntax the line was skipped and
// the tag is set if there was one.
func (r *reader) read() (command, error) {
	p := &parser{stack: [][]value{nil}}
	budget := maxCommand
	for {
		line, err := r.line(&budget)
		if errors.Is(err, errTooLong) && len(p.stack[0]) == 0 {
			if tag, _, ok := strings.Cut(line[:min(len(line), keptEnd)], " "); ok {
				p.add(value{text: tag})
			}
		}
		if err != nil {
			return p.command(), r.skipLiteral(line, err)
		}
		text, lit, err := cutLiteral(line)
		if err == nil {
			err = p.feed(text)
		}
		if err != nil {
			return p.command(), r.skipLiteral(line, err)
		}
		if lit == nil {
			return p.finish()
		}
		if c := p.command(); c.name == "APPEND" && len(p.stack) == 1 && len(c.args) > 0 {
			c.message = lit
			return c, nil
		}
		if lit.size > int64(budget) {
			return p.command(), r.skipLiteral(line, errTooLong)
		}
		s, err := r.literal(lit)
		if err != nil {
			return p.command(), err
		}
		budget -= len(s)
		p.add(value{text: s, quoted: true})
	}
}

// keptEnd is how much of each end of an overlong line is kept: a tag and the
// announcement of a literal.
const keptEnd = 64

// line reads up to the end of a line and takes its length from the budget. Of
// a line beyond it only the ends are returned.
func (r *reader) line(budget *int) (string, error) {
	var b []byte
	long := false
	for {
		part, err := r.br.ReadSlice('\n')
		b = append(b, part...)
		if long = long || len(b) > *budget; long && len(b) > 2*keptEnd {
			b = append(b[:keptEnd], b[len(b)-keptEnd:]...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(b) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return "", err
		}
		line := strings.TrimRight(string(b), "\r\n")
		if long {
			return line, errTooLong
		}
		*budget -= len(b)
		return line, nil
	}
}

// skipLiteral reads away the octets that follow a refused line unasked
// (RFC 7888, section 4), up to the next line end, and returns cause.
func (r *reader) skipLiteral(line string, cause error) error {
	for errors.Is(cause, errTooLong) || errors.Is(cause, errSyntax) {
		_, lit, err := cutLiteral(line)
		if err != nil || lit == nil || lit.sync {
			return cause
		}
		if _, err := io.CopyN(io.Discard, r.br, lit.size); err != nil {
			return err
		}
		budget := maxCommand
		if line, err = r.line(&budget); err != nil && !errors.Is(err, errTooLong) {
			return err
		}
	}
	return cause
}

func (r *reader) literal(lit *literal) (string, error) {
	if lit.sync {
		if err := r.proceed(); err != nil {
			return "", err
		}
	}
	b := make([]byte, lit.size)
	_, err := io.ReadFull(r.br, b)
	return string(b), err
}

// cutLiteral splits the announcement of a literal off the end of a line.
func cutLiteral(line string) (string, *literal, error) {
	if !strings.HasSuffix(line, "}") {
		return line, nil, nil
	}
	open := strings.LastIndexByte(line, '{')
	if open < 0 {
		return line, nil, nil
	}
	number := line[open+1 : len(line)-1]
	number, unasked := strings.CutSuffix(number, "+")
	n, err := strconv.ParseUint(number, 10, 62)
	if err != nil {
		return line, nil, nil
	}
	return line[:open], &literal{size: int64(n), sync: !unasked}, nil
}

// parser builds the arguments of a command from the text between its
// literals. The first element of stack holds the arguments, every further one
// a list that is still open.
type parser struct {
	stack [][]value
}

func (p *parser) add(v value) {
	top := len(p.stack) - 1
	p.stack[top] = append(p.stack[top], v)
}

// command returns what is there so far.
func (p *parser) command() command {
	var c command
	all := p.stack[0]
	if len(all) > 0 {
		c.tag, _ = all[0].atom()
	}
	if len(all) > 1 {
		name, _ := all[1].atom()
		c.name = strings.ToUpper(name)
		c.args = all[2:]
	}
	return c
}

func (p *parser) finish() (command, error) {
	c := p.command()
	if len(p.stack) != 1 || c.tag == "" || c.name == "" || strings.ContainsAny(c.tag, "+*%\"\\[]") {
		return c, errSyntax
	}
	return c, nil
}

// feed parses text up to the next literal or the end of the command.
func (p *parser) feed(s string) error {
	for s != "" {
		switch s[0] {
		case ' ':
			s = s[1:]
		case '(':
			if len(p.stack) > 20 {
				return fmt.Errorf("%w: lists are too deep", errSyntax)
			}
			p.stack = append(p.stack, []value{})
			s = s[1:]
		case ')':
			if len(p.stack) == 1 {
				return fmt.Errorf("%w: unexpected )", errSyntax)
			}
			list := p.stack[len(p.stack)-1]
			p.stack = p.stack[:len(p.stack)-1]
			p.add(value{list: list, isList: true})
			s = s[1:]
		case '"':
			text, rest, err := cutQuoted(s)
			if err != nil {
				return err
			}
			p.add(value{text: text, quoted: true})
			s = rest
		default:
			n, err := atomLength(s)
			if err != nil {
				return err
			}
			p.add(value{text: s[:n]})
			s = s[n:]
		}
	}
	return nil
}

func cutQuoted(s string) (text, rest string, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], nil
		case '\\':
			if i++; i == len(s) {
				return "", "", errSyntax
			}
		}
		b.WriteByte(s[i])
	}
	return "", "", fmt.Errorf("%w: open string", errSyntax)
}

// atomLength returns how long the atom at the start of s is. Brackets keep
// together what is inside them, as in BODY[HEADER.FIELDS (To Cc)].
func atomLength(s string) (int, error) {
	inside := false
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '[':
			inside = true
		case c == ']':
			inside = false
		case c < 0x20 || c == 0x7f:
			return 0, fmt.Errorf("%w: control character", errSyntax)
		case !inside && (c == ' ' || c == '(' || c == ')' || c == '"'):
			return i, nil
		}
	}
	if inside {
		return 0, fmt.Errorf("%w: open bracket", errSyntax)
	}
	return len(s), nil
}
