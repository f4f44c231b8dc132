package imapsource

import (
	"bufio"
	"compress/flate"
	"errors"
	"io"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

const capCompress imap.Cap = "COMPRESS=DEFLATE"

// compress has both sides compress from now on, where the server offers it (RFC 4978). go-imap cannot.
// It comes behind the sign-in, so no password is ever compressed. A server that refuses, since TLS
// compresses already or for any other reason, goes on in the clear.
func (d *dialogue) compress(endpoint migrate.Endpoint) error {
	if endpoint.Compress == migrate.CompressOff {
		return nil
	}
	if caps, err := d.capabilities(); err != nil || !caps.Has(capCompress) {
		return err
	}
	err := d.command("COMPRESS DEFLATE")
	var refused *imap.Error
	if errors.As(err, &refused) {
		return nil
	}
	if err == nil {
		d.wire.deflate()
	}
	return err
}

// deflate puts compression between the responses and the connection. What was read of the server
// already is compressed, too. Deadlines stay those of the octets on the connection; lines and buffers
// are bounded behind the decompression, so little that becomes much is no danger.
func (w *wire) deflate() {
	compressor, _ := flate.NewWriter(w.Conn, flate.DefaultCompression) // the level is a valid one
	w.out = flusher{compressor}
	w.in.src = bufio.NewReaderSize(flate.NewReader(w.in.src), 32<<10)
}

// flusher lets every command go at once.
type flusher struct{ *flate.Writer }

func (f flusher) Write(p []byte) (int, error) {
	n, err := f.Writer.Write(p)
	if err == nil {
		err = f.Flush()
	}
	return n, err
}

var _ io.Writer = flusher{}
