package imap

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
)

func number(n int64) string { return strconv.FormatInt(n, 10) }

// internalDate is the layout of a date-time (RFC 3501, section 9).
const internalDate = "_2-Jan-2006 15:04:05 -0700"

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
	body, err := s.mailbox.Store().Receive(s.in.br, c.message.size)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errConnection, err)
	}
	rest, err := s.readLine()
	switch {
	case errors.Is(err, errTooLong) || err == nil && rest != "":
		return "", badArgument // MULTIAPPEND (RFC 3502) included
	case err != nil:
		return "", err
	}
	n.Body = body
	it, err := s.mailbox.Add(folder.ID, n)
	if err != nil {
		return "", refusal(err, "[TRYCREATE] APPEND failed.")
	}
	return fmt.Sprintf("[APPENDUID %d %d] APPEND completed.", folder.UIDValidity, it.UID), nil
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
	if len(args) > 0 || c.message.size == 0 || c.message.size > s.maxMessage() {
		return f, n, badArgument
	}
	f, err = s.folder(c, 0, "[TRYCREATE] Mailbox doesn't exist.")
	return f, n, err
}

func (s *session) maxMessage() int64 {
	if n := s.mailbox.User().MaxReceiveSize; n > 0 {
		return n
	}
	return s.server.o.MaxMessageSize
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

// idle tells the client of changes until it says DONE (RFC 2177).
func (s *session) idle(c command) (string, error) {
	s.printf("+ IDLE accepted, awaiting DONE command.\r\n")
	if err := s.bw.Flush(); err != nil {
		return "", errConnection
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		s.watch(stop)
	}()
	line, err := s.readLine()
	close(stop)
	<-stopped
	if err != nil {
		return "", err
	}
	if !strings.EqualFold(line, "DONE") {
		return "", unknown
	}
	return "IDLE completed.", nil
}

// watch writes changes of the selected folder until stop is closed.
func (s *session) watch(stop <-chan struct{}) {
	for {
		changed := s.mailbox.Changed()
		if s.selected != nil {
			if s.selected.refresh(s, true) != nil || s.bw.Flush() != nil {
				s.conn.Close() // ends the read that idle waits in
				return
			}
		}
		select {
		case <-changed:
		case <-stop:
			return
		}
	}
}
