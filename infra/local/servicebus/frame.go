package servicebus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Framing (OASIS amqp-core-transport-v1.0, section 2.3).

const (
	frameHeaderSize = 8
	frameTypeAMQP   = 0
	frameTypeSASL   = 1

	// maxFrameSize is what Service Bus offers in its open, and the most that is
	// read of any frame.
	maxFrameSize = 64 << 10
	// minMaxFrameSize is the smallest frame size that a peer may ask for
	// (section 2.8.15, MIN-MAX-FRAME-SIZE).
	minMaxFrameSize = 512
)

// emptyFrame keeps an idle connection alive (section 2.4.5).
var emptyFrame = []byte{0, 0, 0, 8, 2, frameTypeAMQP, 0, 0}

// frame is one frame as read; body shares the reader's buffer and is empty in
// a keep-alive.
type frame struct {
	kind    byte
	channel uint16
	body    []byte
}

// readFrame reads the next frame into buf, which holds maxFrameSize bytes.
func readFrame(r io.Reader, buf []byte) (frame, error) {
	header := buf[:frameHeaderSize]
	if _, err := io.ReadFull(r, header); err != nil {
		return frame{}, err
	}
	size := binary.BigEndian.Uint32(header)
	start := 4 * uint32(header[4])
	f := frame{kind: header[5], channel: binary.BigEndian.Uint16(header[6:])}
	switch {
	case size > uint32(len(buf)):
		return frame{}, framingError("frame of %d bytes is above the limit of %d", size, len(buf))
	case start < frameHeaderSize || start > size:
		return frame{}, framingError("frame of %d bytes has its data at %d", size, start)
	}
	if _, err := io.ReadFull(r, buf[frameHeaderSize:size]); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return frame{}, err
	}
	f.body = buf[start:size]
	return f, nil
}

func framingError(format string, args ...any) error {
	return &amqpError{condition: condFraming, description: fmt.Sprintf(format, args...)}
}

// appendFrame appends one frame: the performative and, in a transfer, a part of
// the message.
func appendFrame(b []byte, kind byte, channel uint16, p performative, payload []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, 2, kind, byte(channel>>8), byte(channel))
	b = appendValue(b, p.composite())
	b = append(b, payload...)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// protocolHeader opens a layer of the connection: 3 for SASL, 0 for AMQP
// (sections 2.2 and 5.3.1).
type protocolHeader [8]byte

func headerOf(protocol byte) protocolHeader {
	return protocolHeader{'A', 'M', 'Q', 'P', protocol, 1, 0, 0}
}
