package stack

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"mailferry/infra/local/faults"
)

// control is the face by which parts are told over HTTP to misbehave.
type control struct {
	listener net.Listener
	server   *http.Server
	done     chan struct{}
}

// startControl serves the plan's control calls on addr, which must be of this machine: whoever reaches
// it can break the app.
func startControl(ctx context.Context, addr string, plan *faults.Plan) (*control, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for faults: %w", err)
	}
	if host := l.Addr().(*net.TCPAddr); !host.IP.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("listen for faults: %s is not an address of this machine alone", host)
	}
	c := &control{listener: l, server: &http.Server{Handler: plan, ReadHeaderTimeout: time.Minute}, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		_ = c.server.Serve(l)
	}()
	return c, nil
}

func (c *control) url() string { return "http://" + c.listener.Addr().String() }

func (c *control) stop() error {
	err := c.server.Close()
	<-c.done
	return err
}
