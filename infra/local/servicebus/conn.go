package servicebus

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/google/uuid"
)

const (
	// channelMax and handleMax bound sessions and links. Service Bus says 4999
	// and 255; azservicebus needs three sessions for each sender or receiver.
	channelMax = 1023
	handleMax  = 255
	// maxClaims bounds the entities that one connection may be granted.
	maxClaims = 4096
	// maxPartialBytes bounds what a connection holds of messages whose last
	// frame hasn't come.
	maxPartialBytes = 64 << 20
	// maxUnsentBytes bounds what waits to be written to a peer that doesn't
	// read: beyond it nothing is delivered and no more of its frames are read.
	maxUnsentBytes = 4 << 20

	idleTimeout  = time.Minute // offered; a peer is given up after twice that
	openTimeout  = 30 * time.Second
	writeTimeout = 30 * time.Second
	minKeepAlive = 50 * time.Millisecond
)

// errPeerClosed ends a connection that the peer closed in good order.
var errPeerClosed = errors.New("closed by peer")

// conn is one connection. Its reader runs in serve, its writer in write; what
// isn't theirs alone is guarded by the broker's lock.
type conn struct {
	broker *Broker
	net    net.Conn
	in     *bufio.Reader // the reader's

	maxFrame  int           // the largest frame that the peer takes; fixed after open
	keepAlive time.Duration // how often the peer must hear something; 0 never; fixed after open
	wake      chan struct{} // there is something to write
	room      chan struct{} // much has been taken out of unsent
	done      chan struct{} // closed when the reader has ended

	unsent   []byte
	sessions map[uint16]*session
	replies  map[string]*link    // links that answers go to, by reply-to address
	claims   map[string]struct{} // audiences that a token was put for
	partial  int                 // bytes of unfinished messages
	closed   bool                // nothing more is taken from or sent to the peer
}

func newConn(b *Broker, nc net.Conn) *conn {
	return &conn{
		broker:   b,
		net:      nc,
		in:       bufio.NewReaderSize(nc, 32<<10),
		maxFrame: minMaxFrameSize,
		wake:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		sessions: map[uint16]*session{},
		replies:  map[string]*link{},
		claims:   map[string]struct{}{},
	}
}

// drop ends the connection at once, as a failing network would.
func (c *conn) drop() {
	c.closed = true
	c.net.Close()
}

// serve runs the connection to its end.
func (c *conn) serve() {
	log := c.broker.log.With("peer", c.net.RemoteAddr().String())
	err := c.handshake()
	if err == nil {
		log.Debug("AMQP connection opened")
		err = c.run()
	}
	c.broker.mu.Lock()
	for _, s := range c.sessions {
		s.release()
	}
	c.closed = true
	delete(c.broker.conns, c)
	c.broker.mu.Unlock()
	c.net.Close()
	if _, wrong := errors.AsType[*amqpError](err); wrong {
		log.Warn("AMQP connection refused", "error", err)
		return
	}
	log.Debug("AMQP connection ended", "error", err)
}

// run reads frames while a second goroutine writes, until either fails.
func (c *conn) run() error {
	written := make(chan struct{})
	c.broker.wg.Go(func() {
		defer close(written)
		c.write()
	})
	err := c.read()
	close(c.done)
	<-written
	return err
}

// handshake negotiates SASL ANONYMOUS and exchanges opens
// (amqp-core-security-v1.0 section 5.3, amqp-core-transport-v1.0 section 2.4.1).
func (c *conn) handshake() error {
	if err := c.net.SetDeadline(time.Now().Add(openTimeout)); err != nil {
		return err
	}
	buf := make([]byte, maxFrameSize)
	if err := c.exchangeHeader(3); err != nil {
		return err
	}
	if err := c.writeNow(frameTypeSASL, &saslMechanisms{"ANONYMOUS"}); err != nil {
		return err
	}
	init, err := receive[*saslInit](c, buf, frameTypeSASL)
	if err != nil {
		return err
	}
	if init.mechanism != "ANONYMOUS" {
		return errors.Join(c.writeNow(frameTypeSASL, &saslOutcome{code: 1}),
			refusal(condUnauthorized, "SASL mechanism %q is not offered", init.mechanism))
	}
	if err := c.writeNow(frameTypeSASL, &saslOutcome{}); err != nil {
		return err
	}
	if err := c.exchangeHeader(0); err != nil {
		return err
	}
	peer, err := receive[*open](c, buf, frameTypeAMQP)
	if err != nil {
		return err
	}
	c.maxFrame = int(min(max(peer.maxFrameSize, minMaxFrameSize), maxFrameSize))
	if peer.idleTimeout > 0 {
		c.keepAlive = max(time.Duration(peer.idleTimeout)*time.Millisecond/2, minKeepAlive)
	}
	return c.writeNow(frameTypeAMQP, &open{
		containerID:  uuid.NewString(),
		maxFrameSize: maxFrameSize,
		channelMax:   channelMax,
		idleTimeout:  uint32(idleTimeout.Milliseconds()),
	})
}

// exchangeHeader reads the header of a protocol layer and answers it. A peer
// that wants another protocol is told which one and dropped.
func (c *conn) exchangeHeader(protocol byte) error {
	var got protocolHeader
	if _, err := io.ReadFull(c.in, got[:]); err != nil {
		return err
	}
	want := headerOf(protocol)
	if _, err := c.net.Write(want[:]); err != nil {
		return err
	}
	if got != want {
		return framingError("protocol header %x, expected %x", got, want)
	}
	return nil
}

func (c *conn) writeNow(kind byte, p performative) error {
	_, err := c.net.Write(appendFrame(nil, kind, 0, p, nil))
	return err
}

