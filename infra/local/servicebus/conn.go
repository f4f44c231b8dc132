package servicebus

import (
	"bufio"
	"context"
	"errors"
	"net"
	"time"
)

const (
	// channelMax and handleMax bound sessions and links, as Service Bus does in
	// the traces of https://github.com/Azure/azure-sdk-for-java/issues/31966 and
	// https://github.com/noodlefrenzy/node-amqp10/issues/299.
	channelMax = 4999
	handleMax  = 255
	// maxLinks bounds the links of all sessions of a connection, and maxName the
	// bytes of a link's name or address. Both are ours.
	maxLinks = 1000
	maxName  = 512
	// maxPartialBytes bounds what all connections hold of messages whose last
	// frame hasn't come.
	maxPartialBytes = 128 << 20
	// maxUnsentBytes bounds what waits to be written to a peer that doesn't
	// read: beyond it nothing is delivered and no more of its frames are read.
	maxUnsentBytes = 1 << 20
	// maxReplyBytes bounds the answers that wait for a peer to give credit.
	maxReplyBytes = 4 << 20

	// defaultIdle is the idle time-out that is offered, as in the first of those
	// traces; a peer is given up after twice that.
	defaultIdle  = 2 * time.Minute
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
	ctx    context.Context // ends when the connection is dropped
	cancel context.CancelFunc
	in     *bufio.Reader // the reader's, as is buf
	buf    []byte        // the frame that is read

	maxFrame  int           // the largest frame that the peer takes; fixed after open
	keepAlive time.Duration // how often the peer must hear something; 0 never; fixed after open
	wake      chan struct{} // there is something to write
	room      chan struct{} // much has been taken out of unsent
	done      chan struct{} // closed when the reader has ended

	unsent   []byte
	sessions map[uint16]*session
	replies  map[string]*link // links that answers go to, by reply-to address
	claims   map[string]claim // by the path that a token was put for
	links    int              // of all sessions
	waiting  int              // bytes of answers that wait for credit
	used     time.Time        // when there was a link for the last time
	opened   bool             // opens were exchanged
	ending   bool             // what is queued is the last
	closed   bool             // nothing more is taken from or sent to the peer
}

func newConn(b *Broker, nc net.Conn) *conn {
	ctx, cancel := context.WithCancel(context.Background())
	return &conn{
		broker:   b,
		net:      nc,
		ctx:      ctx,
		cancel:   cancel,
		in:       bufio.NewReaderSize(nc, 4<<10),
		maxFrame: minMaxFrameSize,
		wake:     make(chan struct{}, 1),
		room:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		sessions: map[uint16]*session{},
		replies:  map[string]*link{},
		claims:   map[string]claim{},
	}
}

// drop ends the connection at once, as a failing network would.
func (c *conn) drop() {
	c.closed = true
	c.cancel()
	c.net.Close()
}

// serve runs the connection to its end.
func (c *conn) serve() {
	defer c.cancel()
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
	c.broker.update(func(now time.Time) {
		c.opened, c.used = true, now
		c.broker.lookAgain(now.Add(connIdle))
	})
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

// read takes frames until the connection fails or is closed.
func (c *conn) read() error {
	for {
		if err := c.net.SetReadDeadline(time.Now().Add(2 * defaultIdle)); err != nil {
			return err
		}
		f, err := readFrame(c.in, c.buf)
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
		if c.closed || c.ending {
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
	if c.closed || c.ending {
		return
	}
	c.unsent = appendFrame(c.unsent, frameTypeAMQP, channel, p, payload)
	signal(c.wake)
}

// congested says that the peer doesn't read what it is sent.
func (c *conn) congested() bool { return len(c.unsent) > maxUnsentBytes }
