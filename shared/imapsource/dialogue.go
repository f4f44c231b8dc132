package imapsource

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"mailferry/shared/migrate"
)

// dialogue leads a connection from the greeting to a signed-in mailbox. go-imap takes over behind
// it: its own sign-in answers an empty challenge with "=" (most mechanisms end with one), cannot
// cancel an exchange, and would put its TLS above the wire.
type dialogue struct {
	wire *wire
	tags int
	caps imap.CapSet // nil: not told since the last change of state
}

// maxDialogue bounds the lines of one answer.
const maxDialogue = 100

// greet reads the greeting (RFC 9051 section 7.1).
func (d *dialogue) greet() error {
	line, err := d.wire.in.line()
	if closed(err) {
		return closedAtOnce(err)
	}
	if err != nil {
		return err
	}
	word, rest := cutWord(strings.TrimPrefix(line, "*"))
	switch strings.ToUpper(word) {
	case "OK":
		d.told(rest)
		return nil
	case "PREAUTH":
		return configuration("the server signs connections in by itself, so whose mailbox it is cannot be known")
	}
	e := refusal(word + " " + rest)
	if e.Reason == migrate.AccountCrowded { // it does not know yet whose
		e.Reason = migrate.ServerCrowded
	}
	return e
}

// capabilities returns what the server can do now, and asks it unless it has said so.
func (d *dialogue) capabilities() (imap.CapSet, error) {
	if d.caps != nil {
		return d.caps, nil
	}
	if err := d.command("CAPABILITY"); err != nil {
		return nil, err
	}
	if d.caps == nil {
		return nil, errors.New("the server does not tell its capabilities")
	}
	return d.caps, nil
}

// command sends a command without literals and reads its answer. One that is not OK is an *imap.Error.
func (d *dialogue) command(text string) error {
	return d.converse(text, func(string) (string, error) {
		return "", errors.New("the server asks for more than the command has")
	})
}

// authenticate leads a SASL exchange (RFC 9051 section 6.2.2).
func (d *dialogue) authenticate(c sasl.Client) error {
	name, initial, err := c.Start()
	if err != nil {
		return err
	}
	command := "AUTHENTICATE " + name
	// A long initial response would make the command longer than a server must take (RFC 4959
	// section 3).
	if initial != nil && d.caps.Has(imap.CapSASLIR) && len(initial) < 4096 {
		command += " " + encodeInitial(initial)
		initial = nil
	}
	d.caps = nil // before and after signing in they differ at many servers
	err = d.converse(command, func(challenge string) (string, error) {
		if initial != nil { // this only asks for it, whatever it says
			reply := initial
			initial = nil
			return base64.StdEncoding.EncodeToString(reply), nil
		}
		decoded, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			return "", errors.New("the server's challenge is not base64")
		}
		reply, err := c.Next(decoded)
		return base64.StdEncoding.EncodeToString(reply), err
	})
	if v, ok := c.(verifier); ok && err == nil {
		err = v.verify()
	}
	return err
}

// verifier is a mechanism by which the server proves itself, too.
type verifier interface {
	// verify returns an error unless the server has done so.
	verify() error
}

// encodeInitial writes an empty response as RFC 4959 section 3 does.
func encodeInitial(b []byte) string {
	if len(b) == 0 {
		return "="
	}
	return base64.StdEncoding.EncodeToString(b)
}

