package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// maxHeader bounds the header that is looked at; longer ones are taken as if
// they ended there.
const maxHeader = 256 << 10

// Body says where the octets of a message lie.
type Body struct {
	Offset     int64  `json:"off"`
	Size       int64  `json:"size"`
	HeaderSize int    `json:"hdr"` // octets up to and with the empty line
	SHA256     string `json:"sha"` // hex
}

// bodies is one file to which bodies are appended side by side: every writer
// reserves its octets first.
type bodies struct {
	file *os.File
	next atomic.Int64
}

func openBodies(path string) (*bodies, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	b := &bodies{file: f}
	b.next.Store(info.Size())
	return b, nil
}

func (b *bodies) close() error { return b.file.Close() }

// Receive streams exactly n octets of r to disk. They belong to no message
// until they are handed to Mailbox.Add; if r ends early nothing remains but a
// hole in the file.
func (s *Store) Receive(r io.Reader, n int64) (Body, error) {
	off := s.bodies.next.Add(n) - n
	hash := sha256.New()
	to := io.NewOffsetWriter(s.bodies.file, off)
	buf := make([]byte, min(n, 64<<10)+1)
	// LimitReader also hides other interfaces of r, so that buf is used.
	got, err := io.CopyBuffer(io.MultiWriter(onlyWriter{to}, hash), io.LimitReader(r, n), buf)
	if err == nil && got < n {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return Body{}, fmt.Errorf("receive body: %w", err)
	}
	body := Body{Offset: off, Size: n, SHA256: hex.EncodeToString(hash.Sum(nil))}
	if body.HeaderSize, err = s.findHeader(body); err != nil {
		return Body{}, fmt.Errorf("receive body: %w", err)
	}
	return body, nil
}

type onlyWriter struct{ io.Writer }

// Open reads a body.
func (s *Store) Open(b Body) *io.SectionReader {
	return io.NewSectionReader(s.bodies.file, b.Offset, b.Size)
}

// Header reads the header of a body, the empty line included.
func (s *Store) Header(b Body) ([]byte, error) {
	h := make([]byte, b.HeaderSize)
	if _, err := s.bodies.file.ReadAt(h, b.Offset); err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	return h, nil
}

// findHeader returns how long the header is. Most headers end in the first
// page, so the rest is read only if needed.
func (s *Store) findHeader(b Body) (int, error) {
	for limit := int64(4 << 10); ; limit *= 8 {
		n := min(limit, b.Size, maxHeader)
		h := make([]byte, n)
		if _, err := s.bodies.file.ReadAt(h, b.Offset); err != nil && n > 0 {
			return 0, fmt.Errorf("read header: %w", err)
		}
		if end := headerEnd(h); end >= 0 {
			return end, nil
		}
		if n == b.Size || n == maxHeader {
			return int(n), nil
		}
	}
}

// headerEnd returns the offset after the first empty line of h, or -1. Lines
// may end in LF alone.
func headerEnd(h []byte) int {
	for at := 0; at < len(h); {
		n := bytes.IndexByte(h[at:], '\n')
		if n < 0 {
			return -1
		}
		if len(bytes.TrimRight(h[at:at+n], "\r")) == 0 {
			return at + n + 1
		}
		at += n + 1
	}
	return -1
}
