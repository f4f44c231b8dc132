package servicebus

import (
	"errors"
	"io"
	"time"

	"github.com/google/uuid"
)

// handshake negotiates SASL ANONYMOUS and exchanges opens
// (amqp-core-security-v1.0 section 5.3, amqp-core-transport-v1.0 section 2.4.1).
func (c *conn) handshake() error {
	if err := c.net.SetDeadline(time.Now().Add(openTimeout)); err != nil {
		return err
	}
	if err := c.exchangeHeader(3); err != nil {
		return err
	}
	c.buf = make([]byte, maxFrameSize)
	if err := c.writeNow(frameTypeSASL, &saslMechanisms{"ANONYMOUS"}); err != nil {
		return err
	}
	init, err := receive[*saslInit](c, frameTypeSASL)
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
	peer, err := receive[*open](c, frameTypeAMQP)
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
		idleTimeout:  uint32(defaultIdle.Milliseconds()),
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
func receive[T performative](c *conn, kind byte) (T, error) {
	var zero T
	f, err := readFrame(c.in, c.buf)
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
