// Package cyrus runs a Cyrus IMAP server from Debian as a child process: a source server of the
// tests. The package is unpacked and not installed, because Debian's IMAP servers exclude each other.
package cyrus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/infra/local/deposit"
	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/needs"
	"mailferry/infra/local/ports"
)

// admin makes mailboxes.
const (
	admin         = "cyrus"
	adminPassword = "admin"
)

// Names is how folders are called. The zero value is altnamespace and unixhierarchysep, as new servers
// have it.
type Names struct {
	Dots    bool // between the levels of a name
	Classic bool // a user's folders are below INBOX, others' below "user", shared ones at the top
}

func (n Names) separator() string {
	if n.Dots {
		return "."
	}
	return "/"
}

func (n Names) prefix() string {
	if n.Classic {
		return "INBOX" + n.separator()
	}
	return ""
}

// Server is a running Cyrus.
type Server struct {
	names       Names
	perAddress  int    // connections that it takes from one address; 0: any number
	root, dir   string // the unpacked package; configuration and mail
	owner       string
	uid, gid    int
	ca          []byte
	tls, plain  int // ports
	cmd         *exec.Cmd
	environment []string // of its programs
	exited      chan struct{}
	stop        sync.Once
	ended       error

	mu        sync.Mutex
	passwords map[string]string
}

// Start runs a server in a temporary folder until Stop. It fetches the Debian packages if need be.
func Start(ctx context.Context) (*Server, error) { return StartWith(ctx, Names{}) }

// StartWith is Start with other names.
func StartWith(ctx context.Context, names Names) (*Server, error) {
	return start(ctx, &Server{names: names})
}

// StartLimited is Start for a server that takes so many connections from one address
// (maxlogins_per_host), the one that asks included.
func StartLimited(ctx context.Context, perAddress int) (*Server, error) {
	return start(ctx, &Server{perAddress: perAddress})
}

func start(ctx context.Context, s *Server) (*Server, error) {
	if err := needs.Debian(ctx, "sasl2-bin", "libsasl2-modules", "libsasl2-modules-db"); err != nil {
		return nil, err
	}
	root, err := needs.Unpacked(ctx, "cyrus-imapd", "cyrus-common")
	if err != nil {
		return nil, err
	}
	s.root, s.exited, s.passwords = root, make(chan struct{}), map[string]string{}
	if err = s.prepare(ctx); err == nil {
		err = s.run(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start cyrus: %w", err), s.Stop())
	}
	return s, nil
}

func (s *Server) prepare(ctx context.Context) error {
	u, err := user.Current()
	if err == nil && os.Geteuid() == 0 {
		u, err = user.Lookup("mail") // Cyrus refuses to read mail as root
	}
	if err != nil {
		return err
	}
	s.owner = u.Username
	if s.uid, err = strconv.Atoi(u.Uid); err != nil {
		return err
	}
	if s.gid, err = strconv.Atoi(u.Gid); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "cyrus-"); err != nil {
		return err
	}
	for _, sub := range []string{"", "conf", "conf/socket", "conf/db", "conf/proc", "conf/log", "spool", "sock"} {
		path := filepath.Join(s.dir, sub)
		if err := os.MkdirAll(path, 0o755); err != nil {
			return err
		}
		if err := s.own(path); err != nil {
			return err
		}
	}
	if s.ca, err = dovecot.Certificates(s.dir); err != nil {
		return err
	}
	for _, name := range []string{"server.pem", "server.key"} {
		if err := s.own(filepath.Join(s.dir, name)); err != nil {
			return err
		}
	}
	return s.setPassword(ctx, admin, adminPassword)
}

// run starts the process and waits until it is ready.
func (s *Server) run(ctx context.Context) error {
	free, err := ports.Free(2)
	if err != nil {
		return err
	}
	s.tls, s.plain = free[0], free[1]
	if err := errors.Join(s.write("imapd.conf", s.imapdConf()), s.write("cyrus.conf", s.cyrusConf(s.tls, s.plain))); err != nil {
		return err
	}
	s.cmd = exec.Command(filepath.Join(s.root, "usr/lib/cyrus/bin/master"),
		"-C", s.conf(), "-M", filepath.Join(s.dir, "cyrus.conf"), "-p", filepath.Join(s.dir, "master.pid"))
	libraries, err := filepath.Glob(filepath.Join(s.root, "usr/lib/*/libcyrus.so.0"))
	if err != nil || len(libraries) == 0 {
		return errors.Join(err, errors.New("the package holds no libcyrus"))
	}
	s.environment = []string{"LD_LIBRARY_PATH=" + filepath.Dir(libraries[0]), "PATH=/usr/bin:/bin"}
	s.cmd.Env = s.environment
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	go func() {
		_ = s.cmd.Wait()
		close(s.exited)
	}()
	return deposit.Ready(ctx, s.exited, s.addr(s.plain), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.tls})
}

func (s *Server) addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// AddUser makes a mailbox with a login.
func (s *Server) AddUser(ctx context.Context, login, password string) error {
	if err := s.setPassword(ctx, login, password); err != nil {
		return err
	}
	return s.create(ctx, s.inbox(login))
}

