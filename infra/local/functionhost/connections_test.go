package functionhost

import (
	"errors"
	"net"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

// A crash cuts the connections to Service Bus, and lets none be made again.
func TestConnectionsAreCut(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	var c connections
	namespace, dial, err := c.dialer("UseDevelopmentEmulator=true;Endpoint=sb://" + listener.Addr().String() + "/;SharedAccessKeyName=k;SharedAccessKey=s")
	if err != nil || namespace != "127.0.0.1" {
		t.Fatalf("%q, %v", namespace, err)
	}
	connect := func() (net.Conn, error) { return dial(t.Context(), azservicebus.NewWebSocketConnArgs{}) }
	given, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	given.Close()
	kept, err := connect()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.open) != 1 {
		t.Errorf("%d connections open, want 1", len(c.open))
	}
	c.cut()
	if _, err := kept.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after the cut: %v", err)
	}
	if _, err := connect(); !errors.Is(err, errCrashed) {
		t.Errorf("connect after the cut: %v", err)
	}
}

// Without an emulator the connection is TLS, and the server must prove its name.
func TestConnectionsAreTLSButToAnEmulator(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	first := make(chan byte, 1)
	go func() {
		c, err := listener.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		hello := make([]byte, 1)
		_, _ = c.Read(hello)
		first <- hello[0]
	}()
	var c connections
	_, dial, err := c.dialer("Endpoint=sb://" + listener.Addr().String() + "/;SharedAccessKeyName=k;SharedAccessKey=s")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dial(t.Context(), azservicebus.NewWebSocketConnArgs{}); err == nil {
		t.Error("connected without TLS")
	}
	const handshake = 22 // RFC 8446, section 5.1
	if got := <-first; got != handshake {
		t.Errorf("the first octet is %d", got)
	}
	if _, _, err := c.dialer("SharedAccessKeyName=k"); err == nil {
		t.Error("a connection string without an endpoint is accepted")
	}
}
