// Package courier runs a Courier IMAP server from Debian as child processes: a source server of the
// tests, and an old one: no UIDNEXT, no LITERAL+, no SPECIAL-USE, folders below INBOX. The packages are
// unpacked and not installed, because Debian's IMAP servers exclude each other. It needs root, for
// chroot.
package courier

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
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

// Server is a running Courier.
type Server struct {
	dir        string // its root
	perAddress int    // connections that it takes from one address
	ca         []byte
	tls, plain int // ports
	processes  []*exec.Cmd
	gamin      net.Listener
	playing    sync.WaitGroup // of gamin
	exited     chan struct{}  // closed when the first of them ended
	ending     sync.WaitGroup
	first      sync.Once
	stop       sync.Once
	ended      error

	mu        sync.Mutex
	passwords map[string]string
}

// Start runs a server in a temporary folder until Stop. It fetches the Debian packages if need be.
func Start(ctx context.Context) (*Server, error) { return StartLimited(ctx, 200) }

// StartLimited is Start for a server that takes so many connections from one address, at each of its two
// ports (MAXPERIP). It closes any other without a word.
func StartLimited(ctx context.Context, perAddress int) (*Server, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("start courier: it runs in a root of its own, which only root can give it")
	}
	unpacked, err := needs.Unpacked(ctx, "courier-imap", "courier-base", "courier-authdaemon", "courier-authlib", "courier-authlib-userdb")
	if err != nil {
		return nil, err
	}
	s := &Server{perAddress: perAddress, exited: make(chan struct{}), passwords: map[string]string{}}
	if err = s.prepare(unpacked); err == nil {
		err = s.run(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start courier: %w\n%s", err, s.log()), s.Stop())
	}
	return s, nil
}

func (s *Server) prepare(unpacked string) (err error) {
	if s.dir, err = os.MkdirTemp("", "courier-"); err != nil {
		return err
	}
	if err := buildJail(s.dir, unpacked, s.ownerName()); err != nil {
		return err
	}
	if s.ca, err = dovecot.Certificates(filepath.Join(s.dir, "etc/courier")); err != nil {
		return err
	}
	var pem []byte
	for _, name := range []string{"server.key", "server.pem"} {
		text, err := os.ReadFile(filepath.Join(s.dir, "etc/courier", name))
		if err != nil {
			return err
		}
		pem = append(pem, text...)
	}
	path := filepath.Join(s.dir, "etc/courier/imapd.pem")
	return errors.Join(os.WriteFile(path, pem, 0o600), os.Chown(path, owner, owner))
}

// run starts the daemon that checks passwords and one listener for each port, and waits for all three. Whoever
// signs in ahead of the daemon is hung up on ("authdaemon: s_connect() failed" in the log).
func (s *Server) run(ctx context.Context) error {
	if err := errors.Join(s.writeUsers(), s.playGamin()); err != nil {
		return err
	}
	if err := s.start(nil, "/usr/lib/courier/courier-authlib/authdaemond"); err != nil {
		return err
	}
	free, err := ports.Free(2)
	if err != nil {
		return err
	}
	s.tls, s.plain = free[0], free[1]
	const login, imapd = "/usr/lib/courier/courier/imaplogin", "/usr/bin/imapd"
	listen := []string{"-address=127.0.0.1", "-maxprocs=200", "-maxperip=" + strconv.Itoa(s.perAddress), "-nodnslookup", "-noidentlookup"}
	plain := append(listen[:len(listen):len(listen)], strconv.Itoa(s.plain), login, imapd, "Maildir")
	if err := s.start(append(settings(), "IMAP_STARTTLS=YES"), "/usr/sbin/couriertcpd", plain...); err != nil {
		return err
	}
	tls := append(listen[:len(listen):len(listen)], strconv.Itoa(s.tls), "/usr/bin/couriertls", "-server", "-tcpd", "-user=courier", login, imapd, "Maildir")
	if err := s.start(append(settings(), "IMAP_TLS=1"), "/usr/sbin/couriertcpd", tls...); err != nil {
		return err
	}
	return deposit.Ready(ctx, s.exited, s.addr(s.plain), &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: s.tls},
		&net.UnixAddr{Net: "unix", Name: filepath.Join(s.dir, "run/courier/authdaemon/socket")})
}

// settings are Debian's /etc/courier/imapd and imapd-ssl, but for two: passwords may come by PLAIN,
// and IMAP_EMPTYTRASH, which has "Trash:7", removes nothing.
func settings() []string {
	const capability = "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE AUTH=PLAIN"
	return []string{
		"IMAP_CAPABILITY=" + capability, "IMAP_CAPABILITY_TLS=" + capability, "IMAP_KEYWORDS=1", "IMAP_ACL=1",
		"IMAP_IDLE_TIMEOUT=60", "IMAP_CHECK_ALL_FOLDERS=0", "IMAP_OBSOLETE_CLIENT=0", "IMAP_USELOCKS=0", "IMAP_ENHANCEDIDLE=0",
		"IMAP_TRASHFOLDERNAME=Trash", "IMAP_EMPTYTRASH=", "IMAP_MAILBOX_SANITY_CHECK=1", "IMAP_UMASK=022",
		"COURIERTLS=/usr/bin/couriertls", "TLS_CERTFILE=/etc/courier/imapd.pem", "TLS_VERIFYPEER=NONE", "MAILDIRPATH=Maildir",
	}
}

