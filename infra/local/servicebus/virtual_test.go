package servicebus

import (
	"context"
	"net"
	"testing"
	"testing/synctest"
	"time"

	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// virtually runs a test in virtual time, in which the broker's clock, every
// time-out of it and of azservicebus are one.
func virtually(t *testing.T, o Options, run func(b *bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := NewPipes()
		o.Listener = p
		b := benchOn(t, startBroker(t, o), 48*time.Hour, &sb.ClientOptions{NewWebSocketConn: func(ctx context.Context, _ sb.NewWebSocketConnArgs) (net.Conn, error) { return p.Dial(ctx) }})
		run(b)
	})
}
