// Package dovecot runs a Dovecot IMAP server as a child process: the source server of the local
// stack, the demonstration and the tests.
package dovecot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"mailferry/infra/local/needs"
	"mailferry/infra/local/ports"
)

// Options configure a server. The zero value runs one in a temporary folder.
type Options struct {
	// Dir is where configuration, users and mail lie. An existing one is picked up again. For root,
	// other users must be able to pass through the folders above it: Dovecot reads mail as one of
	// them. Empty: a temporary folder, removed by Stop.
	Dir string

	// SignIn is how clients may sign in besides PLAIN and LOGIN with a user's own password.
	SignIn SignIn

	// Layout is how mailboxes look over IMAP.
	Layout Layout

	// Compress offers COMPRESS=DEFLATE.
	Compress bool

	// MaxPerUser is how many connections a user may have from one address
	// (mail_max_userip_connections). Default 1000.
	MaxPerUser int

	// Logger gets the server's starts and stops. Default: nothing is logged. Dovecot's own log is
	// Dir/dovecot.log.
	Logger *slog.Logger
}

// Server is a running Dovecot.
type Server struct {
	dir     string
	temp    bool
	signIn  SignIn
	layout  Layout
	squeeze bool // offers compression
	perUser int  // connections of a user from one address
	logger  *slog.Logger
	owner   owner
	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process ended, and exit is set
	exit    error
	ca      []byte
	tls     *gate
	plain   *gate
	meter   meter

	mu    sync.Mutex // guards the users file
	stop  sync.Once
	ended error
}

// Start runs a server until Stop or the end of ctx. It installs the Debian package if need be.
func Start(ctx context.Context, o Options) (*Server, error) {
	if err := needs.Debian(ctx, o.SignIn.packages()...); err != nil {
		return nil, err
	}
	s := &Server{dir: o.Dir, signIn: o.SignIn, squeeze: o.Compress, perUser: cmp.Or(o.MaxPerUser, 1000), layout: o.Layout, logger: o.Logger, exited: make(chan struct{})}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if err := s.prepare(); err != nil {
		s.remove()
		return nil, fmt.Errorf("prepare dovecot: %w", err)
	}
	if err := s.run(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start dovecot: %w", err), s.Stop())
	}
	return s, nil
}

// prepare makes the folders, the certificates and the file of users.
func (s *Server) prepare() error {
	var err error
	if s.dir == "" {
		s.temp = true
		s.dir, err = os.MkdirTemp("", "dovecot-")
	} else {
		s.dir, err = filepath.Abs(s.dir)
	}
	if err != nil {
		return err
	}
	if s.owner, err = mailOwner(); err != nil {
		return err
	}
	if err := passable(filepath.Dir(s.dir)); err != nil {
		return err
	}
	for _, sub := range []string{"", "mail", "run", "state"} {
		path := filepath.Join(s.dir, sub)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		// MkdirTemp makes the folder private to root, but Dovecot's own users pass through it.
		if err := os.Chmod(path, 0o755); err != nil {
			return err
		}
	}
	if err := s.owner.own(filepath.Join(s.dir, "mail")); err != nil {
		return err
	}
	if s.ca, err = Certificates(s.dir); err != nil {
		return err
	}
	if err := s.layout.make(s.dir, s.owner); err != nil {
		return err
	}
	for name, content := range s.signIn.files() {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o755); err != nil {
			return err
		}
	}
	users, err := os.OpenFile(s.usersFile(), os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return users.Close()
}

