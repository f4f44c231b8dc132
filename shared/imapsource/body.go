package imapsource

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// body reads a literal to its announced end, and never gives io.EOF before its last octet. When the
// connection breaks within a message, it goes on inside the message over another connection, by a
// partial FETCH (RFC 9051 section 6.4.5) that begins a little earlier: the beginning, the overlap, the
// octets left and UIDVALIDITY must be what they were. The beginning differs where a server makes the
// message anew each time, since the boundaries of its parts stand there. A server that does not do partial right is asked for the
// whole message, of which the known part is compared and passed over.
type body struct {
	f       *fetcher
	info    migrate.MessageInfo
	literal io.Reader                // nil: the message is over
	on      *session                 // of the literal
	cmd     *imapclient.FetchCommand // of the literal, once the message went on elsewhere
	moved   bool                     // it did
	size    int64                    // octets announced
	at      int64                    // octets given
	failure error                    // final

	sum  maphash.Hash // of what was given
	head []byte       // its first octets
	tail []byte       // its last octets
	mark int64        // where the count of losses began
	lost int          // connections since then
	last int64        // where the last one was lost
	same int          // connections that were lost there
}

const (
	overlap  = 1 << 10  // octets that are compared where a message goes on
	heading  = 4 << 10  // octets that are compared at its beginning
	progress = 64 << 10 // octets that forgive lost connections
	maxLost  = 8        // connections that may be lost without that much progress
	maxSame  = 3        // connections that may be lost at one octet
)

func newBody(f *fetcher, info migrate.MessageInfo, literal imap.LiteralReader) *body {
	return &body{f: f, info: info, literal: literal, size: literal.Size(), on: f.s.session}
}

var errBodyOver = errors.New("the message was read after its time")

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	for {
		switch {
		case b.failure != nil:
			return 0, b.failure
		case b.literal == nil:
			return 0, errBodyOver
		case b.at == b.size:
			_, _ = b.literal.Read(p[:min(len(p), 1)]) // lets the library see the literal's end
			return 0, io.EOF
		}
		n, err := b.literal.Read(p[:min(int64(len(p)), b.size-b.at)])
		b.remember(p[:n])
		if n > 0 {
			b.on.wire.hurried.Store(false)
		}
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if err != nil {
			b.release()
			b.failure = b.goOn(err)
		}
	}
}

// release waits until the library's reading goroutine has ended. A literal's error lets it go on, and
// the library reads the literal once more when the command is closed: both would use one buffer.
func (b *body) release() { release(b.on) }

func release(on *session) {
	on.wire.abort(errBrokenOff)
	<-on.client.Closed()
}

func (b *body) remember(p []byte) {
	b.at += int64(len(p))
	_, _ = b.sum.Write(p)
	b.head = append(b.head, p[:min(len(p), heading-len(b.head))]...)
	p = p[max(0, len(p)-overlap):]
	if over := len(b.tail) + len(p) - overlap; over > 0 {
		b.tail = b.tail[:copy(b.tail, b.tail[over:])]
	}
	b.tail = append(b.tail, p...)
}

// goOn finds the rest of the message, or returns why that cannot be.
func (b *body) goOn(reason error) error {
	if reason == io.EOF {
		reason = io.ErrUnexpectedEOF
	}
	failed := b.fail(reason)
	if b.f.section.Specifier != imap.PartSpecifierNone || b.f.s.redial == nil ||
		migrate.KindOf(failed) == migrate.Throttled && !ill(failed) {
		return failed
	}
	for b.f.ctx.Err() == nil && !b.f.s.closed.Load() {
		if err := b.count(failed); err != nil {
			return b.blame(failed, err)
		}
		b.close()
		b.moved = true
		if err := b.f.s.reconnect(b.f.ctx); err != nil {
			return b.fail(err)
		}
		b.f.s.logger.DebugContext(b.f.ctx, "going on inside a message", "uid", b.info.UID, "octet", b.at, "octets", b.size)
		err := b.resume()
		if err == nil {
			return nil
		}
		failed = b.fail(err)
		if b.on.wire.failure() == nil {
			return b.other(failed)
		}
	}
	return failed
}

// count counts a lost connection and returns an error when it is one too many. Where several were
// lost at one and the same octet, it is the message and not the network.
func (b *body) count(reason error) error {
	b.f.losses++
	if b.at >= b.mark+progress {
		b.mark, b.lost = b.at, 0
	}
	if b.at != b.last {
		b.last, b.same = b.at, 0
	}
	b.lost, b.same = b.lost+1, b.same+1
	if b.same >= maxSame {
		return &migrate.Error{Op: "read message", Folder: b.f.s.folder, UID: b.info.UID, Kind: migrate.Unreadable,
			Err: fmt.Errorf("the connection was lost %d times at octet %d of %d: %w", b.same, b.at, b.size, words(reason))}
	}
	if b.lost >= maxLost {
		return reason
	}
	return nil
}

// blame returns what count says if the message is to blame: where the server gives none any more, it is ill.
func (b *body) blame(failed, said error) error {
	if migrate.KindOf(said) != migrate.Unreadable {
		return said
	}
	b.close()
	b.moved = true
	if err := b.f.s.reconnect(b.f.ctx); err != nil {
		return b.fail(err)
	}
	if b.f.gives() {
		return said
	}
	return &migrate.Error{Op: "read message", Folder: b.f.s.folder, UID: b.info.UID, Kind: migrate.Unreachable, Err: words(failed)}
}

