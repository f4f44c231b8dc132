package functionhost

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"regexp"
	"strings"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// connections are the connections of an instance to Service Bus, which end with
// it when it crashes. The zero value has none.
type connections struct {
	mu   sync.Mutex
	open map[net.Conn]bool
	over bool
}

// dialer is azservicebus.ClientOptions.NewWebSocketConn. The client speaks AMQP
// over whatever connection it returns.
type dialer = func(context.Context, azservicebus.NewWebSocketConnArgs) (net.Conn, error)

var (
	endpoint = regexp.MustCompile(`(?i)(?:^|;)\s*Endpoint=sb://([^/:;]+)(:[0-9]+)?`)
	emulator = regexp.MustCompile(`(?i)(?:^|;)\s*UseDevelopmentEmulator=true`)
)

// dialer connects to the namespace of a connection string as the client itself
// would: by TLS, except to an emulator.
func (c *connections) dialer(connection string) (namespace string, connect dialer, err error) {
	parts := endpoint.FindStringSubmatch(connection)
	if parts == nil {
		return "", nil, errors.New("it is no Service Bus connection string")
	}
	namespace = parts[1]
	dial, port := new(net.Dialer).DialContext, "5672"
	if !emulator.MatchString(connection) {
		dial = (&tls.Dialer{Config: &tls.Config{ServerName: namespace, MinVersion: tls.VersionTLS12}}).DialContext
		port = "5671"
	}
	address := net.JoinHostPort(namespace, cmp.Or(strings.TrimPrefix(parts[2], ":"), port))
	return namespace, func(ctx context.Context, _ azservicebus.NewWebSocketConnArgs) (net.Conn, error) {
		connection, err := dial(ctx, "tcp", address)
		if err != nil {
			return nil, err
		}
		return c.add(connection)
	}, nil
}

func (c *connections) add(connection net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over {
		connection.Close()
		return nil, errCrashed
	}
	if c.open == nil {
		c.open = map[net.Conn]bool{}
	}
	c.open[connection] = true
	return &trackedConn{Conn: connection, of: c}, nil
}

// cut closes every connection, and those to come.
func (c *connections) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	for connection := range c.open {
		connection.Close()
	}
}

type trackedConn struct {
	net.Conn
	of *connections
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.open, c.Conn)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