// receive reads a frame of the handshake, which must be a T.
func receive[T performative](c *conn, buf []byte, kind byte) (T, error) {
	var zero T
	f, err := readFrame(c.in, buf)
	if err != nil {
		return zero, err
	}
	p, _, err := parsePerformative(f.body)
	if err != nil {
		return zero, refusal(condDecode, "%v", err)
	}
	if got, ok := p.(T); ok && f.kind == kind {
		return got, nil
	}
	return zero, framingError("%T in a frame of type %d, expected %T", p, f.kind, zero)
}

// read takes frames until the connection fails or is closed.
func (c *conn) read() error {
	buf := make([]byte, maxFrameSize)
	for {
		if err := c.net.SetReadDeadline(time.Now().Add(2 * idleTimeout)); err != nil {
			return err
		}
		f, err := readFrame(c.in, buf)
		if err == nil && len(f.body) > 0 {
			err = c.take(f)
		}
		if err != nil {
			c.sayGoodbye(err)
			return err
		}
		c.awaitRoom()
	}
}

// take handles one frame.
func (c *conn) take(f frame) error {
	if f.kind != frameTypeAMQP {
		return framingError("frame of type %d", f.kind)
	}
	p, payload, err := parsePerformative(f.body)
	if err != nil {
		return refusal(condDecode, "%v", err)
	}
	c.broker.update(func(now time.Time) {
		if c.closed {
			err = net.ErrClosed
			return
		}
		err = c.handle(now, f.channel, p, payload)
	})
	return err
}

// sayGoodbye answers the peer's close, or tells the peer what it did wrong.
func (c *conn) sayGoodbye(err error) {
	wrong, ok := errors.AsType[*amqpError](err)
	if !ok && !errors.Is(err, errPeerClosed) {
		return
	}
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	c.send(0, &closing{err: wrong}, nil)
}

func (c *conn) handle(now time.Time, channel uint16, p performative, payload []byte) error {
	switch p := p.(type) {
	case *begin:
		return c.begin(channel, p)
	case *end:
		return c.end(channel)
	case *closing:
		return errPeerClosed
	case *open, *saslInit:
		return refusal(condIllegalState, "%T after the connection was opened", p)
	}
	s := c.sessions[channel]
	if s == nil {
		return refusal(condNotAllowed, "%T on channel %d, which has no session", p, channel)
	}
	if s.ended {
		return nil
	}
	if err := s.handle(now, p, payload); err != nil {
		s.end(asAMQP(err, condInternal))
	}
	return nil
}

func (c *conn) begin(channel uint16, p *begin) error {
	switch {
	case channel > channelMax:
		return refusal(condNotAllowed, "channel %d is above the limit of %d", channel, channelMax)
	case c.sessions[channel] != nil:
		return refusal(condIllegalState, "channel %d has a session already", channel)
	case p.remoteChannel != nil:
		return refusal(condIllegalState, "answer to a begin that was never sent")
	}
	s := newSession(c, channel, p)
	c.sessions[channel] = s
	c.send(channel, &begin{
		remoteChannel:  &channel,
		nextOutgoingID: s.nextOutgoingID,
		incomingWindow: incomingWindow,
		outgoingWindow: outgoingWindow,
		handleMax:      handleMax,
	}, nil)
	return nil
}

func (c *conn) end(channel uint16) error {
	s := c.sessions[channel]
	if s == nil {
		return refusal(condNotAllowed, "end on channel %d, which has no session", channel)
	}
	s.release()
	delete(c.sessions, channel)
	if !s.ended {
		c.send(channel, &end{}, nil)
	}
	return nil
}

// send queues a frame for the writer.
func (c *conn) send(channel uint16, p performative, payload []byte) {
	if c.closed {
		return
	}
	c.unsent = appendFrame(c.unsent, frameTypeAMQP, channel, p, payload)
	signal(c.wake)
}

// congested says that the peer doesn't read what it is sent.
func (c *conn) congested() bool { return len(c.unsent) > maxUnsentBytes }

// awaitRoom holds the reader back while the peer doesn't read.
func (c *conn) awaitRoom() {
	for {
		c.broker.mu.Lock()
		full := c.congested() && !c.closed
		c.broker.mu.Unlock()
		if !full {
			return
		}
		<-c.room
	}
}

// write writes what is queued, and keep-alives, until the reader has ended and
// the last of it is written. It closes the connection when it can't.
func (c *conn) write() {
	defer c.net.Close()
	defer signal(c.room)
	var tick <-chan time.Time
	if c.keepAlive > 0 {
		ticker := time.NewTicker(c.keepAlive)
		defer ticker.Stop()
		tick = ticker.C
	}
	var spare []byte
	for ended := false; !ended; {
		var idle []byte
		select {
		case <-c.wake:
		case <-tick:
			idle = emptyFrame
		case <-c.done:
			ended = true
		}
		full, pending := c.swap(spare)
		spare = pending
		if len(pending) == 0 {
			pending = idle
		}
		if err := c.writeAll(pending); err != nil {
			c.fail()
			return
		}
		if full {
			c.broker.update(func(time.Time) {})
		}
	}
}

// swap takes what is to be written, leaving an empty buffer in its place, and
// says whether the connection was congested.
func (c *conn) swap(spare []byte) (full bool, pending []byte) {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	full, pending = c.congested(), c.unsent
	c.unsent = spare[:0]
	signal(c.room)
	return full, pending
}

func (c *conn) writeAll(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if err := c.net.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := c.net.Write(b); err != nil {
		return fmt.Errorf("write to AMQP peer: %w", err)
	}
	return nil
}

// fail marks the connection as lost.
func (c *conn) fail() {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	c.closed = true
}
