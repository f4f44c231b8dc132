package imapsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// located is a message and where it stands in the folder now.
type located struct {
	migrate.MessageInfo
	seq uint32
}

// Describe implements migrate.Source.
func (s *source) Describe(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo) error) error {
	return s.describe(ctx, uids, func(m located) error { return yield(m.MessageInfo) })
}

func (s *source) describe(ctx context.Context, uids migrate.UIDSet, yield func(located) error) error {
	defer s.begin(ctx)()
	partial := true
	for round := 0; round < 2 && partial; round++ {
		var got migrate.UIDSet
		partial = false
		for _, set := range batches(uids) {
			cmd := s.client.Fetch(set, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true})
			for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
				info, complete := describe(msg)
				if !complete {
					// News of a flag that came before the answer and took its place.
					partial = true
					continue
				}
				got.Add(info.UID)
				if err := yield(located{info, msg.SeqNum}); err != nil {
					s.breakOff(cmd)
					return err
				}
			}
			if err := cmd.Close(); err != nil {
				return s.fail(ctx, "describe messages", s.folder, err)
			}
		}
		uids = uids.Minus(got)
	}
	return nil
}

// breakOff ends a command that nobody waits for. The connection goes with it: what the server still
// sends may be long, and the library cannot be told to leave it.
func (s *source) breakOff(cmd *imapclient.FetchCommand) {
	s.wire.abort(errBrokenOff)
	_ = cmd.Close()
}

// describe reads a response without a body. It is complete when UID, flags and date came.
func describe(msg *imapclient.FetchMessageData) (info migrate.MessageInfo, complete bool) {
	var got items
	for item := msg.Next(); item != nil; item = msg.Next() {
		got.take(item)
	}
	return got.info, got.complete()
}

// items collects what a FETCH response says of a message.
type items struct {
	info        migrate.MessageInfo
	flags, date bool
}

func (i *items) take(item imapclient.FetchItemData) {
	switch item := item.(type) {
	case imapclient.FetchItemDataUID:
		i.info.UID = migrate.UID(item.UID)
	case imapclient.FetchItemDataFlags:
		i.flags = true
		i.info.Flags = make([]migrate.Flag, 0, len(item.Flags))
		for _, f := range item.Flags {
			if f != `\Recent` && !slices.Contains(i.info.Flags, migrate.Flag(f)) {
				i.info.Flags = append(i.info.Flags, migrate.Flag(f))
			}
		}
	case imapclient.FetchItemDataInternalDate:
		i.date = true
		if !item.Time.Equal(noDate) {
			i.info.Received = item.Time
		}
	case imapclient.FetchItemDataRFC822Size:
		i.info.Size = item.Size
	}
}

func (i *items) complete() bool { return i.info.UID != 0 && i.flags && i.date }

// bodyFunc takes a message and its octets.
type bodyFunc func(info migrate.MessageInfo, octets int64, body io.Reader) error

// Fetch implements migrate.Source.
func (s *source) Fetch(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo, int64, io.Reader) error) error {
	return s.fetch(ctx, uids, &imap.FetchItemBodySection{Peek: true}, yield)
}

// maxHeader is the longest header that is looked at.
const maxHeader = 8 << 20

// Headers implements migrate.Source.
func (s *source) Headers(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo, []byte) error) error {
	section := &imap.FetchItemBodySection{Peek: true, Specifier: imap.PartSpecifierHeader}
	return s.fetch(ctx, uids, section, func(info migrate.MessageInfo, octets int64, body io.Reader) error {
		if octets > maxHeader {
			err := fmt.Errorf("the header has %d octets", octets)
			return &migrate.Error{Op: "fetch header", Folder: s.folder, UID: info.UID, Kind: migrate.Unreadable, Err: err}
		}
		header := make([]byte, octets)
		if _, err := io.ReadFull(body, header); err != nil {
			return err
		}
		return yield(info, header)
	})
}

