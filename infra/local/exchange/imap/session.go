package imap

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/faults"
)

const (
	// capabilities before and after signing in (MailKit issues 849 and 1282).
	capabilities         = "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS ID UNSELECT CHILDREN IDLE NAMESPACE LITERAL+"
	signedInCapabilities = "IMAP4 IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 SASL-IR UIDPLUS MOVE ID UNSELECT CLIENTACCESSRULES " +
		"CLIENTNETWORKPRESENCELOCATION BACKENDAUTHENTICATE CHILDREN IDLE NAMESPACE LITERAL+"
	// greetingToken names the front end that answers, in UTF-16 and base64.
	greetingToken = "RQBYADAAMQAuAGwAbwBjAGEAbAA="
	// maxErrors ends a connection (imapsync, FAQ.Office365.txt).
	maxErrors = 10
	// maxErrorsBarred ends one that is authenticated but has no mailbox open
	// (MailKit issue 1496, email-oauth2-proxy issue 74).
	maxErrorsBarred = 2

	// Errors as Exchange numbers them: a command it cannot read, one it does
	// not know and an argument it refuses.
	tooLong     = badReply("Command Error. 10")
	unknown     = badReply("Command Error. 12")
	badArgument = badReply("Command Argument Error. 11")
	wrongState  = badReply("Command received in Invalid state.")
	unavailable = noReply("Server Unavailable. 15")
	// expiredText ends a session whose access token is over (aioimaplib issue 83,
	// imapsync issue 250).
	expiredText = "BYE Session invalidated - AccessTokenExpired"
)

// badReply is the text of a BAD reply; noReply that of a NO reply.
type (
	badReply string
	noReply  string
)

func (e badReply) Error() string { return "BAD " + string(e) }
func (e noReply) Error() string  { return "NO " + string(e) }

// session is one connection. One goroutine owns it; while IDLE, a second one
// owns the writing half.
type session struct {
	server *Server
	conn   *clientConn
	in     *reader
	bw     *bufio.Writer

	mailbox  *store.Mailbox // nil until one is open
	token    string         // that opened it
	expires  time.Time      // when the token ends
	barred   bool           // authenticated, but no mailbox was opened
	selected *view          // nil unless a folder is selected
	errors   int
	logout   bool

	// Of the command under way:
	fault     *faults.Rule // what is to happen to it, or nil
	throttled bool         // the connection ends after the reply
	appended  *store.Item  // what APPEND stored
}

func (s *session) serve() {
	defer func() {
		if s.mailbox != nil {
			s.server.leave(s.mailbox)
		}
	}()
	if !s.greet() {
		return
	}
	for s.bw.Flush() == nil && !s.logout {
		c, err := s.in.read()
		switch {
		case errors.Is(err, errTooLong):
			err = tooLong
		case errors.Is(err, errSyntax):
			err = unknown
		case err != nil:
			return
		}
		if !s.answer(c, err) {
			return
		}
	}
	s.bw.Flush()
}

// answer runs c, unless it could not be read, and replies. It returns false if
// the connection is over.
func (s *session) answer(c command, err error) bool {
	s.fault, s.throttled, s.appended = nil, false, nil
	if c.name == "UID" && len(c.args) > 0 {
		sub, _ := c.args[0].atom()
		c.name, c.args = "UID "+strings.ToUpper(sub), c.args[1:]
	}
	if err == nil {
		s.fault = s.strike(c)
	}
	if s.expired() {
		s.untagged(expiredText)
		s.logout = true
		return true
	}
	var text string
	if err == nil {
		err = s.before(c)
	}
	if err == nil {
		if text, err = s.run(&c); !errors.Is(err, errConnection) {
			err = cmp.Or(s.after(), err)
		}
	}
	if errors.Is(err, errConnection) {
		return false
	}
	s.reply(cmp.Or(c.tag, "*"), c.name, text, err)
	return true
}

