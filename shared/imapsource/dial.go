package imapsource

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// Dialer signs in to source servers.
type Dialer struct {
	// Password gives a mailbox's password. It must not be nil.
	Password func(ctx context.Context, mailbox migrate.Mailbox) (string, error)

	// Stall is how long a server may take to answer, or to take or give the next octets, before the
	// connection counts as broken. Default 2 minutes.
	Stall time.Duration

	// Logger gets what servers do wrong, at debug level. Default: nothing is logged.
	Logger *slog.Logger
}

// defaultStall leaves room for servers that prepare a large answer before they send its first octet.
const defaultStall = 2 * time.Minute

// Dial connects to the endpoint, secures the connection as the endpoint says and signs in. It is a
// migrate.DialSource. The Source ends its connection after an error of yield and when a call's
// context ends.
func (d Dialer) Dial(ctx context.Context, endpoint migrate.Endpoint, mailbox migrate.Mailbox) (migrate.Source, error) {
	password, err := d.Password(ctx, mailbox)
	if err != nil {
		return nil, fmt.Errorf("look up the password: %w", err)
	}
	stall := cmp.Or(d.Stall, defaultStall)
	dialer := net.Dialer{Timeout: stall}
	raw, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(endpoint.Host, strconv.Itoa(endpoint.Port)))
	if err != nil {
		return nil, dialError(ctx, "connect to the source server", err)
	}
	w, err := secure(ctx, raw, endpoint, stall)
	if err != nil {
		raw.Close()
		return nil, dialError(ctx, "secure the connection to the source server", err)
	}
	s := &source{
		wire:   w,
		root:   mailbox.UserRoot,
		logger: cmp.Or(d.Logger, slog.New(slog.DiscardHandler)),
	}
	s.client = imapclient.New(w, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Expunge: func(uint32) { s.expunged.Add(1) },
	}})
	defer s.begin(ctx)()
	if err := s.signIn(endpoint, mailbox.Login, password); err != nil {
		err = s.fail(ctx, "sign in to the source server", "", err)
		s.Close()
		return nil, err
	}
	return s, nil
}

// secure makes the connection what endpoint.Security says, and nothing weaker.
func secure(ctx context.Context, raw net.Conn, endpoint migrate.Endpoint, stall time.Duration) (*wire, error) {
	if endpoint.Security == migrate.SecurityNone {
		return newWire(raw, raw, stall), nil
	}
	roots, err := trusted(endpoint)
	if err != nil {
		return nil, &migrate.Error{Kind: migrate.Configuration, Err: err}
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if endpoint.Security == migrate.SecuritySTARTTLS {
		if err := startTLS(raw, stall); err != nil {
			return nil, err
		}
	}
	if err := raw.SetDeadline(time.Now().Add(stall)); err != nil {
		return nil, err
	}
	conn := tls.Client(raw, &tls.Config{ServerName: endpoint.Host, RootCAs: roots})
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	w := newWire(conn, raw, stall)
	if endpoint.Security == migrate.SecuritySTARTTLS {
		// The server greets once, before STARTTLS, and go-imap waits for a greeting. Capabilities
		// heard in clear text do not count (RFC 9051 section 6.2.1): it asks for them anew.
		w.in.out = []byte("* OK secured\r\n")
	}
	return w, nil
}

// trusted returns the system's certificate authorities and the endpoint's own; nil stands for the
// system's alone.
func trusted(endpoint migrate.Endpoint) (*x509.CertPool, error) {
	pem := []byte(endpoint.CA)
	if endpoint.CA == "" && endpoint.CAFile != "" {
		var err error
		if pem, err = os.ReadFile(endpoint.CAFile); err != nil {
			return nil, fmt.Errorf("read the endpoint's caFile: %w", err)
		}
	}
	if len(pem) == 0 {
		return nil, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New("the endpoint's certificate authority is not a PEM certificate")
	}
	return roots, nil
}
