package imap

import (
	"strings"
	"time"
)

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

// watch writes changes of the selected folder until stop is closed, and ends
// the session with its access token.
func (s *session) watch(stop <-chan struct{}) {
	expiry := time.NewTimer(s.expires.Sub(s.server.o.Now()))
	defer expiry.Stop()
	for {
		if s.expired() {
			s.untagged(expiredText)
			s.bw.Flush()
			s.conn.Close()
			return
		}
		changed := s.mailbox.Changed()
		if s.selected != nil {
			if s.selected.refresh(s, true) != nil || s.bw.Flush() != nil {
				s.conn.Close() // ends the read that idle waits in
				return
			}
		}
		select {
		case <-changed:
		case <-expiry.C:
		case <-stop:
			return
		}
	}
}
