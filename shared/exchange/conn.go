package exchange

import (
	"bytes"
	"net"
	"strings"
	"sync"
	"time"
)

// progressConn fails a read or write that makes no progress for stall, and never because the whole
// takes long. It ignores deadlines that its user sets: go-imap v2.0.0-beta.8 gives a literal five
// minutes in all and a response none. The first failure stays: go-imap's decoder reads on after a
// timeout.
type progressConn struct {
	net.Conn
	stall time.Duration

	mu      sync.Mutex
	resting bool
	err     error
}

// Rest takes the limit away until the next write: nothing is expected from the peer.
func (c *progressConn) Rest() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resting = true
	c.Conn.SetReadDeadline(time.Time{})
}

func (c *progressConn) Read(b []byte) (int, error) {
	if err := c.before(false); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(b)
	return n, c.after(err)
}

// Write counts as progress for a read that waits at the same time.
func (c *progressConn) Write(b []byte) (int, error) {
	if err := c.before(true); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(b)
	return n, c.after(err)
}

func (c *progressConn) before(write bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.err != nil:
	case write:
		c.resting = false
		c.Conn.SetDeadline(time.Now().Add(c.stall))
	case !c.resting:
		c.Conn.SetReadDeadline(time.Now().Add(c.stall))
	}
	return c.err
}

func (c *progressConn) after(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.err == nil {
		c.err = err
	}
	return err
}

// SetDeadline does nothing.
func (c *progressConn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (c *progressConn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (c *progressConn) SetWriteDeadline(time.Time) error { return nil }

// tailSize is enough for the last status line of a server.
const tailSize = 1024

// tailConn remembers the last octets that the peer sent: go-imap turns "* BYE [UNAVAILABLE] why"
// into a bare unexpected EOF.
type tailConn struct {
	net.Conn

	mu   sync.Mutex
	tail []byte
}

func (c *tailConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.mu.Lock()
	c.tail = append(c.tail, b[:n]...)
	if extra := len(c.tail) - tailSize; extra > 0 {
		c.tail = append(c.tail[:0], c.tail[extra:]...)
	}
	c.mu.Unlock()
	return n, err
}

// farewell returns the text of the last "* BYE" line, or nothing.
func (c *tailConn) farewell() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return farewell(c.tail)
}

func farewell(tail []byte) string {
	text := ""
	for line := range bytes.Lines(tail) {
		if len(line) >= 5 && strings.EqualFold(string(line[:5]), "* BYE") {
			text = strings.TrimSpace(string(line[5:]))
		}
	}
	return text
}
