package imap

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"mailferry/infra/local/faults"
)

const (
	throttledText = "Request is throttled. Suggested Backoff Time: %d milliseconds"
	// throttledFor is the pause that was seen most (imapsync issues 198 and 272).
	throttledFor = 299_609 * time.Millisecond
)

// strike asks the plan whether something is to happen to a command. The detail
// is the mailbox and the folder that the command names or that is selected.
func (s *session) strike(c command) *faults.Rule {
	if s.server.o.Faults == nil {
		return nil
	}
	return s.server.o.Faults.At("imap."+strings.TrimPrefix(c.name, "UID "), s.detail(c))
}

func (s *session) detail(c command) string {
	if s.mailbox == nil {
		return ""
	}
	folder := ""
	if s.selected != nil {
		folder = strings.Join(s.selected.path, "/")
	}
	if h := handlers[c.name]; h.needs == authenticated && len(c.args) > 0 {
		if levels, err := splitName(c.args[0].text); err == nil {
			folder = strings.Join(levels, "/")
		}
	}
	return s.mailbox.User().UserPrincipalName + " " + folder
}

// before does what a rule wants before the command is looked at. An error ends
// the command with that reply.
func (s *session) before(c command) error {
	switch r := s.fault; {
	case r == nil:
	case r.Do == faults.Delay:
		return s.pause(r.After)
	case r.Do == faults.Cut:
		return errConnection
	case r.Do == faults.Throttle:
		s.throttled = true
		return s.refusePending(c, badReply(throttleReply(r.After)))
	case r.Do == faults.Answer && r.Status >= 400 && r.Status < 500:
		return s.refusePending(c, badArgument)
	case r.Do == faults.Answer:
		return s.refusePending(c, unavailable)
	case r.Do == faults.CutAfter && c.message == nil:
		if s.bw.Flush() != nil {
			return errConnection
		}
		s.conn.cutAfter(r.Bytes)
	}
	return nil
}

// refusePending reads away the message of an APPEND that comes unasked.
func (s *session) refusePending(c command, reply error) error {
	if c.message != nil {
		return s.refuseMessage(c.message, reply)
	}
	return reply
}

// beforeWork is called when all of a command was read and before it has any
// effect.
func (s *session) beforeWork() error {
	switch {
	case s.fault == nil:
	case s.fault.Do == faults.LoseAnswer:
		if s.bw.Flush() != nil {
			return errConnection
		}
		s.conn.mute()
	case s.fault.Do == faults.WorkLate:
		s.conn.mute()
		s.conn.Close()
		return s.pause(s.fault.After)
	}
	return nil
}

// after does what a rule wants when a command has had its effect.
func (s *session) after() error {
	switch r := s.fault; {
	case r == nil:
	case r.Do == faults.AnswerLate:
		return s.pause(r.After)
	case r.Do == faults.LoseAnswer, r.Do == faults.WorkLate:
		return errConnection
	case r.Do == faults.Move && s.appended != nil:
		to, err := s.find(r.To)
		if err != nil {
			return err
		}
		_, err = s.mailbox.Move(s.appended.ID, to.ID)
		return err
	}
	return nil
}

func (s *session) pause(d time.Duration) error {
	if faults.Pause(s.server.ctx, d) != nil {
		return errConnection
	}
	return nil
}

// greet says hello, unless a rule for new connections has it otherwise. It
// returns false if the connection is over.
func (s *session) greet() bool {
	r := s.server.o.Faults.At("imap.connect", "")
	switch {
	case r == nil:
	case r.Do == faults.Delay:
		if s.pause(r.After) != nil {
			return false
		}
	case r.Do == faults.Cut, r.Do == faults.LoseAnswer:
		return false
	case r.Do == faults.CutAfter:
		s.conn.cutAfter(r.Bytes)
	case r.Do == faults.Throttle:
		s.untagged("BYE %s", throttleReply(r.After))
		s.bw.Flush()
		return false
	case r.Do == faults.Answer:
		s.untagged("BYE Connection is closed. 13")
		s.bw.Flush()
		return false
	}
	s.untagged("OK The Microsoft Exchange IMAP4 service is ready. [%s]", greetingToken)
	return true
}

func throttleReply(d time.Duration) string {
	return fmt.Sprintf(throttledText, cmp.Or(d, throttledFor).Milliseconds())
}
