package migrate

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// Spool holds messages between the source and the target: small ones in memory, large ones in
// temporary files, each within one budget for the whole process. Those between are in memory while
// more than half of that is free.
type Spool struct {
	memory, disk *budget
	limit        int64 // larger messages go to disk
	roomy        int64 // or these, if there is room
	dir          string
}

// NewSpool makes a spool with budgets in octets. dir holds the files; "" is the system's place.
func NewSpool(memory, disk int64, dir string) *Spool {
	return &Spool{memory: newBudget(memory), disk: newBudget(disk), limit: min(1<<20, memory/4), roomy: memory / 6, dir: dir}
}

// spooled is one message held by the spool.
type spooled struct {
	octets int64
	filed  bool
	data   []byte
	file   *os.File
	free   func()
}

// Fill reads exactly octets from body. A body that is shorter or longer is an error of kind
// Unreachable: the connection delivered something else than it announced. An error of body that has a
// kind is passed on as it is. One of kind Configuration is about the disk, and one of kind TooLarge about a
// message that would not fit into its budget alone: nothing of it is read.
//
// It waits while the budget is used up, and tells waits when that begins and ends. A message counts at most half of the budget. Until turn is
// closed it is read ahead, and may have what others leave, at most half of the budget with all that is
// read ahead: so one whose turn has come, and which is given back without waiting for another, always
// gets its share in the end.
func (s *Spool) Fill(ctx context.Context, turn <-chan struct{}, waits func(bool), octets int64, body io.Reader) (*spooled, error) {
	b := s.memory
	if octets > s.limit && (octets > s.roomy || !b.roomy(octets)) {
		b = s.disk
	}
	if b == s.disk && octets > b.size {
		return nil, &Error{Op: "spool message", Kind: TooLarge, Err: fmt.Errorf("it has %d octets, and all messages on their way may take %d on disk", octets, b.size)}
	}
	free, err := b.take(ctx, turn, waits, octets)
	if err != nil {
		return nil, err
	}
	m := &spooled{octets: octets, free: free, filed: b == s.disk}
	from := &witness{Reader: body}
	if err := s.copyInto(m, from); err != nil {
		m.Close()
		if !from.failed {
			return nil, &Error{Op: "spool message", Kind: Configuration, Err: err,
				Advice: "Make room where SPOOL_DIR is, or set SPOOL_DISK to what is free there, then wait: the mailbox is tried again every five minutes."}
		}
		if KindOf(err) != Unexpected { // such as a pause that the server asks for
			return nil, err
		}
		return nil, &Error{Op: "receive message", Kind: Unreachable, Reason: ReasonOf(err), Err: err}
	}
	return m, nil
}

// witness remembers whether it was the reader that failed.
type witness struct {
	io.Reader
	failed bool
}

func (w *witness) Read(p []byte) (int, error) {
	n, err := w.Reader.Read(p)
	w.failed = w.failed || err != nil
	return n, err
}

func (s *Spool) copyInto(m *spooled, body *witness) (err error) {
	var n int64
	if !m.filed {
		m.data = make([]byte, m.octets)
		var read int
		read, err = io.ReadFull(body, m.data)
		n = int64(read)
	} else {
		if m.file, err = os.CreateTemp(s.dir, "mailferry-*.spool"); err != nil {
			return fmt.Errorf("spool to disk: %w", err)
		}
		os.Remove(m.file.Name()) // gone with the process, whatever happens to it
		n, err = copyToFile(m.file, io.LimitReader(body, m.octets))
		if err == nil && n < m.octets {
			err = io.ErrUnexpectedEOF
		}
	}
	if err != nil {
		return fmt.Errorf("%d of %d octets: %w", n, m.octets, err)
	}
	switch more, err := io.CopyN(io.Discard, body, 1); {
	case more != 0:
		body.failed = true
		return fmt.Errorf("more than the announced %d octets", m.octets)
	case err != io.EOF:
		return err
	}
	return nil
}

// copyToFile writes in larger pieces than connections give.
func copyToFile(file *os.File, body io.Reader) (int64, error) {
	w := bufio.NewWriterSize(struct{ io.Writer }{file}, 256<<10)
	n, err := w.ReadFrom(body)
	return n, errors.Join(err, w.Flush())
}

// Open gives the octets from the start.
func (m *spooled) Open() (io.ReadCloser, error) {
	if m.file == nil {
		return io.NopCloser(bytes.NewReader(m.data)), nil
	}
	return io.NopCloser(io.NewSectionReader(m.file, 0, m.octets)), nil
}

// maxHeader bounds what is looked at for a fingerprint.
const maxHeader = 256 << 10

// Header returns the header block, or as much of it as fits the bound.
func (m *spooled) Header() []byte {
	head := m.data
	if m.file != nil {
		head = make([]byte, min(m.octets, maxHeader))
		n, _ := m.file.ReadAt(head, 0)
		head = head[:n]
	}
	for _, end := range []string{"\r\n\r\n", "\n\n"} {
		if i := bytes.Index(head, []byte(end)); i >= 0 {
			return head[:i]
		}
	}
	return head[:min(len(head), maxHeader)]
}

// Close frees the message's share of the budget.
func (m *spooled) Close() {
	if m.file != nil {
		m.file.Close()
	}
	m.data, m.file = nil, nil
	m.free()
}