// fetch yields a section of each message. What a response leaves out is asked for again: first what
// of it exists, then each by UID, then each by its sequence number, the only way to a server that
// sends the UID behind the body.
func (s *source) fetch(ctx context.Context, uids migrate.UIDSet, section *imap.FetchItemBodySection, yield bodyFunc) error {
	defer s.begin(ctx)()
	f := fetcher{s: s, ctx: ctx, section: section, yield: yield}
	options := &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{section},
	}
	for _, set := range batches(uids) {
		if err := f.run(set, options, nil); err != nil {
			return err
		}
	}
	rest := uids.Minus(f.got)
	if rest.Empty() {
		return nil
	}
	var left []located
	if err := s.describe(ctx, rest, func(m located) error { left = append(left, m); return nil }); err != nil {
		return err
	}
	if len(left) > 0 {
		s.logger.DebugContext(ctx, "asking again for messages that the server left out", "messages", len(left))
	}
	for _, m := range left {
		if err := f.again(m); err != nil {
			return err
		}
	}
	return nil
}

// fetcher is one call of Fetch or Headers.
type fetcher struct {
	s       *source
	ctx     context.Context
	section *imap.FetchItemBodySection
	yield   bodyFunc
	got     migrate.UIDSet
}

// again asks for one message that exists.
func (f *fetcher) again(m located) error {
	options := &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{f.section}}
	if err := f.run(imap.UIDSetNum(imap.UID(m.UID)), options, &m.MessageInfo); err != nil || f.got.Contains(m.UID) {
		return err
	}
	// Sequence numbers hold while no EXPUNGE came, and none may come in answer to FETCH (RFC 9051
	// section 7.5.1).
	for range 3 {
		before, where := f.s.expunged.Load(), uint32(0)
		find := func(now located) error { where = now.seq; return nil }
		if err := f.s.describe(f.ctx, migrate.UIDsOf(m.UID), find); err != nil || where == 0 {
			return err
		}
		if f.s.expunged.Load() == before {
			return f.run(imap.SeqSetNum(where), options, &m.MessageInfo)
		}
	}
	return nil
}

// run sends one FETCH and yields what it delivers. A server's NO leaves the messages out. known is
// what is known of the only message that is asked for.
func (f *fetcher) run(set imap.NumSet, options *imap.FetchOptions, known *migrate.MessageInfo) error {
	cmd := f.s.client.Fetch(set, options)
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		if err := f.deliver(msg, known); err != nil {
			f.s.breakOff(cmd)
			return err
		}
	}
	err := cmd.Close()
	var answer *imap.Error
	if err == nil || errors.As(err, &answer) && answer.Type != imap.StatusResponseTypeBye && !throttled(answer) && f.s.wire.failure() == nil {
		return nil
	}
	return f.s.fail(f.ctx, "fetch messages", f.s.folder, err)
}

// deliver yields one response if it holds the section and, before it, what is to be known.
func (f *fetcher) deliver(msg *imapclient.FetchMessageData, known *migrate.MessageInfo) error {
	var got items
	for item := msg.Next(); item != nil; item = msg.Next() {
		got.take(item)
		data, ok := item.(imapclient.FetchItemDataBodySection)
		if !ok || data.Literal == nil || data.Section.Specifier != f.section.Specifier {
			continue
		}
		info := got.info
		if known != nil && (info.UID == 0 || info.UID == known.UID) {
			info = *known
		} else if known != nil || !got.complete() {
			continue
		}
		if f.got.Contains(info.UID) {
			continue
		}
		f.got.Add(info.UID)
		body := &body{literal: data.Literal, left: data.Literal.Size(), fail: func(err error) error {
			return f.s.fail(f.ctx, "read message", f.s.folder, err)
		}}
		err := f.yield(info, data.Literal.Size(), body)
		body.literal = nil
		if err != nil {
			return err
		}
	}
	return nil
}

// body reads a literal to its announced end.
type body struct {
	literal io.Reader // nil: the literal is over
	left    int64
	fail    func(error) error
}

var errBodyOver = errors.New("the message was read after its time")

// Read implements io.Reader. It never gives io.EOF before the literal's last octet.
func (b *body) Read(p []byte) (int, error) {
	if b.literal == nil {
		return 0, errBodyOver
	}
	n, err := b.literal.Read(p)
	b.left -= int64(n)
	switch {
	case err == io.EOF && b.left > 0:
		return n, b.fail(io.ErrUnexpectedEOF)
	case err != nil && err != io.EOF:
		return n, b.fail(err)
	}
	return n, err
}
