// Package exchange is a stand-in for Exchange Online on one machine: one
// mailbox store, a Microsoft Graph face and an IMAP face over it, and the token
// endpoint both need. It refuses what Exchange refuses.
package exchange

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"mailferry/infra/local/exchange/graph"
	"mailferry/infra/local/exchange/imap"
	"mailferry/infra/local/exchange/life"
	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/exchange/strike"
	"mailferry/infra/local/exchange/token"
	"mailferry/infra/local/faults"
)

type (
	// User is a directory entry, with a mailbox if licensed or shared.
	User = store.User
	// Mailbox is a mailbox as the tests see it.
	Mailbox = store.Mailbox
	// Message is a message as the tests see it.
	Message = store.Message
	// Stats sums up a mailbox.
	Stats = store.Stats
	// Departure is a mail, receipt or invitation that would have left.
	Departure = store.Departure
)

// Defaults of Options.
const (
	DefaultTenantID       = "11111111-2222-4333-8444-555555555555"
	DefaultClientID       = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"
	DefaultClientSecret   = "local-exchange-secret"
	DefaultMaxMessageSize = 36 << 20 // MaxReceiveSize of a new mailbox
)

// Options say what Start starts; the zero value is usable.
type Options struct {
	// Dir holds bodies, the journal, the signing key and the self-made
	// certificate, and is picked up again at the next start. If it is empty, a
	// temporary directory is used and removed by Close.
	Dir                string
	GraphAddr          string // default "127.0.0.1:0"
	UploadAddr         string // of the host for large attachments, called localhost; default "127.0.0.1:0"
	IMAPAddr           string // default "127.0.0.1:0"
	TenantID, ClientID string
	ClientSecret       string
	TLS                tls.Certificate // default: self-made, see CA
	Logger             *slog.Logger    // default discards
	Now                func() time.Time
	// MaxMessageSize in bytes is the limit of mailboxes that set none; default
	// DefaultMaxMessageSize.
	MaxMessageSize           int64
	MaxConnectionsPerMailbox int           // over IMAP; default 16
	TokenLifetime            time.Duration // default 1 hour
	MaxItemsPerFolder        int           // default store.DefaultMaxItemsPerFolder
	// Faults makes the faces misbehave; nil has no rules. The verbs are
	// "restart", "expire-tokens", "move", "fill-quota" and those of life.Register.
	Faults *faults.Plan
	// LifeSeed decides what Life.Step does.
	LifeSeed uint64
	// Graph are the limits of Microsoft Graph; MessageSize is MaxMessageSize.
	Graph graph.Limits
	// GraphRoles are the application permissions that were consented to;
	// default token.DefaultRoles.
	GraphRoles []string
	// UnverifiedDomains are domains of the tenant beside those of the users.
	UnverifiedDomains []string
}

func (o Options) withDefaults() Options {
	o.GraphAddr = cmp.Or(o.GraphAddr, "127.0.0.1:0")
	o.UploadAddr = cmp.Or(o.UploadAddr, "127.0.0.1:0")
	o.IMAPAddr = cmp.Or(o.IMAPAddr, "127.0.0.1:0")
	o.TenantID = cmp.Or(o.TenantID, DefaultTenantID)
	o.ClientID = cmp.Or(o.ClientID, DefaultClientID)
	o.ClientSecret = cmp.Or(o.ClientSecret, DefaultClientSecret)
	o.MaxMessageSize = cmp.Or(o.MaxMessageSize, DefaultMaxMessageSize)
	o.MaxConnectionsPerMailbox = cmp.Or(o.MaxConnectionsPerMailbox, 16)
	o.TokenLifetime = cmp.Or(o.TokenLifetime, time.Hour)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.GraphRoles == nil {
		o.GraphRoles = token.DefaultRoles
	}
	o.Graph.MessageSize = o.MaxMessageSize
	return o
}

// Server is a running stand-in.
type Server struct {
	o     Options
	temp  string // directory to remove, "" if none
	stop  func() bool
	close func() error

	mu      sync.RWMutex // held while parts are replaced
	closed  bool
	store   *store.Store
	life    *life.Life
	ca      []byte
	http    []*http.Server
	late    []*strike.Handler
	graph   net.Listener
	uploads net.Listener
	imap    *imap.Server
	imapOn  string
	serving sync.WaitGroup
}

