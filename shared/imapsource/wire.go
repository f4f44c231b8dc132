package imapsource

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// wire is the connection that go-imap reads and writes. It lies above TLS, so that an end of file
// is never taken for the end of a literal, whatever layer reports it.
//
// Its deadlines are of progress: each read and each write has stall, and what the library sets is
// ignored, since the library gives a whole literal five minutes. The first failure is final.
type wire struct {
	net.Conn          // TLS, or TCP without it
	raw      net.Conn // TCP: closing it never waits for the peer, as closing TLS does
	stall    time.Duration
	in       *responses
	out      io.Writer // the connection, or what compresses for it

	xlist   atomic.Bool // what is sent as LIST is XLIST to the server
	hurried atomic.Bool // the server had its time over another connection

	mu      sync.Mutex
	cause   error          // of the first failure
	status  []string       // the last untagged NO, BAD and BYE texts
	odd     []string       // names that the library cannot decode or would spell otherwise, as the server wrote them
	oddSeen map[string]int // their index
	oddSize int            // their octets
}

func newWire(conn, raw net.Conn, stall time.Duration) *wire {
	w := &wire{Conn: conn, raw: raw, stall: stall, out: conn}
	w.in = newResponses(stallReader{w}, w)
	return w
}

// Read gives screened responses.
func (w *wire) Read(p []byte) (int, error) {
	if err := w.failure(); err != nil {
		return 0, err
	}
	n, err := w.in.Read(p)
	if err != nil {
		err = w.fail(err)
	}
	return n, err
}

// Write sends commands, with the placeholders of odd folder names replaced.
func (w *wire) Write(p []byte) (int, error) {
	whole := len(p)
	if err := w.failure(); err != nil {
		return 0, err
	}
	if err := w.Conn.SetWriteDeadline(time.Now().Add(w.patience())); err != nil {
		return 0, w.fail(err)
	}
	if w.xlist.Load() {
		p = bytes.Replace(p, []byte(" LIST "), []byte(" XLIST "), 1)
	}
	if _, err := w.out.Write(w.restoreNames(p)); err != nil {
		return 0, w.fail(err)
	}
	return whole, nil
}

// patience is how long the server may stand still. What it stood still at before gets a quarter: so one
// message or folder is found out within a run of the default four minutes.
func (w *wire) patience() time.Duration {
	if w.hurried.Load() {
		return w.stall / 4
	}
	return w.stall
}

// errBrokenOff is the cause once a call ended in the middle of a command.
var errBrokenOff = errors.New("an earlier call ended in the middle of a command")

// Close ends the connection at once.
func (w *wire) Close() error {
	w.abort(net.ErrClosed)
	return nil
}

// abort ends the connection for the given reason.
func (w *wire) abort(reason error) {
	w.fail(reason)
	w.raw.Close()
}

// SetDeadline does nothing: see wire.
func (w *wire) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing: see wire.
func (w *wire) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing: see wire.
func (w *wire) SetWriteDeadline(time.Time) error { return nil }

// fail remembers the first failure and returns it. An end of file is never io.EOF: the library
// would take it for the end of a literal.
func (w *wire) fail(err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cause == nil {
		w.cause = err
	}
	return w.cause
}

func (w *wire) failure() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cause
}

// heard keeps the last few status texts, which the library drops.
func (w *wire) heard(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.status) == 4 {
		w.status = w.status[1:]
	}
	w.status = append(w.status, shorten(text))
}

// forgetStatus drops what was heard so far.
func (w *wire) forgetStatus() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status = nil
}

// lastStatus returns the newest untagged NO, BAD or BYE text.
func (w *wire) lastStatus() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.status) == 0 {
		return ""
	}
	return w.status[len(w.status)-1]
}

const placeholder = "mailferry-odd-name-"

// hideName returns a placeholder for a name that the library cannot decode or would spell otherwise.
// The same name always gets the same placeholder. The connection ends over too many: a server may list
// names that nobody asked for.
func (w *wire) hideName(raw string) string {
	name, ok := w.hide(raw)
	if !ok {
		w.abort(errTooMany)
	}
	return name
}

func (w *wire) hide(raw string) (name string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i, ok := w.oddSeen[raw]
	if !ok && (len(w.odd) >= 2*maxFolders || w.oddSize+len(raw) > maxNames) {
		return placeholder, false
	}
	if !ok {
		if w.oddSeen == nil {
			w.oddSeen = make(map[string]int)
		}
		i = len(w.odd)
		w.odd = append(w.odd, raw)
		w.oddSeen[raw] = i
		w.oddSize += len(raw)
	}
	return placeholder + strconv.Itoa(i), true
}

// oddList returns the hidden names in the order of their placeholders.
func (w *wire) oddList() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.odd)
}

// adopt takes over the hidden names of a connection that this one replaces.
func (w *wire) adopt(odd []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.odd, w.oddSeen = odd, make(map[string]int, len(odd))
	for i, name := range odd {
		w.oddSeen[name] = i
		w.oddSize += len(name)
	}
}

// oddNames returns the hidden names by placeholder.
func (w *wire) oddNames() map[string]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	names := make(map[string]string, len(w.odd))
	for i, name := range w.odd {
		names[placeholder+strconv.Itoa(i)] = name
	}
	return names
}

// restoreNames puts the server's own spelling in place of each placeholder of a command.
func (w *wire) restoreNames(p []byte) []byte {
	before, rest, ok := bytes.Cut(p, []byte(`"`+placeholder))
	if !ok {
		return p
	}
	digits, after, _ := bytes.Cut(rest, []byte(`"`))
	w.mu.Lock()
	defer w.mu.Unlock()
	i, err := strconv.Atoi(string(digits))
	if err != nil || i < 0 || i >= len(w.odd) {
		return p
	}
	return slices.Concat(before, []byte(quote(w.odd[i])), after)
}

// stallReader reads the server with a fresh deadline each time.
type stallReader struct{ w *wire }

func (r stallReader) Read(p []byte) (int, error) {
	if err := r.w.Conn.SetReadDeadline(time.Now().Add(r.w.patience())); err != nil {
		return 0, err
	}
	return r.w.Conn.Read(p)
}