func (b *body) fail(err error) error {
	failed := b.f.s.fail(b.f.ctx, "read message", b.f.s.folder, err)
	var e *migrate.Error
	if errors.As(failed, &e) && e.UID == 0 {
		e.UID = b.info.UID
	}
	return failed
}

// other makes an error of a message that does not go on as it began: somebody may begin it once more.
// Dovecot finds out while it sends a message that it has another size than the file's name says, and
// gives it right from then on.
func (b *body) other(failed error) error {
	if migrate.KindOf(failed) != migrate.Unexpected {
		return failed
	}
	return &migrate.Error{Op: "read message", Folder: b.f.s.folder, UID: b.info.UID, Kind: migrate.Unreachable, Reason: migrate.Changed,
		Err: fmt.Errorf("the connection broke at octet %d of %d, and it does not go on as it began: %w", b.at, b.size, words(failed))}
}

// resume continues at b.at on the current connection.
func (b *body) resume() error {
	if b.at > 0 && !b.f.s.noPartial {
		err := b.resumePart()
		if err == nil || b.f.s.wire.failure() != nil && !errors.Is(err, errWrongPart) {
			return err
		}
		b.f.s.noPartial = true
		b.f.s.logger.DebugContext(b.f.ctx, "the server does not give parts of messages", "reason", err)
		if errors.Is(err, errWrongPart) {
			b.close()
			if err := b.f.s.reconnect(b.f.ctx); err != nil {
				return err
			}
		}
	}
	return b.resumeWhole()
}

var errWrongPart = errors.New("the server gives another part of the message than it was asked for")

// sameHead compares the message's beginning.
func (b *body) sameHead() error {
	literal, origin, err := b.open(&imap.SectionPartial{Size: int64(len(b.head))})
	if err != nil {
		return err
	}
	if literal.Size() != int64(len(b.head)) || origin != 0 {
		return errWrongPart
	}
	again := make([]byte, len(b.head))
	if _, err := io.ReadFull(literal, again); err != nil {
		b.release()
		return err
	}
	if !bytes.Equal(again, b.head) {
		return errWrongPart
	}
	err = b.cmd.Close()
	b.cmd = nil
	return err
}

func (b *body) resumePart() error {
	if err := b.sameHead(); err != nil {
		return err
	}
	from := b.at - int64(len(b.tail))
	left := b.size - from
	// One octet more than there should be: a message that has grown would show it.
	literal, origin, err := b.open(&imap.SectionPartial{Offset: from, Size: left + 1})
	if err != nil {
		return err
	}
	if literal.Size() != left || origin != from {
		return errWrongPart
	}
	known := make([]byte, len(b.tail))
	if _, err := io.ReadFull(literal, known); err != nil {
		b.release()
		return err
	}
	if !bytes.Equal(known, b.tail) {
		return errWrongPart
	}
	b.literal = literal
	return nil
}

func (b *body) resumeWhole() error {
	literal, _, err := b.open(nil)
	if err != nil {
		return err
	}
	if literal.Size() != b.size {
		return fmt.Errorf("the server gives the message with %d octets, and with %d before", literal.Size(), b.size)
	}
	var again maphash.Hash
	again.SetSeed(b.sum.Seed())
	if _, err := io.CopyN(&again, literal, b.at); err != nil {
		b.release()
		return err
	}
	if again.Sum64() != b.sum.Sum64() {
		return errors.New("the server gives the message with other octets than before")
	}
	b.literal = literal
	return nil
}

var errNoPart = errors.New("the server answers without this message")

// open asks for the message on the current connection.
func (b *body) open(partial *imap.SectionPartial) (literal imap.LiteralReader, origin int64, err error) {
	section := &imap.FetchItemBodySection{Peek: true, Partial: partial}
	b.on = b.f.s.session
	b.cmd = b.on.client.Fetch(imap.UIDSetNum(imap.UID(b.info.UID)), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	for msg := b.cmd.Next(); msg != nil; msg = b.cmd.Next() {
		for item := msg.Next(); item != nil; item = msg.Next() {
			data, ok := item.(imapclient.FetchItemDataBodySection)
			if !ok || data.Literal == nil || data.Section.Specifier != imap.PartSpecifierNone {
				continue
			}
			if data.Section.Partial != nil {
				origin = data.Section.Partial.Offset
			}
			return data.Literal, origin, nil
		}
	}
	err = b.cmd.Close()
	b.cmd = nil
	if err == nil {
		err = errNoPart
	}
	return nil, 0, err
}

// give yields the message. It is over then, also when yield panics.
func (b *body) give(yield bodyFunc) error {
	defer b.close()
	return yield(b.info, b.size, b)
}

// close ends the reading: the message is over, or read to its end.
func (b *body) close() {
	b.literal = nil
	if b.cmd == nil {
		return
	}
	if b.at < b.size {
		b.on.wire.abort(errBrokenOff)
	}
	_ = b.cmd.Close()
	b.cmd = nil
}