// Start opens the store and serves until Close is called or ctx ends.
func Start(ctx context.Context, o Options) (*Server, error) {
	o = o.withDefaults()
	s := &Server{}
	s.close = sync.OnceValue(s.shutdown)
	err := s.prepareDir(&o)
	if err == nil {
		err = s.start(ctx, o)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start Exchange stand-in: %w", err), s.close())
	}
	s.stop = context.AfterFunc(ctx, func() {
		if err := s.close(); err != nil {
			o.Logger.Error("stop Exchange stand-in", "error", err)
		}
	})
	return s, nil
}

func (s *Server) start(ctx context.Context, o Options) (err error) {
	s.o = o
	if s.store, err = store.Open(store.Options{Dir: o.Dir, Now: o.Now, MaxItemsPerFolder: o.MaxItemsPerFolder}); err != nil {
		return err
	}
	cert, err := certificate(o)
	if err != nil {
		return err
	}
	s.ca = chainPEM(cert)
	key, err := signingKey(filepath.Join(o.Dir, "signing.key"))
	if err != nil {
		return err
	}
	authority := &token.Authority{
		TenantID: o.TenantID, ClientID: o.ClientID, ClientSecret: o.ClientSecret,
		Key: key, Lifetime: o.TokenLifetime, Now: o.Now, Roles: o.GraphRoles,
	}
	o.Faults.Verb("expire-tokens", func(context.Context, json.RawMessage) error {
		authority.ExpireAll()
		return nil
	})
	graph.Verbs(o.Faults, s.store)
	s.life = life.New(s.store, o.Now, o.LifeSeed)
	life.Register(o.Faults, s.life)
	o.Faults.Verb("restart", func(ctx context.Context, _ json.RawMessage) error { return s.Restart(ctx) })
	tlsConfig := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if err := s.startIMAP(ctx, o, authority, tlsConfig.Clone()); err != nil {
		return err
	}
	return s.startHTTP(ctx, o, authority, tlsConfig)
}

func (s *Server) prepareDir(o *Options) error {
	if o.Dir != "" {
		return os.MkdirAll(o.Dir, 0o700)
	}
	dir, err := os.MkdirTemp("", "exchange-")
	o.Dir, s.temp = dir, dir
	return err
}

func (s *Server) startIMAP(ctx context.Context, o Options, a *token.Authority, t *tls.Config) error {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", o.IMAPAddr)
	if err != nil {
		return fmt.Errorf("listen for IMAP: %w", err)
	}
	s.imapOn = ln.Addr().String()
	s.imap = imap.Serve(ln, imap.Options{
		Store: s.store, TLS: t, Logger: o.Logger,
		Check: func(raw string) (time.Time, error) {
			c, err := a.Check(raw, token.Outlook)
			return time.Unix(c.Expires, 0), err
		},
		Expire: a.Expire, Now: o.Now, Faults: o.Faults,
		MaxMessageSize: o.MaxMessageSize, MaxConnectionsPerMailbox: o.MaxConnectionsPerMailbox,
	})
	return nil
}

// GraphURL is the base URL of Graph with its version.
func (s *Server) GraphURL() string { return s.TokenURL() + "/v1.0" }

// TokenURL is the authority host, to which clients add the tenant.
func (s *Server) TokenURL() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return "https://" + s.graph.Addr().String()
}

// IMAPAddr is where IMAP over TLS listens.
func (s *Server) IMAPAddr() string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.imapOn
}

// CA is the certificate to trust, in PEM; all faces use it, for 127.0.0.1 and
// localhost.
func (s *Server) CA() []byte { return append([]byte(nil), s.ca...) }

// AddUser adds a user. One with a known UPN keeps ids, folders and messages.
func (s *Server) AddUser(u User) error { return s.current().AddUser(u) }

// Mailbox looks a mailbox up by UPN, id, mail or proxy address. It is of no use
// after a restart.
func (s *Server) Mailbox(address string) (*Mailbox, bool) { return s.current().Mailbox(address) }

// Departures lists the mails, receipts and invitations that would have left.
func (s *Server) Departures() []Departure { return s.current().Departures() }

// Life is what goes on in the mailboxes beside the faces. It is of no use after a
// restart.
func (s *Server) Life() *life.Life {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.life
}

func (s *Server) current() *store.Store {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.store
}

// signingKey reads the key of the tokens or makes one, so that tokens outlive
// a restart.
func signingKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil && len(key) == 32 {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read signing key: %w", err)
	}
	key = make([]byte, 32)
	rand.Read(key)
	if err := os.WriteFile(path, key, 0o600); err != nil {
		return nil, fmt.Errorf("write signing key: %w", err)
	}
	return key, nil
}
