package imap

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/faults"
)

func number(n int64) string { return strconv.FormatInt(n, 10) }

// internalDate is the layout of a date-time (RFC 3501, section 9).
const internalDate = "_2-Jan-2006 15:04:05 -0700"

// maxLine is how long a line of a message may be, in octets (imapsync,
// FAQ.Office365.txt: "Office365 supports 10500 characters line length").
const maxLine = 10500

// maxReceiveSize is the most that Set-Mailbox -MaxReceiveSize takes.
const maxReceiveSize = 150 << 20

const (
	tooLarge = noReply("Maximum size of appendable message has been exceeded.") // imapsync, FAQ.Office365.txt
	noFolder = noReply("[TRYCREATE] Mailbox doesn't exist.")
)

// appendMessage stores the literal of an APPEND. What can be refused is
// refused before the literal is asked for.
func (s *session) appendMessage(c command) (string, error) {
	if c.message == nil {
		return "", badArgument
	}
	folder, n, err := s.appendTarget(c)
	if err != nil {
		return "", s.refuseMessage(c.message, err)
	}
	if c.message.sync {
		if err := s.proceed(); err != nil {
			return "", errConnection
		}
	}
	if n.Body, err = s.receive(c.message.size); err != nil {
		return "", err
	}
	if err := s.beforeWork(); err != nil {
		return "", err
	}
	it, err := s.mailbox.Add(folder.ID, n)
	switch {
	case errors.Is(err, store.ErrQuota):
		return "", badArgument // imapsync, FAQ.Office365.txt, "Quota reached"
	case errors.Is(err, store.ErrFolderFull):
		return "", noReply("APPEND failed.")
	case err != nil:
		return "", refusal(err, noFolder)
	}
	s.appended = it
	return fmt.Sprintf("[APPENDUID %d %d] APPEND completed.", folder.UIDValidity, it.UID), nil
}

// receive takes in the message and the end of the command.
func (s *session) receive(size int64) (store.Body, error) {
	var in io.Reader = s.in.br
	if s.fault != nil && s.fault.Do == faults.CutAfter {
		in = &cutReader{in, s.fault.Bytes}
	}
	lines := &lineMeter{r: in}
	body, err := s.mailbox.Store().Receive(lines, size)
	if err != nil {
		return body, fmt.Errorf("%w: %w", errConnection, err)
	}
	rest, err := s.readLine()
	switch {
	case errors.Is(err, errTooLong) || err == nil && rest != "":
		return body, badArgument // MULTIAPPEND (RFC 3502) included
	case err == nil && lines.longest > maxLine:
		return body, badArgument
	}
	return body, err
}

// lineMeter notes the longest line of what passes, its end not counted.
type lineMeter struct {
	r             io.Reader
	line, longest int
	cr            bool // the last octet was a CR, which counts unless LF follows
}

func (m *lineMeter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	for _, c := range p[:n] {
		if m.cr && c != '\n' {
			m.line++
		}
		switch m.cr = c == '\r'; {
		case c == '\n':
			m.line = 0
		case !m.cr:
			m.line++
		}
		m.longest = max(m.longest, m.line)
	}
	return n, err
}

// appendTarget checks the arguments: mailbox, flags and date.
func (s *session) appendTarget(c command) (f store.Folder, n store.NewItem, err error) {
	args := c.args[1:]
	if len(args) > 0 && args[0].isList {
		if n.Flags, err = parseFlags(args[0].list); err != nil {
			return f, n, err
		}
		args = args[1:]
	}
	if len(args) > 0 && args[0].quoted {
		if n.Received, err = time.Parse(internalDate, args[0].text); err != nil {
			return f, n, badArgument
		}
		args = args[1:]
	}
	if len(args) > 0 || c.message.size == 0 {
		return f, n, badArgument
	}
	if c.message.size > s.maxMessage() {
		return f, n, tooLarge
	}
	if s.mailbox.User().AppendLosesDate {
		n.Received = time.Time{}
	}
	if n.Flags&store.MDNSent != 0 {
		n.Categories = []string{"$MDNSent"} // imapsync, FAQ.Office365.txt
	}
	f, err = s.folder(c, 0, noFolder)
	return f, n, err
}

func (s *session) maxMessage() int64 {
	return min(cmp.Or(s.mailbox.User().MaxReceiveSize, s.server.o.MaxMessageSize), maxReceiveSize)
}

// parseFlags refuses what PERMANENTFLAGS does not list: Exchange keeps no
// keywords (node-imap issue 602). \Recent is the server's own.
func parseFlags(list []value) (store.Flags, error) {
	var flags store.Flags
	for _, v := range list {
		f, ok := store.ParseFlag(v.text)
		if !ok || v.isList || v.quoted {
			return 0, badArgument
		}
		flags |= f
	}
	return flags, nil
}