// inbox is what the administrator calls a user's INBOX.
func (s *Server) inbox(login string) string { return "user" + s.names.separator() + login }

// Folder is what the administrator calls a folder of a user's; "" is INBOX.
func (s *Server) Folder(login, folder string) string {
	if folder == "" {
		return s.inbox(login)
	}
	return s.inbox(login) + s.names.separator() + strings.ReplaceAll(folder, "/", s.names.separator())
}

// MakeShared makes a folder that belongs to nobody.
func (s *Server) MakeShared(ctx context.Context, folder string) error { return s.create(ctx, folder) }

func (s *Server) create(ctx context.Context, name string) error {
	err := deposit.Do(ctx, s.account(admin, adminPassword), func(c *imapclient.Client) error { return c.Create(name, nil).Wait() })
	if err != nil {
		return fmt.Errorf("create %q: %w", name, err)
	}
	return nil
}

func (s *Server) account(login, password string) deposit.Account {
	return deposit.Account{Addr: s.addr(s.plain), Login: login, Password: password, Separator: s.names.separator(), Prefix: s.names.prefix()}
}

// Account is how a user's mail program signs in.
func (s *Server) Account(login string) deposit.Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account(login, s.passwords[login])
}

// Grant gives a user rights (RFC 4314) to a folder, of which the name is the administrator's.
func (s *Server) Grant(ctx context.Context, folder, user, rights string) error {
	return deposit.Grant(ctx, s.account(admin, adminPassword), folder, user, rights)
}

func (s *Server) setPassword(ctx context.Context, login, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	path, err := exec.LookPath("saslpasswd2")
	if err != nil {
		path = "/usr/sbin/saslpasswd2"
	}
	database := filepath.Join(s.dir, "sasldb2")
	cmd := exec.CommandContext(ctx, path, "-p", "-c", "-f", database, "-u", "localhost", login)
	cmd.Stdin = strings.NewReader(password)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("set the password of %q: %w\n%s", login, err, out)
	}
	s.passwords[login] = password
	return s.own(database)
}

// Fill puts messages into a user's mailbox, in their order. Cyrus refuses NULs and lines that end
// without CR.
func (s *Server) Fill(ctx context.Context, login string, items []dovecot.Item) error {
	return deposit.Fill(ctx, s.Account(login), items)
}

// Place puts messages into a user's INBOX by way of its spool, in their order: also what nobody could
// append. The mailbox must hold none.
func (s *Server) Place(ctx context.Context, login string, items []dovecot.Item) error {
	dir, err := s.Spool(ctx, login)
	if err != nil {
		return err
	}
	for i, item := range items {
		path := filepath.Join(dir, strconv.Itoa(i+1)+".")
		if err := os.WriteFile(path, item.Message, 0o600); err != nil {
			return fmt.Errorf("place a message: %w", err)
		}
		if err := errors.Join(s.own(path), os.Chtimes(path, item.Received, item.Received)); err != nil {
			return fmt.Errorf("place a message: %w", err)
		}
	}
	_, err = s.tool(ctx, "reconstruct", s.inbox(login))
	return err
}

// Spool returns the folder with the files of a user's INBOX.
func (s *Server) Spool(ctx context.Context, login string) (dir string, err error) {
	out, err := s.tool(ctx, "mbpath", s.inbox(login))
	return strings.TrimSpace(out), err
}

// tool runs one of Cyrus' own programs as its user.
func (s *Server) tool(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.root, "usr/lib/cyrus/bin", name), append([]string{"-C", s.conf()}, args...)...)
	cmd.Env = s.environment
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("run %s: %w\n%s", name, err, out)
	}
	return string(out), nil
}

// Admin returns the login and password of the administrator, who may open every mailbox by an
// authorization identity.
func (s *Server) Admin() (login, password string) { return admin, adminPassword }

// CA returns the PEM of the certificate authority that signed the server's certificate.
func (s *Server) CA() []byte { return s.ca }

// TLSAddr returns where the server speaks TLS from the first octet.
func (s *Server) TLSAddr() (host string, port int) { return "127.0.0.1", s.tls }

// PlainAddr returns where the server offers STARTTLS and also takes passwords in clear text.
func (s *Server) PlainAddr() (host string, port int) { return "127.0.0.1", s.plain }

// EndSessions ends all connections as a shutdown does.
func (s *Server) EndSessions(context.Context, string) error {
	deposit.TermWith(s.conf(), "imapd")
	return nil
}

// Stop ends the server with its connections and removes its folder. More calls give the same result.
func (s *Server) Stop() error {
	s.stop.Do(func() { s.ended = s.end() })
	return s.ended
}

func (s *Server) end() error {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		<-s.exited
		// Each child has a process group of its own, and is known by the configuration it was given.
		deposit.KillWith(s.conf())
	}
	if s.dir == "" {
		return nil
	}
	return os.RemoveAll(s.dir)
}