// converse sends a command and reads up to its answer. Each continuation request is answered with
// what reply returns; an error of reply cancels the exchange and is returned.
func (d *dialogue) converse(command string, reply func(text string) (string, error)) error {
	d.tags++
	tag := "a" + strconv.Itoa(d.tags)
	if err := d.send(tag + " " + command); err != nil {
		return err
	}
	var bye error // an answer may still follow: Yahoo says why in it (imapflow issue 75)
	for range maxDialogue {
		line, err := d.wire.in.line()
		if err != nil {
			return cmpErr(bye, err)
		}
		word, rest := cutWord(line)
		switch {
		case line == "":
		case line[0] == '+':
			answer, err := reply(strings.TrimSpace(line[1:]))
			if err != nil {
				d.cancel(tag)
				return err
			}
			if err := d.send(answer); err != nil {
				return err
			}
		case word == tag:
			return cmpErr(d.status(rest), bye)
		case word == "*" && strings.EqualFold(firstWord(rest), "BYE"):
			if bye == nil {
				bye = d.bye(rest)
			}
		case word == "*":
			if err := d.untagged(rest); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("no end of the answer to %s", firstWord(command))
}

func firstWord(s string) string {
	word, _ := cutWord(s)
	return word
}

// cancel ends a SASL exchange (RFC 9051 section 6.2.2), so that the server need not take it for a
// connection that broke. What it answers does not matter.
func (d *dialogue) cancel(tag string) {
	if d.send("*") != nil {
		return
	}
	for range maxDialogue {
		line, err := d.wire.in.line()
		word, rest := cutWord(line)
		if err != nil || word == tag || word == "*" && strings.EqualFold(firstWord(rest), "BYE") {
			return
		}
	}
}

// status reads what follows the tag.
func (d *dialogue) status(text string) error {
	word, rest := cutWord(text)
	if typ := strings.ToUpper(word); typ != "OK" {
		code, text := cutCode(rest)
		return &imap.Error{Type: imap.StatusResponseType(typ), Code: imap.ResponseCode(shorten(code)), Text: shorten(text)}
	}
	d.told(rest)
	return nil
}

// cutCode splits a response code in upper case off a status text (RFC 9051 section 7.1).
func cutCode(s string) (code, text string) {
	s = cleanText(strings.TrimSpace(s))
	body, ok := strings.CutPrefix(s, "[")
	if !ok {
		return "", s
	}
	inside, text, closed := strings.Cut(body, "]")
	if !closed {
		return "", s
	}
	return strings.ToUpper(firstWord(inside)), strings.TrimSpace(text)
}

func (d *dialogue) untagged(text string) error {
	word, rest := cutWord(text)
	switch typ := strings.ToUpper(word); typ {
	case "CAPABILITY":
		d.learn(rest)
		return nil
	case "OK":
		d.told(rest)
		return nil
	case "NO", "BAD":
		d.wire.heard(cleanText(typ + " " + rest))
		return nil
	}
	d.wire.heard(cleanText(text)) // hMailServer says why it refuses in a line that is no response
	return d.wire.in.skipLiterals(text)
}

// byeStall is how long an answer is waited for behind a BYE.
const byeStall = 2 * time.Second

// bye takes in that the server ends the connection.
func (d *dialogue) bye(text string) error {
	d.wire.heard(cleanText(text))
	d.wire.stall = min(d.wire.stall, byeStall)
	return refusal(text)
}

// told takes the capabilities out of a response code.
func (d *dialogue) told(text string) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), "[")
	if !ok {
		return
	}
	inside, _, _ := strings.Cut(body, "]")
	if word, names := cutWord(inside); strings.EqualFold(word, "CAPABILITY") {
		d.learn(names)
	}
}

func (d *dialogue) learn(names string) {
	d.caps = imap.CapSet{}
	for _, name := range strings.Fields(cleanText(names)) {
		d.caps[imap.Cap(strings.ToUpper(name))] = struct{}{}
	}
}

func (d *dialogue) send(line string) error {
	_, err := d.wire.Write([]byte(line + "\r\n"))
	return err
}

// handOver lets go-imap find a connection that is signed in.
func (d *dialogue) handOver() error {
	caps, err := d.capabilities()
	if err != nil {
		return err
	}
	var names strings.Builder
	for name := range caps {
		names.WriteString(" " + string(name))
	}
	// Without a list of capabilities, the library would ask for one between our commands.
	code := strings.TrimSpace("CAPABILITY " + cleanCapabilities(names.String()))
	d.wire.in.out = []byte("* PREAUTH [" + code + "] signed in\r\n")
	return nil
}
