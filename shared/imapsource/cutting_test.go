package imapsource

import (
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
)

// cutting puts a proxy in front of a port of this machine that ends each connection after so many
// octets from the server, and returns its port.
func cutting(t *testing.T, port int, octets int64) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { forward(client, port, octets) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

func forward(client net.Conn, port int, octets int64) {
	defer client.Close()
	server, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return
	}
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		server.Close()
	})
	_, _ = io.CopyN(client, server, octets)
	client.Close()
	server.Close()
	up.Wait()
}
