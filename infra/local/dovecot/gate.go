package dovecot

import (
	"io"
	"net"
	"sync"
)

// meter counts the connections of several gates together.
type meter struct {
	mu               sync.Mutex
	now, peak, total int
}

func (m *meter) add(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now += n
	m.total += max(n, 0)
	m.peak = max(m.peak, m.now)
}

// gate forwards connections to a port and counts them.
type gate struct {
	listener net.Listener
	port     int
	target   string
	meter    *meter
	handlers sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]bool
	closed bool
}

func openGate(target int, m *meter) (*gate, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &gate{listener: l, port: l.Addr().(*net.TCPAddr).Port, target: address(target), meter: m, open: map[net.Conn]bool{}}
	g.handlers.Go(g.serve)
	return g, nil
}

func (g *gate) serve() {
	for {
		client, err := g.listener.Accept()
		if err != nil {
			return
		}
		if !g.enter(client) {
			client.Close()
			return
		}
		g.handlers.Go(func() {
			gone := sync.OnceFunc(func() { g.meter.add(-1) })
			defer g.leave(client, gone)
			g.forward(client, gone)
		})
	}
}

func (g *gate) enter(client net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.open[client] = true
	g.meter.add(1)
	return true
}

func (g *gate) leave(client net.Conn, gone func()) {
	client.Close()
	gone()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, client)
}

// forward copies both ways until one side ends. It calls gone as soon as the client has, before it ends the
// server's side, which takes its time on a busy machine.
func (g *gate) forward(client net.Conn, gone func()) {
	server, err := net.Dial("tcp", g.target)
	if err != nil {
		return
	}
	defer server.Close()
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		gone()
		server.Close()
	})
	_, _ = io.Copy(client, server)
	client.Close()
	up.Wait()
}

// cut ends every connection.
func (g *gate) cut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for client := range g.open {
		client.Close()
	}
}

func (g *gate) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.listener.Close()
	g.cut()
	g.handlers.Wait()
}

// Connections returns how many client connections there are, how many there have been at most at the
// same time since the last ResetPeak, and how many in all.
func (s *Server) Connections() (now, peak, total int) {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	return s.meter.now, s.meter.peak, s.meter.total
}

// ResetPeak lets the peak count from now.
func (s *Server) ResetPeak() {
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	s.meter.peak = s.meter.now
}

// CutConnections ends every connection, as a network fault does.
func (s *Server) CutConnections() {
	s.tls.cut()
	s.plain.cut()
}
