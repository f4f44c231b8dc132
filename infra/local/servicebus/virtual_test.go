package servicebus

import (
	"context"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// pipes is a listener in memory, for tests in virtual time: hours of broker,
// client and idle connections pass in milliseconds.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Addr() net.Addr { return pipeAddr{} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

func (p *pipes) dial(ctx context.Context, _ sb.NewWebSocketConnArgs) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.conns <- server:
		return client, nil
	case <-p.done:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "broker.test" }

// virtually runs a test in virtual time, in which the broker's clock, every
// time-out of it and of azservicebus are one.
func virtually(t *testing.T, o Options, run func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		o.Listener = p
		b := benchOn(t, startBroker(t, o), 48*time.Hour, &sb.ClientOptions{NewWebSocketConn: p.dial})
		run(b)
	})
}
