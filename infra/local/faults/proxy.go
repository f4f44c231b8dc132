package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ProxyOptions say what a Proxy carries.
type ProxyOptions struct {
	Name     string        // the first half of its points
	Upstream string        // where it connects to, "host:port"
	Listen   string        // where it listens; "" is a free port of 127.0.0.1
	RTT      time.Duration // added round trip: each direction is late by half of it, its rate stays
	Plan     *Plan         // nil: nothing goes wrong
}

// Proxy carries TCP connections. Its points, asked once for each connection, are
//
//   - NAME.connect, before it connects upstream: Delay, Cut;
//   - NAME.up, what the client sends, and NAME.down, what it gets: Delay (once, when Bytes octets have
//     passed), Cut and CutAfter (the connection, when Bytes octets have passed), LoseAnswer (from then
//     on octets vanish, and nobody is told).
//
// The detail is the upstream address.
type Proxy struct {
	o        ProxyOptions
	listener net.Listener
	ctx      context.Context
	stop     context.CancelFunc
	work     sync.WaitGroup

	mu    sync.Mutex
	links map[*link]struct{}

	accepted, turns, up, down atomic.Int64
}

// StartProxy listens and serves until Close is called or ctx ends.
func StartProxy(ctx context.Context, o ProxyOptions) (*Proxy, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen for the %s proxy: %w", o.Name, err)
	}
	p := &Proxy{o: o, listener: l, links: make(map[*link]struct{})}
	p.ctx, p.stop = context.WithCancel(ctx)
	context.AfterFunc(p.ctx, func() { l.Close() })
	p.work.Go(p.accept)
	return p, nil
}

// Addr is where clients connect to.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Connections is how many connections were accepted so far.
func (p *Proxy) Connections() int64 { return p.accepted.Load() }

// Turns is how often a client waited for an answer so far: each time it sends after it has received, or
// for the first time. Commands that are sent together are one turn.
func (p *Proxy) Turns() int64 { return p.turns.Load() }

// Octets is how much was carried to the upstream and to clients so far.
func (p *Proxy) Octets() (up, down int64) { return p.up.Load(), p.down.Load() }

// CutAll cuts every connection that is open now.
func (p *Proxy) CutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut()
	}
}

// Close cuts everything and returns when nothing is left.
func (p *Proxy) Close() error {
	p.stop()
	p.work.Wait()
	return nil
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.accepted.Add(1)
		p.work.Go(func() { p.carry(client) })
	}
}

func (p *Proxy) carry(client net.Conn) {
	defer client.Close()
	if r := p.o.Plan.At(p.o.Name+".connect", p.o.Upstream); r != nil {
		if r.Do == Cut || r.Do == Delay && Pause(p.ctx, r.After) != nil {
			return
		}
	}
	server, err := new(net.Dialer).DialContext(p.ctx, "tcp", p.o.Upstream)
	if err != nil {
		return
	}
	l := &link{client: client, server: server}
	p.mu.Lock()
	p.links[l] = struct{}{}
	p.mu.Unlock()
	defer context.AfterFunc(p.ctx, l.cut)()
	var both sync.WaitGroup
	both.Go(func() { p.flow(l, client, server, ".up", l.sent(p)) })
	both.Go(func() { p.flow(l, server, client, ".down", l.received(p)) })
	both.Wait()
	server.Close()
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	answered       atomic.Bool // the client has received since it sent
	begun          atomic.Bool
}

func (l *link) cut() {
	abort(l.client)
	abort(l.server)
}

// abort closes with RST, as a connection that breaks does.
func abort(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	c.Close()
}

func (l *link) sent(p *Proxy) func(int) {
	return func(n int) {
		if l.answered.Swap(false) || !l.begun.Swap(true) {
			p.turns.Add(1)
		}
		p.up.Add(int64(n))
	}
}

func (l *link) received(p *Proxy) func(int) {
	return func(n int) {
		l.answered.Store(true)
		p.down.Add(int64(n))
	}
}

// chunk is what was read at once, and when it is to be passed on.
type chunk struct {
	octets []byte
	due    time.Time
}

// inFlight bounds what a direction holds, in chunks: 8 MiB, what 1 Gbit/s fills in 64 ms.
const inFlight, chunkSize = 256, 32 << 10

// flow carries one direction until it ends.
func (p *Proxy) flow(l *link, from, to net.Conn, side string, count func(int)) {
	v := &valve{rule: p.o.Plan.At(p.o.Name+side, p.o.Upstream)}
	line := make(chan chunk, inFlight)
	go func() {
		defer close(line)
		for {
			c := chunk{octets: make([]byte, chunkSize)}
			n, err := from.Read(c.octets)
			if n > 0 {
				c.octets, c.due = c.octets[:n], time.Now().Add(p.o.RTT/2)
				line <- c
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range line {
		if p.o.RTT > 0 && Pause(p.ctx, time.Until(c.due)) != nil {
			l.cut()
			break
		}
		octets, err := v.pass(p.ctx, c.octets)
		count(len(octets))
		if _, writeErr := to.Write(octets); writeErr != nil || err != nil {
			l.cut()
			break
		}
	}
	for range line { // the reader ends when its connection does
	}
	if t, ok := to.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}

// valve lets octets of one direction pass as its rule says.
type valve struct {
	rule   *Rule
	passed int64
}

var errCut = errors.New("cut on demand")

// pass returns what is passed on of octets, and an error when the connection is to be cut then.
func (v *valve) pass(ctx context.Context, octets []byte) ([]byte, error) {
	if v.rule == nil {
		return octets, nil
	}
	left := v.rule.Bytes - v.passed
	v.passed += int64(len(octets))
	if int64(len(octets)) <= left {
		return octets, nil
	}
	switch v.rule.Do {
	case Delay:
		after := v.rule.After
		v.rule = nil
		return octets, Pause(ctx, after)
	case Cut, CutAfter:
		return octets[:max(left, 0)], errCut
	case LoseAnswer:
		return octets[:max(left, 0)], nil
	}
	return octets, nil
}
