// Package imap is the IMAP face of the Exchange Online stand-in: IMAP4rev1 (RFC
// 3501) over implicit TLS with XOAUTH2, with the limits and replies of Exchange
// Online. A message shown is rebuilt and its RFC822.SIZE an estimate, as in
// Exchange.
package imap

import (
	"bufio"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"mailferry/infra/local/exchange/store"
)

// Options say what a Server serves.
type Options struct {
	Store *store.Store
	TLS   *tls.Config
	// Check returns an error unless the bearer token opens mailboxes over IMAP.
	Check                    func(token string) error
	MaxMessageSize           int64 // bytes, for mailboxes that set no limit of their own
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
	s.done.Go(s.accept)
	return s
}

// Close ends all connections and waits until nothing of them runs.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
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
			newSession(s, c).serve()
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

// deadlineConn pushes its deadline ahead with every read and write, so that
// only a silent peer runs into it.
type deadlineConn struct {
	net.Conn
	timeout time.Duration
}

func (c *deadlineConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *deadlineConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

func newSession(s *Server, c net.Conn) *session {
	conn := &deadlineConn{Conn: c, timeout: preAuthTimeout}
	ses := &session{server: s, conn: conn, bw: bufio.NewWriterSize(conn, 16<<10)}
	ses.in = &reader{br: bufio.NewReaderSize(conn, 16<<10), proceed: ses.proceed}
	return ses
}
