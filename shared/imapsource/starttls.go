package imapsource

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"mailferry/shared/migrate"
)

// startTLS leads the clear-text dialogue up to the server's go-ahead (RFC 9051 section 6.2.1).
// go-imap could do it, but would put its TLS above the wire and so hide from it where the connection
// ends.
func startTLS(raw net.Conn, stall time.Duration) error {
	d := dialogue{conn: raw, stall: stall, lines: bufio.NewReader(raw)}
	greeting, err := d.line()
	if err != nil {
		return err
	}
	if word, rest := cutWord(strings.TrimPrefix(greeting, "*")); !strings.EqualFold(word, "OK") {
		if strings.EqualFold(word, "PREAUTH") {
			return configuration("the server signs connections in before they are secured")
		}
		return refusal(word+" "+rest, migrate.Unreachable)
	}
	offered, err := d.command("a1", "CAPABILITY")
	if err != nil {
		return err
	}
	if !hasWord(offered, "STARTTLS") {
		return configuration("the server does not offer STARTTLS on this port")
	}
	if _, err := d.command("a2", "STARTTLS"); err != nil {
		return err
	}
	// Whatever came in clear text behind the go-ahead would be taken for the secured server's.
	if d.lines.Buffered() > 0 {
		return errors.New("the server sent more before the connection was secured")
	}
	return nil
}

func configuration(text string) error {
	return &migrate.Error{Kind: migrate.Configuration, Err: errors.New(text)}
}

// dialogue is the clear-text part of a connection.
type dialogue struct {
	conn  net.Conn
	stall time.Duration
	lines *bufio.Reader
}

// maxDialogue bounds the lines of one answer.
const maxDialogue = 100

// command sends a command and returns the arguments of the CAPABILITY responses up to its OK.
func (d *dialogue) command(tag, name string) (capabilities string, err error) {
	if err := d.conn.SetWriteDeadline(time.Now().Add(d.stall)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(d.conn, tag+" "+name+"\r\n"); err != nil {
		return "", err
	}
	for range maxDialogue {
		line, err := d.line()
		if err != nil {
			return "", err
		}
		word, rest := cutWord(line)
		kind, rest := cutWord(rest)
		switch {
		case word == tag && strings.EqualFold(kind, "OK"):
			return capabilities, nil
		case word == tag:
			return "", configuration(fmt.Sprintf("the server refuses %s: %s", name, cleanText(kind+" "+rest)))
		case word == "*" && strings.EqualFold(kind, "CAPABILITY"):
			capabilities += " " + rest
		case word == "*" && strings.EqualFold(kind, "BYE"):
			return "", refusal(kind+" "+rest, migrate.Unreachable)
		}
	}
	return "", fmt.Errorf("no end of the answer to %s", name)
}

// line reads a line, at most the 4096 octets of the reader.
func (d *dialogue) line() (string, error) {
	if err := d.conn.SetReadDeadline(time.Now().Add(d.stall)); err != nil {
		return "", err
	}
	line, err := d.lines.ReadSlice('\n')
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return strings.TrimRight(string(line), "\r\n"), err
}

func hasWord(text, word string) bool {
	for _, w := range strings.Fields(text) {
		if strings.EqualFold(w, word) {
			return true
		}
	}
	return false
}
