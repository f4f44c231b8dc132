package imap

import (
	"io"
	"net"
	"sync/atomic"
	"time"
)

// clientConn is the server's end of a connection. Once a client has signed in,
// the deadline moves ahead with every read and write, so that only a silent one
// runs into it; until then it stands, so that a slow one does too.
type clientConn struct {
	net.Conn
	timeout time.Duration // 0 while the deadline stands
	silent  atomic.Bool
	limited bool
	left    int64 // octets that may still be written, if limited
}

func newClientConn(c net.Conn) (*clientConn, error) {
	return &clientConn{Conn: c}, c.SetDeadline(time.Now().Add(preAuthTimeout))
}

func (c *clientConn) Read(p []byte) (int, error) {
	if c.timeout > 0 {
		if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

func (c *clientConn) Write(p []byte) (int, error) {
	if c.silent.Load() {
		return len(p), nil
	}
	if c.timeout > 0 {
		if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return 0, err
		}
	}
	if !c.limited || c.left >= int64(len(p)) {
		n, err := c.Conn.Write(p)
		c.left -= int64(n)
		return n, err
	}
	n, err := c.Conn.Write(p[:c.left])
	c.Close()
	if err == nil {
		err = io.ErrClosedPipe
	}
	return n, err
}

// mute lets nothing more out.
func (c *clientConn) mute() { c.silent.Store(true) }

// cutAfter closes the connection once n octets more were written.
func (c *clientConn) cutAfter(n int64) { c.limited, c.left = true, n }

// cutReader ends after left octets.
type cutReader struct {
	r    io.Reader
	left int64
}

func (c *cutReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}
