package servicebus

import (
	"fmt"
	"time"
)

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
		full, ending, pending := c.swap(spare)
		spare, ended = pending, ended || ending
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
// says whether the connection was congested and whether that is the last of it.
func (c *conn) swap(spare []byte) (full, ending bool, pending []byte) {
	c.broker.mu.Lock()
	defer c.broker.mu.Unlock()
	full, ending, pending = c.congested(), c.ending, c.unsent
	c.unsent = spare[:0]
	signal(c.room)
	return full, ending, pending
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