// expired tells whether the access token has ended, or is to end now.
func (s *session) expired() bool {
	if s.token == "" {
		return false
	}
	if s.fault != nil && s.fault.Do == faults.Expire && s.server.o.Expire != nil {
		s.server.o.Expire(s.token)
	}
	_, err := s.server.o.Check(s.token)
	return err != nil
}

// reply writes the tagged reply, and the farewell if it was one error too many.
func (s *session) reply(tag, name, text string, err error) {
	var bad badReply
	var no noReply
	line := "OK " + text
	switch {
	case err == nil:
	case errors.As(err, &no):
		line = no.Error()
	case errors.As(err, &bad):
		line = bad.Error()
		s.errors++
	default:
		s.server.o.Logger.Error("run IMAP command", "command", name, "error", err)
		line = unavailable.Error()
	}
	s.printf("%s %s\r\n", tag, line)
	if s.fault != nil && s.fault.Do == faults.AnswerTwice {
		s.printf("%s %s\r\n", tag, line)
	}
	if s.errors >= maxErrors || s.barred && s.errors >= maxErrorsBarred || s.throttled {
		s.untagged("BYE Connection closed. 14")
		s.logout = true
	}
}

// errConnection marks errors after which the stream cannot be followed.
var errConnection = errors.New("connection failed")

func (s *session) run(c *command) (string, error) {
	h, ok := handlers[c.name]
	switch {
	case s.barred && ok && h.needs >= authenticated && c.message != nil:
		return "", s.refuseMessage(c.message, notConnected)
	case s.barred && ok && h.needs >= authenticated:
		return "", notConnected
	case c.message != nil && (!ok || h.needs == authenticated && s.mailbox == nil):
		return "", s.refuseMessage(c.message, wrongState)
	case !ok:
		return "", unknown
	case h.needs >= authenticated && s.mailbox == nil, h.needs == withFolder && s.selected == nil:
		return "", wrongState
	}
	if c.message == nil {
		if err := s.beforeWork(); err != nil {
			return "", err
		}
	}
	text, err := h.run(s, *c)
	if err == nil && s.selected != nil {
		// Sequence numbers stay while a client may be using them (RFC 3501, 7.4.1).
		err = s.selected.refresh(s, c.name != "FETCH" && c.name != "STORE" && c.name != "SEARCH")
	}
	return text, err
}

func (s *session) printf(format string, args ...any) { fmt.Fprintf(s.bw, format, args...) }

func (s *session) untagged(format string, args ...any) { s.printf("* "+format+"\r\n", args...) }

// proceed asks the client for the literal or reply it announced.
func (s *session) proceed() error {
	s.printf("+ Ready for additional command text.\r\n")
	return s.bw.Flush()
}

// readLine reads a line that belongs to a running command.
func (s *session) readLine() (string, error) {
	budget := maxCommand
	line, err := s.in.line(&budget)
	if err != nil && !errors.Is(err, errTooLong) {
		return "", fmt.Errorf("%w: %w", errConnection, err)
	}
	return line, err
}

// refuseMessage reads away a message that comes unasked and returns reply.
func (s *session) refuseMessage(lit *literal, reply error) error {
	if lit.sync {
		return reply
	}
	if _, err := io.CopyN(io.Discard, s.in.br, lit.size); err != nil {
		return fmt.Errorf("%w: %w", errConnection, err)
	}
	if _, err := s.readLine(); err != nil && !errors.Is(err, errTooLong) {
		return err
	}
	return reply
}

func (s *session) capability(command) (string, error) {
	if s.mailbox != nil || s.barred {
		s.untagged("CAPABILITY %s", signedInCapabilities)
	} else {
		s.untagged("CAPABILITY %s", capabilities)
	}
	return "CAPABILITY completed.", nil
}

func (s *session) id(command) (string, error) {
	s.untagged(`ID ("name" "Microsoft.Exchange.Imap4.Imap4Server" "version" "15.20")`)
	return "ID completed", nil
}

func (s *session) bye(command) (string, error) {
	s.untagged("BYE Microsoft Exchange Server IMAP4 server signing off.")
	s.logout = true
	return "LOGOUT completed.", nil
}
