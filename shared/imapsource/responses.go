package imapsource

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
)

// maxLine bounds a response line and what is buffered of literals that are no message. RFC 7162
// section 4 asks clients to take 8192 octets; lines beyond a mebibyte are no IMAP.
const maxLine = 1 << 20

var (
	errTooLong = errors.New("a response of the server is longer than 1 MiB")
	errTorn    = errors.New("the server announces another number of octets than it sends of the message")
)

// responses rewrites what a server sends into what go-imap can parse: it leaves out response types,
// response codes, flags and dates that the library would end the connection for, single spaces
// between items, and hides folder names that are not valid modified UTF-7. Message literals pass
// through untouched and unbuffered. It never fails on odd syntax, only on size and on the
// connection.
type responses struct {
	src     *bufio.Reader
	w       *wire
	out     []byte // what the library has not read yet
	literal int64  // octets of a message literal still to pass through; a FETCH response goes on behind it
}

func newResponses(src io.Reader, w *wire) *responses {
	return &responses{src: bufio.NewReaderSize(src, 32<<10), w: w}
}

// Read implements io.Reader.
func (r *responses) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.out) == 0 && r.literal == 0 {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	if len(r.out) > 0 {
		n := copy(p, r.out)
		r.out = r.out[n:]
		return n, nil
	}
	p, err := r.certain(p)
	if err != nil {
		return 0, err
	}
	n, err := r.src.Read(p)
	if r.literal -= int64(n); r.literal > 0 || err != nil {
		return n, err
	}
	// The last octets are not given before it is known that the message ends with them.
	line, err := r.line()
	if err == nil {
		err = r.fetchItems("", line, true)
	}
	if err != nil {
		return 0, err
	}
	return n, nil
}

// longestBye bounds the BYE that is looked for within a literal.
const longestBye = 512

// certain shortens p to what has come of a literal and belongs to it. Servers that are told to end say so
// in the middle of a message (Courier, mainloop.C:28-40; Dovecot 2.3), and Zimbra when it cannot read on,
// behind the ")" of the response (ImapHandler.java:4173-4178): octets that may be that are held back until
// more of the message comes.
func (r *responses) certain(p []byte) ([]byte, error) {
	p = p[:min(int64(len(p)), r.literal)]
	held, err := r.src.Peek(int(min(longestBye+1, r.literal)))
	if err == nil {
		if came := r.src.Buffered(); int64(came) < r.literal {
			p = p[:min(len(p), came-longestBye)]
		}
		return p, nil
	}
	octets, bye := len(held), ""
	if i := bytes.LastIndex(held, []byte("* BYE ")); i >= 0 && bytes.HasSuffix(held, []byte("\r\n")) {
		octets, bye = len(bytes.TrimSuffix(held[:i], []byte(")\r\n"))), cleanText(string(held[i+len("* "):]))
	}
	if octets == 0 && bye != "" {
		r.w.heard(bye)
	}
	if octets == 0 || !closed(err) {
		return nil, err
	}
	return p[:min(len(p), octets)], nil
}

// next fills out with the next line that is not left out.
func (r *responses) next() error {
	line, err := r.line()
	if err != nil {
		return err
	}
	rest, untagged := strings.CutPrefix(line, "* ")
	switch {
	case line == "":
		return nil
	case untagged:
		return r.untagged(strings.TrimLeft(rest, " "))
	case line[0] == '+':
		r.emit("+ " + cleanText(strings.TrimSpace(line[1:])))
		return nil
	}
	tag, rest, _ := strings.Cut(line, " ")
	word, rest := cutWord(rest)
	switch word = strings.ToUpper(word); word {
	case "OK", "NO", "BAD":
		if word == "OK" {
			r.w.forgetStatus() // what was said before was a warning (RFC 9051 section 7.1.2)
		}
		r.emit(tag + " " + word + cleanStatus(rest))
		return nil
	}
	return r.skipLiterals(line)
}