// start runs a program in the root.
func (s *Server) start(env []string, path string, args ...string) error {
	out, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd := exec.Command(path, args...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, "/", out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: s.dir, Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.processes = append(s.processes, cmd)
	s.ending.Go(func() {
		_ = cmd.Wait()
		s.first.Do(func() { close(s.exited) })
	})
	return nil
}

func (s *Server) log() string {
	text, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-10):], "\n")
}

func (s *Server) addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// AddUser adds a login with an empty mailbox, or changes its password.
func (s *Server) AddUser(_ context.Context, login, password string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.passwords[login] = password
	home := filepath.Join(s.dir, "mail", login)
	for _, sub := range []string{"", "Maildir", "Maildir/cur", "Maildir/new", "Maildir/tmp"} {
		path := filepath.Join(home, sub)
		if err := errors.Join(os.MkdirAll(path, 0o700), os.Chown(path, owner, owner)); err != nil {
			return fmt.Errorf("add user %q: %w", login, err)
		}
	}
	return s.writeUsers()
}

// Fill puts messages into a user's mailbox, in their order.
func (s *Server) Fill(ctx context.Context, login string, items []dovecot.Item) error {
	s.mu.Lock()
	password := s.passwords[login]
	s.mu.Unlock()
	a := deposit.Account{Addr: s.addr(s.plain), Login: login, Password: password, Separator: ".", Prefix: "INBOX."}
	return errors.Join(deposit.Fill(ctx, a, items), s.age(login))
}

// Place puts messages into a user's INBOX by way of its Maildir, in their order: also what nobody could
// append. Lines in files end with LF alone, which Courier shows as CRLF. Until Select, UIDs do not last.
func (s *Server) Place(_ context.Context, login string, items []dovecot.Item) error {
	own := func(path string) error { return os.Chown(path, owner, owner) }
	for _, item := range items {
		item.Message = bytes.ReplaceAll(item.Message, []byte("\r\n"), []byte("\n"))
		if err := dovecot.PutIntoMaildir(s.MailDir(login), item, fmt.Sprintf(",S=%d", len(item.Message)), own); err != nil {
			return fmt.Errorf("place a message: %w", err)
		}
	}
	return nil
}

// Select opens a user's INBOX for writing, as a mail program does: Courier gives its messages UIDs that
// last.
func (s *Server) Select(ctx context.Context, login string) error {
	s.mu.Lock()
	a := deposit.Account{Addr: s.addr(s.plain), Login: login, Password: s.passwords[login]}
	s.mu.Unlock()
	err := deposit.Do(ctx, a, func(c *imapclient.Client) error {
		_, err := c.Select("INBOX", nil).Wait()
		return err
	})
	return errors.Join(err, s.age(login))
}

// age makes a user's folders seem older by two days: their UIDVALIDITY is when they were first opened.
func (s *Server) age(login string) error {
	for _, pattern := range []string{"courierimapuiddb", ".*/courierimapuiddb"} {
		files, err := filepath.Glob(filepath.Join(s.MailDir(login), pattern))
		if err != nil {
			return err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			var version, validity int64
			if _, err := fmt.Sscan(string(text), &version, &validity); err != nil {
				return fmt.Errorf("read %s: %w", file, err)
			}
			old := bytes.Replace(text, fmt.Append(nil, validity), fmt.Append(nil, validity-2*24*3600), 1)
			if err := os.WriteFile(file, old, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// MailDir returns a user's Maildir.
func (s *Server) MailDir(login string) string { return filepath.Join(s.dir, "mail", login, "Maildir") }

// CA returns the PEM of the certificate authority that signed the server's certificate.
func (s *Server) CA() []byte { return s.ca }

// TLSAddr returns where the server speaks TLS from the first octet.
func (s *Server) TLSAddr() (host string, port int) { return "127.0.0.1", s.tls }

// PlainAddr returns where the server offers STARTTLS and also takes passwords in clear text.
func (s *Server) PlainAddr() (host string, port int) { return "127.0.0.1", s.plain }

// Counts reports whether a connection from that port of this machine still counts to the limit: couriertcpd
// counts it until the process that it started for it has ended.
func (s *Server) Counts(port int) bool {
	return deposit.RunsIn(s.dir, "TCPREMOTEPORT="+strconv.Itoa(port))
}

// EndSessions ends all connections as a shutdown does.
func (s *Server) EndSessions(context.Context, string) error {
	deposit.TermIn(s.dir, "imapd")
	return nil
}

// Stop ends the server with its connections and removes its root. More calls give the same result.
func (s *Server) Stop() error {
	s.stop.Do(func() { s.ended = s.end() })
	return s.ended
}

func (s *Server) end() error {
	for _, cmd := range s.processes {
		_ = cmd.Process.Kill()
	}
	s.ending.Wait()
	if s.dir == "" {
		return nil
	}
	deposit.KillIn(s.dir)
	if s.gamin != nil {
		s.gamin.Close()
		s.playing.Wait()
	}
	return os.RemoveAll(s.dir)
}
