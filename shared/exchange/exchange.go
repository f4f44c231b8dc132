package exchange

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	msgraph "github.com/microsoftgraph/msgraph-sdk-go"

	"mailferry/shared/migrate"
)

// The service's own addresses and scopes.
const (
	DefaultGraphURL = "https://graph.microsoft.com/v1.0"
	DefaultIMAPAddr = "outlook.office365.com:993"

	graphScope = "https://graph.microsoft.com/.default"
	imapScope  = "https://outlook.office365.com/.default"
)

// Options configure New. The zero value of every field but the credentials has a meaning.
type Options struct {
	Graph azcore.TokenCredential // required; asked for scope https://graph.microsoft.com/.default
	IMAP  azcore.TokenCredential // asked for scope https://outlook.office365.com/.default; nil: Graph's

	GraphURL string         // with the version; default DefaultGraphURL; http only to this machine
	IMAPAddr string         // host:port, TLS from the first octet; default DefaultIMAPAddr
	RootCAs  *x509.CertPool // trusted for both; nil: the system's

	Writers int               // IMAP connections per mailbox, default 4
	Stall   time.Duration     // how long a connection may make no progress, default 2 minutes
	Words   *mime.WordDecoder // decodes subjects that Exchange left encoded; nil: Go's own charsets
	Logger  *slog.Logger      // nil: none
}

// Exchange is one tenant's Exchange Online.
type Exchange struct {
	options   Options
	graph     *msgraph.GraphServiceClient
	adapter   *msgraph.GraphRequestAdapter
	transport *http.Transport
	tokens    *tokens
	tls       *tls.Config // for IMAP
}

var _ migrate.Directory = (*Exchange)(nil)

// New checks the options. It opens no connection.
func New(o Options) (*Exchange, error) {
	if o.Graph == nil {
		return nil, errors.New("check exchange options: no credential for Graph")
	}
	o = o.withDefaults()
	base, err := url.Parse(o.GraphURL)
	if err != nil || base.Host == "" {
		return nil, fmt.Errorf("check exchange options: %q is no address of Graph", o.GraphURL)
	}
	host, _, err := net.SplitHostPort(o.IMAPAddr)
	if err != nil {
		return nil, fmt.Errorf("check exchange options: IMAP address: %w", err)
	}
	x := &Exchange{
		options: o,
		tokens:  &tokens{credential: namedCredential{o.IMAP}, scope: imapScope, now: time.Now},
		tls:     &tls.Config{ServerName: host, RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
	}
	x.transport = newTransport(o)
	x.adapter, err = newAdapter(o, base.Hostname(), x.transport)
	if err != nil {
		return nil, fmt.Errorf("prepare Graph client: %w", err)
	}
	x.graph = msgraph.NewGraphServiceClient(x.adapter)
	// The constructor sets the public address where the adapter has none of its own.
	x.adapter.SetBaseUrl(o.GraphURL)
	return x, nil
}

func (o Options) withDefaults() Options {
	if o.IMAP == nil {
		o.IMAP = o.Graph
	}
	if o.GraphURL == "" {
		o.GraphURL = DefaultGraphURL
	}
	if o.IMAPAddr == "" {
		o.IMAPAddr = DefaultIMAPAddr
	}
	if o.Writers <= 0 {
		o.Writers = 4
	}
	if o.Stall <= 0 {
		o.Stall = 2 * time.Minute
	}
	if o.Words == nil {
		o.Words = new(mime.WordDecoder)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Close gives up idle connections to Graph. Targets are closed on their own.
func (x *Exchange) Close() error {
	x.transport.CloseIdleConnections()
	return nil
}

// Open prepares writing into a mailbox. It is a migrate.OpenTarget and does not connect yet.
func (x *Exchange) Open(ctx context.Context, mailbox migrate.Mailbox) (migrate.Target, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if mailbox.Target.UserID == "" || mailbox.Target.Address == "" {
		return nil, &migrate.Error{Op: "open target mailbox", Kind: migrate.NoMailbox,
			Err: errors.New("the mailbox was not resolved to a user")}
	}
	return newTarget(x, mailbox.Target), nil
}