func (r *responses) untagged(line string) error {
	word, rest := cutWord(line)
	typ := strings.ToUpper(word)
	if number, err := strconv.ParseUint(word, 10, 32); err == nil {
		kind, items := cutWord(rest)
		switch kind = strings.ToUpper(kind); kind {
		case "EXISTS", "EXPUNGE":
			r.emit(fmt.Sprintf("* %d %s", number, kind))
		case "FETCH":
			return r.fetchItems(fmt.Sprintf("* %d FETCH (", number), strings.TrimPrefix(items, "("), false)
		default:
			return r.skipLiterals(line)
		}
		return nil
	}
	switch typ {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		if typ == "NO" || typ == "BAD" || typ == "BYE" {
			r.w.heard(cleanText(typ + " " + rest))
		}
		r.emit("* " + typ + cleanStatus(rest))
	case "CAPABILITY":
		r.emit(strings.TrimSpace("* CAPABILITY " + cleanCapabilities(rest)))
	case "LIST", "XLIST": // see source.markOldStyle
		whole, err := r.foldLiterals(rest)
		if err != nil {
			return err
		}
		if list, ok := cleanList(whole, r.w.hideName); ok {
			r.emit("* LIST " + list)
		}
	case "STATUS":
		whole, err := r.foldLiterals(rest)
		if err != nil {
			return err
		}
		if state, ok := cleanState(whole, r.w.hideName); ok {
			r.emit("* STATUS " + state)
		}
	case "NAMESPACE":
		whole, err := r.foldLiterals(rest)
		if err != nil {
			return err
		}
		r.emit("* NAMESPACE " + cleanNamespaces(whole))
	default:
		return r.skipLiterals(line)
	}
	return nil
}

func (r *responses) emit(line string) { r.out = append([]byte(line), '\r', '\n') }

// line reads a line without its end.
func (r *responses) line() (string, error) {
	var long []byte
	for {
		part, err := r.src.ReadSlice('\n')
		if len(long)+len(part) > maxLine {
			return "", errTooLong
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			long = append(long, part...)
		case err != nil:
			return "", err
		default:
			return strings.TrimRight(string(append(long, part...)), "\r\n"), nil
		}
	}
}

// foldLiterals replaces each literal of a response by a quoted string.
func (r *responses) foldLiterals(line string) (string, error) {
	for {
		folded, again, err := r.foldLiteral(line)
		if err != nil || !again {
			return line, err
		}
		line = folded
	}
}

// foldLiteral replaces the literal at the end of a line, if there is one, and adds the next line.
func (r *responses) foldLiteral(line string) (folded string, ok bool, err error) {
	head, size, ok := cutLiteral(line)
	if !ok {
		return line, false, nil
	}
	if size > maxLine-int64(len(line)) {
		return "", false, errTooLong
	}
	text := make([]byte, size)
	if _, err := io.ReadFull(r.src, text); err != nil {
		return "", false, err
	}
	tail, err := r.line()
	if err != nil {
		return "", false, err
	}
	if folded = head + quote(string(text)) + tail; len(folded) > maxLine {
		return "", false, errTooLong
	}
	return folded, true, nil
}

// skipLiterals drops the rest of a response that is left out.
func (r *responses) skipLiterals(line string) error {
	for {
		_, size, ok := cutLiteral(line)
		if !ok {
			return nil
		}
		if err := r.discard(size); err != nil {
			return err
		}
		var err error
		if line, err = r.line(); err != nil {
			return err
		}
	}
}

func (r *responses) discard(size int64) error {
	_, err := io.CopyN(io.Discard, r.src, size)
	return err
}

// cutLiteral takes a literal's announcement off the end of a line (RFC 9051 section 4.3).
func cutLiteral(line string) (head string, size int64, ok bool) {
	body, ok := strings.CutSuffix(line, "}")
	if !ok {
		return "", 0, false
	}
	open := strings.LastIndexByte(body, '{')
	if open < 0 {
		return "", 0, false
	}
	size, err := strconv.ParseInt(strings.TrimSuffix(body[open+1:], "+"), 10, 64)
	if err != nil || size < 0 || size == math.MaxInt64 {
		return "", 0, false
	}
	return strings.TrimSuffix(body[:open], "~"), size, true
}

// cutWord splits off the first word of a line, and the spaces behind it.
func cutWord(s string) (word, rest string) {
	word, rest, _ = strings.Cut(strings.TrimLeft(s, " "), " ")
	return word, strings.TrimLeft(rest, " ")
}
