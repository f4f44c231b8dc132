package imapsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// unavailable is what Courier gives in place of a message whose file it cannot open (courier-libs
// 2a13a23, imap/fetch.C:41-45 and open_cached_fp).
const unavailable = "From: System Administrator <root@localhost>\r\nSubject: message unavailable\r\n\r\n" +
	"This message is no longer available on the server.\r\n"

var errUnavailable = errors.New(`the server gives a message of its own in place of this one: "This message is no longer available on the server."`)

// substituted looks for unavailable at a server that may be Courier. Any other literal comes back unread.
func (s *source) substituted(literal imap.LiteralReader) (imap.LiteralReader, bool) {
	if !s.noUIDNext || literal.Size() != int64(len(unavailable)) {
		return literal, false
	}
	text := make([]byte, len(unavailable))
	n, _ := io.ReadFull(literal, text) // an error comes again behind what was read
	if string(text[:n]) == unavailable {
		return nil, true
	}
	return readLiteral{io.MultiReader(bytes.NewReader(text[:n]), literal), literal.Size()}, false
}

type readLiteral struct {
	io.Reader
	size int64
}

func (r readLiteral) Size() int64 { return r.size }

// withdraw leaves out of the suspects those in whose place something else came and which are gone by
// now. Courier keeps them until the folder is opened again.
func (f *fetcher) withdraw() error {
	if f.replaced.Empty() {
		return nil
	}
	data, err := f.s.examine(f.s.folder)
	switch {
	case err != nil:
		return f.s.fail(f.ctx, f.op, f.s.folder, err)
	case data.UIDValidity != f.s.validity:
		return f.s.renumbered(f.s.folder, f.s.validity, data.UIDValidity)
	}
	_, exist, err := f.existing(f.replaced)
	gone := f.replaced.Minus(exist)
	kept := f.suspects[:0]
	for _, m := range f.suspects {
		if !gone.Contains(m.info.UID) {
			kept = append(kept, m)
		}
	}
	f.suspects = kept
	return err
}

const (
	courierEpoch = 1_000_000_000  // of Courier's UIDVALIDITY, in Unix time (imap/imapscanclient.C, IMAP_EPOCH)
	lastingAge   = 24 * time.Hour // a UIDVALIDITY that is older is not the time of the EXAMINE, whatever the clocks say
)

// lasting finds out whether a folder's UIDs outlive the session. Courier keeps them in a file that EXAMINE
// does not write: until a mail program has opened the folder for writing, UIDVALIDITY is the time of each
// EXAMINE and UIDs are counted anew (courier-libs 2a13a23, imap/imapscanclient.C, do_imapscan_maildir2).
func (s *source) lasting(ctx context.Context, name string, validity uint32) error {
	if age := time.Since(time.Unix(courierEpoch+int64(validity), 0)); age.Abs() > lastingAge || s.lasts[name] == validity {
		return nil
	}
	second := time.NewTimer(1100 * time.Millisecond)
	defer second.Stop()
	select {
	case <-second.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	data, err := s.examine(name)
	if err != nil {
		return err
	}
	if data.UIDValidity != validity {
		return &migrate.Error{Kind: migrate.NoFolder, Err: fmt.Errorf("the server has another UIDVALIDITY each time, now %d and then %d", validity, data.UIDValidity),
			Advice: "Open the folder once with a mail program that signs in over IMAP, such as the owner's: from then on the server keeps what tells its messages apart."}
	}
	if s.lasts == nil {
		s.lasts = make(map[string]uint32)
	}
	s.lasts[name] = validity
	return nil
}
