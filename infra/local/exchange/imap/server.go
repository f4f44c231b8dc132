// Package imap is the IMAP face of the Exchange Online stand-in: IMAP4rev1 (RFC
// 3501) over implicit TLS with XOAUTH2, with the limits and replies of Exchange
// Online. A message shown is rebuilt and its RFC822.SIZE an estimate, as in
// Exchange. The README of infra/local lists every rule with its source and
// test.
//
// Points for faults are "imap.connect" and "imap.<COMMAND>", such as
// "imap.APPEND" (UID forms under the plain name), with mailbox and folder as
// detail ("anna@contoso.test INBOX"):
//
//	Delay, AnswerLate  wait
//	Cut                end the connection instead of looking at the command
//	CutAfter           APPEND: end it in the middle of the message, after Bytes
//	                   octets of it; else: after Bytes octets of the answer
//	LoseAnswer         do the work and end the connection without a word
//	WorkLate           take all of the command, end the connection, work later
//	AnswerTwice        repeat the tagged reply
//	Throttle           BAD with a Suggested Backoff Time, then the end
//	Answer             NO, or BAD with a Status below 500
//	Move               APPEND: store, then move to folder To, then answer
//	Expire             the access token of the session is over
//
// At "imap.connect": Delay, Cut, CutAfter, Throttle and Answer.
package imap

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/faults"
)

// Options say what a Server serves.
type Options struct {
	Store *store.Store
	TLS   *tls.Config
	// Check returns when the bearer token ends, or an error unless it opens
	// mailboxes over IMAP.
	Check                    func(token string) (expires time.Time, err error)
	Expire                   func(token string) // ends a token; may be nil
	Now                      func() time.Time   // of the clock by which tokens end
	Faults                   *faults.Plan       // may be nil
	MaxMessageSize           int64              // bytes, for mailboxes that set no limit of their own
	MaxConnectionsPerMailbox int
	Logger                   *slog.Logger
}

// Time-outs of Exchange for a client that says nothing
// (learn.microsoft.com/powershell/module/exchange/set-imapsettings).
const (
	preAuthTimeout = time.Minute
	idleTimeout    = 30 * time.Minute
)

// Server accepts IMAP connections.
type Server struct {
	o    Options
	ln   net.Listener
	done sync.WaitGroup
	ctx  context.Context // ends with Close
	stop context.CancelFunc

	mu     sync.Mutex
	closed bool
	conns  map[net.Conn]struct{}
	open   map[*store.Mailbox]int // authenticated connections
}

// Serve starts accepting connections from ln.
func Serve(ln net.Listener, o Options) *Server {
	s := &Server{
		o: o, ln: tls.NewListener(ln, o.TLS),
		conns: map[net.Conn]struct{}{}, open: map[*store.Mailbox]int{},
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.done.Go(s.accept)
	return s
}

// Close ends all connections and waits until nothing of them runs.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	s.stop()
	err := s.ln.Close()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.done.Wait()
	return err
}

func (s *Server) accept() {
	for {
		c, err := s.ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.o.Logger.Warn("accept IMAP connection", "error", err)
			return
		}
		if !s.add(c) {
			c.Close()
			return
		}
		s.done.Go(func() {
			defer s.remove(c)
			if ses, err := newSession(s, c); err == nil {
				ses.serve()
			}
		})
	}
}

func (s *Server) add(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.conns[c] = struct{}{}
	}
	return !s.closed
}

func (s *Server) remove(c net.Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// enter counts a connection to m unless there are too many.
func (s *Server) enter(m *store.Mailbox) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[m] >= s.o.MaxConnectionsPerMailbox {
		return false
	}
	s.open[m]++
	return true
}

func (s *Server) leave(m *store.Mailbox) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[m]--; s.open[m] == 0 {
		delete(s.open, m)
	}
}

// newSession makes the session of a connection, its TLS handshake done.
func newSession(s *Server, c net.Conn) (*session, error) {
	conn, err := newClientConn(c)
	if t, ok := c.(*tls.Conn); ok && err == nil {
		err = t.HandshakeContext(s.ctx)
	}
	ses := &session{server: s, conn: conn, bw: bufio.NewWriterSize(conn, 16<<10)}
	ses.in = &reader{br: bufio.NewReaderSize(conn, 16<<10), proceed: ses.proceed}
	return ses, err
}