// run starts the process and waits until both ports greet.
func (s *Server) run(ctx context.Context) error {
	path, err := exec.LookPath("dovecot")
	if err != nil {
		path = "/usr/sbin/dovecot" // outside of an ordinary user's PATH
	}
	free, err := ports.Free(2)
	if err != nil {
		return err
	}
	config := filepath.Join(s.dir, "dovecot.conf")
	if err := os.WriteFile(config, []byte(s.config(free[0], free[1])), 0o644); err != nil {
		return err
	}
	s.cmd = exec.Command(path, "-F", "-c", config)
	s.cmd.Env = append(os.Environ(), s.signIn.environment()...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	go func() {
		s.exit = s.cmd.Wait()
		close(s.exited)
	}()
	for i, gate := range []**gate{&s.tls, &s.plain} {
		if err := s.ready(ctx, free[i], i == 1); err != nil {
			return err
		}
		if *gate, err = openGate(free[i], &s.meter); err != nil {
			return err
		}
	}
	s.logger.InfoContext(ctx, "dovecot runs", "pid", s.cmd.Process.Pid, "dir", s.dir)
	return nil
}

// ready tries a port until it takes connections and, if it speaks first, greets.
func (s *Server) ready(ctx context.Context, port int, greets bool) error {
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	limit := time.NewTimer(2 * time.Minute) // a busy machine takes long
	defer limit.Stop()
	for {
		if err := answers(ctx, port, greets); err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-s.exited:
			return fmt.Errorf("it ended: %v\n%s", s.exit, s.logTail())
		case <-limit.C:
			return fmt.Errorf("it does not listen\n%s", s.logTail())
		case <-retry.C:
		}
	}
}

func answers(ctx context.Context, port int, greets bool) error {
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address(port))
	if err != nil {
		return err
	}
	defer conn.Close()
	if !greets {
		return nil
	}
	if err := conn.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}

// logTail returns the end of Dovecot's log.
func (s *Server) logTail() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "dovecot.log"))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

// Stop ends the server and every connection, and removes a temporary folder. More calls give the
// same result.
func (s *Server) Stop() error {
	s.stop.Do(func() { s.ended = s.end() })
	return s.ended
}

func (s *Server) end() error {
	for _, g := range []*gate{s.tls, s.plain} {
		if g != nil {
			g.close()
		}
	}
	var err error
	if s.cmd != nil {
		err = s.endProcess()
	}
	return errors.Join(err, s.remove())
}

// endProcess asks the master to end, which ends its children, and kills them all if they take long. With a
// temporary folder it kills them at once: there is nothing to keep, and the master sleeps for a second first.
func (s *Server) endProcess() error {
	group := -s.cmd.Process.Pid
	if !s.temp {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		limit := time.NewTimer(5 * time.Second)
		defer limit.Stop()
		select {
		case <-s.exited:
		case <-limit.C:
		}
	}
	// Children that outlive the master are in its group.
	_ = syscall.Kill(group, syscall.SIGKILL)
	<-s.exited
	var exit *exec.ExitError
	if s.exit != nil && !errors.As(s.exit, &exit) {
		return fmt.Errorf("wait for dovecot: %w", s.exit)
	}
	return nil
}

// EndSessions ends a user's connections as a shutdown does.
func (s *Server) EndSessions(ctx context.Context, login string) error {
	out, err := exec.CommandContext(ctx, "doveadm", "-c", filepath.Join(s.dir, "dovecot.conf"), "kick", login).CombinedOutput()
	if err != nil {
		return fmt.Errorf("end the sessions of %q: %w\n%s", login, err, out)
	}
	return nil
}

func (s *Server) remove() error {
	if !s.temp {
		return nil
	}
	err := os.RemoveAll(s.dir)
	for errors.Is(err, syscall.ENOTEMPTY) { // a process that is just being killed has made a file
		err = os.RemoveAll(s.dir)
	}
	return err
}

// CA returns the PEM of the certificate authority that signed the server's certificate, which is for
// localhost and 127.0.0.1.
func (s *Server) CA() []byte { return s.ca }

// TLSAddr returns where the server speaks TLS from the first octet.
func (s *Server) TLSAddr() (host string, port int) { return "127.0.0.1", s.tls.port }

// PlainAddr returns where the server offers STARTTLS and also takes passwords in clear text.
func (s *Server) PlainAddr() (host string, port int) { return "127.0.0.1", s.plain.port }

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
