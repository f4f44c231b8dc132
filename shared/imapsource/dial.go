package imapsource

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"mailferry/shared/migrate"
)

// Dialer signs in to source servers.
type Dialer struct {
	// Password gives a mailbox's password, or its refresh token. It must not be nil. It is asked only
	// where Endpoint.NeedsPassword.
	Password func(ctx context.Context, mailbox migrate.Mailbox) (string, error)

	// KeepPassword stores the refresh token that a token service gave in place of a mailbox's last
	// one. Default: it is used until the process ends.
	KeepPassword func(ctx context.Context, mailbox migrate.Mailbox, password string) error

	// Setting gives the value of an app setting that an endpoint names; empty is not set. Default:
	// none is set.
	Setting func(name string) (string, error)

	// Tokens keeps access tokens between dials. Default: each dial asks for one.
	Tokens *Tokens

	// Stall is how long a server may take to answer, or to take or give the next octets, before the
	// connection counts as broken. Default 2 minutes.
	Stall time.Duration

	// Logger gets what servers do wrong, at debug level. Default: nothing is logged.
	Logger *slog.Logger

	reach func() net.Conn // connects to a server in memory; nil: over the network
}

// defaultStall leaves room for servers that prepare a large answer before they send its first octet.
const defaultStall = 2 * time.Minute

// Dial connects to the endpoint, secures the connection as the endpoint says and signs in. It is a
// migrate.DialSource. The Source ends its connection after an error of yield and when a call's
// context ends.
//
// A refused sign-in is not tried again, but for an access token from Tokens, which may have been
// revoked: it is tried once more with a new one. A Source whose connection breaks signs in again by
// itself where it can go on at the exact message.
func (d Dialer) Dial(ctx context.Context, endpoint migrate.Endpoint, mailbox migrate.Mailbox) (migrate.Source, error) {
	s, err := d.dial(ctx, endpoint, mailbox)
	if err != nil {
		return nil, err
	}
	s.redial = func(ctx context.Context) (*session, error) {
		again, err := d.dial(ctx, endpoint, mailbox)
		if err != nil {
			return nil, err
		}
		return again.session, nil
	}
	return s, nil
}

func (d Dialer) dial(ctx context.Context, endpoint migrate.Endpoint, mailbox migrate.Mailbox) (*source, error) {
	c, kept, err := d.credential(ctx, endpoint, mailbox)
	if err != nil {
		return nil, err
	}
	s, err := d.connect(ctx, endpoint, mailbox, c)
	if kept && migrate.ReasonOf(err) == migrate.TokenRefused {
		d.Tokens.forget(tokenKey(endpoint, mailbox), c.token)
		if c, _, err = d.credential(ctx, endpoint, mailbox); err != nil {
			return nil, err
		}
		s, err = d.connect(ctx, endpoint, mailbox, c)
	}
	if err != nil {
		return nil, withoutSecrets(err, c.password, c.token)
	}
	return s, nil
}

// signInStalls is how many stalls a connection may take until it is signed in. Without such a limit
// a server that says an octet now and then would hold a slot for ever.
const signInStalls = 3

// connect opens a connection and signs in with the credential.
func (d Dialer) connect(ctx context.Context, endpoint migrate.Endpoint, mailbox migrate.Mailbox, c credential) (*source, error) {
	limit := signInStalls * cmp.Or(d.Stall, defaultStall)
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := d.open(limited, endpoint, mailbox, c)
	if migrate.ReasonOf(err) == migrate.ServerClosesAtOnce { // once may be the network's doing
		s, err = d.open(limited, endpoint, mailbox, c)
	}
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return nil, &migrate.Error{Op: "sign in to the source server", Kind: migrate.Unreachable, Reason: migrate.ConnectTimeout,
			Err: fmt.Errorf("it takes longer than %s", limit)}
	}
	return s, err
}

func (d Dialer) open(ctx context.Context, endpoint migrate.Endpoint, mailbox migrate.Mailbox, c credential) (*source, error) {
	stall := cmp.Or(d.Stall, defaultStall)
	raw, err := d.socket(ctx, net.JoinHostPort(endpoint.Host, strconv.Itoa(endpoint.Port)), stall)
	if err != nil {
		return nil, dialError(ctx, "connect to the source server", err)
	}
	w, err := secure(ctx, raw, endpoint, stall)
	if err != nil {
		raw.Close()
		return nil, dialError(ctx, "secure the connection to the source server", err)
	}
	s := newSource(w, cmp.Or(d.Logger, slog.New(slog.DiscardHandler)))
	s.root, s.spaces = mailbox.UserRoot, endpoint.Spaces()
	defer s.begin(ctx)()
	if err := s.enter(endpoint, c); err != nil {
		err = s.fail(ctx, "sign in to the source server", "", err)
		s.Close()
		return nil, err
	}
	s.start()
	return s, nil
}

func (d Dialer) socket(ctx context.Context, address string, stall time.Duration) (net.Conn, error) {
	if d.reach != nil {
		return d.reach(), nil
	}
	dialer := net.Dialer{Timeout: stall}
	return dialer.DialContext(ctx, "tcp", address)
}

// enter signs in and prepares the connection for go-imap.
func (s *source) enter(endpoint migrate.Endpoint, c credential) error {
	d := &dialogue{wire: s.wire}
	// The server greets once, before STARTTLS. Capabilities heard in clear text do not count
	// (RFC 9051 section 6.2.1): it is asked for them anew.
	if endpoint.Security != migrate.SecuritySTARTTLS {
		if err := d.greet(); err != nil {
			return err
		}
	}
	if err := d.signIn(endpoint, c); err != nil {
		return err
	}
	s.wire.forgetStatus() // it may repeat what was sent
	if err := d.compress(endpoint); err != nil {
		return err
	}
	if err := d.handOver(); err != nil {
		return err
	}
	s.caps = d.caps
	return nil
}

// secure makes the connection what endpoint.Security says, and nothing weaker.
func secure(ctx context.Context, raw net.Conn, endpoint migrate.Endpoint, stall time.Duration) (*wire, error) {
	if endpoint.Security == migrate.SecurityNone {
		return newWire(raw, raw, stall), nil
	}
	config, err := tlsConfig(endpoint)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if endpoint.Security == migrate.SecuritySTARTTLS {
		if err := (&dialogue{wire: newWire(raw, raw, stall)}).startTLS(); err != nil {
			return nil, err
		}
	}
	if err := raw.SetDeadline(time.Now().Add(stall)); err != nil {
		return nil, err
	}
	conn := tls.Client(raw, config)
	err = conn.HandshakeContext(ctx)
	if closed(err) && endpoint.Security == migrate.SecurityTLS {
		err = closedAtOnce(err)
	}
	if err != nil {
		return nil, fmt.Errorf("agree on TLS: %w", err)
	}
	return newWire(conn, raw, stall), nil
}
