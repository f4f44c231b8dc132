package imapsource

import (
	"cmp"
	"context"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// bodyFunc takes a message and its octets.
type bodyFunc func(info migrate.MessageInfo, octets int64, body io.Reader) error

// Fetch implements migrate.Source.
func (s *source) Fetch(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo, int64, io.Reader) error) error {
	f := s.fetcher(ctx, &imap.FetchItemBodySection{Peek: true}, yield)
	defer s.begin(ctx)()
	if err := f.askAll(uids); err != nil {
		return err
	}
	for _, m := range f.suspects {
		if err := yield(m.info, 0, unreadable{m.why}); err != nil {
			return err
		}
	}
	return nil
}

// maxHeader is the longest header that is looked at.
const maxHeader = 8 << 20

// Headers implements migrate.Source.
func (s *source) Headers(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo, []byte) error) error {
	section := &imap.FetchItemBodySection{Peek: true, Specifier: imap.PartSpecifierHeader}
	f := s.fetcher(ctx, section, func(info migrate.MessageInfo, octets int64, body io.Reader) error {
		header := make([]byte, min(octets, maxHeader))
		if _, err := io.ReadFull(body, header); err != nil {
			return err
		}
		return yield(info, header)
	})
	defer s.begin(ctx)()
	return f.askAll(uids)
}

func (s *source) fetcher(ctx context.Context, section *imap.FetchItemBodySection, yield bodyFunc) *fetcher {
	s.wire.hurried.Store(false)
	return &fetcher{conversation: conversation{s: s, ctx: ctx, op: "fetch messages"}, section: section, yield: yield}
}

// fetcher is one call of Fetch or Headers: it yields a section of each message.
type fetcher struct {
	conversation
	section  *imap.FetchItemBodySection
	yield    bodyFunc
	wanted   migrate.UIDSet // what the caller asks for
	got      migrate.UIDSet
	suspects []suspect
	replaced migrate.UIDSet            // in whose place the server gives something else,
	instead  error                     // which is this
	expunged int64                     // the session's count, when a sequence number was found out
	examine  *imapclient.SelectCommand // behind which the last command was sent; nil: the folder was open
}

func (f *fetcher) askAll(uids migrate.UIDSet) error {
	f.wanted = uids
	for _, set := range batches(uids) {
		if err := f.ask(set); err != nil {
			return err
		}
	}
	if err := f.withdraw(); err != nil {
		return err
	}
	// Where nothing at all ever came, it may as well be the server that is ill.
	if i := slices.IndexFunc(f.suspects, func(m suspect) bool { return m.ended }); i >= 0 && f.got.Empty() && f.s.whole == 0 {
		m := f.suspects[i]
		return &migrate.Error{Op: f.op, Folder: f.s.folder, UID: m.info.UID, Kind: migrate.Unreachable, Err: words(m.why)}
	}
	if err := f.illness(); err != nil {
		return err
	}
	return f.probe()
}

// ask asks until each of uids came, is gone, or is a suspect. What a command leaves out is asked for
// again while that brings anything, and then narrowed down: by halves where the server refuses or
// ends the connection, since one message may be to blame for all; one by one where it says OK.
func (f *fetcher) ask(uids migrate.UIDSet) error {
	if f.s.bySequence {
		left, _, err := f.existing(uids)
		if err != nil {
			return err
		}
		return f.each(left)
	}
	if err := f.describeFirst(uids); err != nil {
		return err
	}
	gap, err := f.run(uidSet(uids), f.everything(), nil)
	rest := uids.Minus(f.got)
	if err != nil || rest.Empty() {
		return err
	}
	left, exist, err := f.existing(rest)
	switch {
	case err != nil || len(left) == 0:
		return err
	case len(left) == 1:
		return f.alone(left[0], gap)
	case stalled(gap):
		// Servers send in the order of UIDs: it stands still at the first that did not come.
		first := slices.MinFunc(left, func(a, b located) int { return cmp.Compare(a.UID, b.UID) })
		if err := f.alone(first, gap); err != nil {
			return err
		}
		return f.ask(exist.Minus(migrate.UIDsOf(first.UID)))
	case exist.Len() < uids.Len():
		return f.ask(exist)
	case gap == nil:
		f.s.logger.DebugContext(f.ctx, "asking one by one for messages that the server left out", "messages", len(left))
		return f.each(left)
	}
	lower, upper := halves(exist)
	if err := f.ask(lower); err != nil {
		return err
	}
	return f.ask(upper)
}

// describeFirst asks for the flags by themselves, if they are not known, until the server was seen to
// send them before the body.
func (f *fetcher) describeFirst(uids migrate.UIDSet) error {
	if f.s.earlyFlags {
		return nil
	}
	for uid := range uids.Descending {
		if _, ok := f.s.known[uid]; !ok {
			_, err := f.s.describe(f.ctx, uids, func(located) error { return nil })
			return err
		}
	}
	return nil
}

func (f *fetcher) each(left []located) error {
	for _, m := range left {
		if err := f.alone(m, nil); err != nil {
			return err
		}
	}
	return nil
}

// existing finds out which of uids exist.
func (f *fetcher) existing(uids migrate.UIDSet) (left []located, set migrate.UIDSet, err error) {
	ended, err := f.s.describe(f.ctx, uids, func(m located) error {
		left = append(left, m)
		set.Add(m.UID)
		return nil
	})
	f.suspects = append(f.suspects, ended...)
	return left, set, err
}

func (f *fetcher) everything() *imap.FetchOptions {
	return &imap.FetchOptions{
		UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{f.section},
	}
}

// run sends one FETCH and yields what it delivers; gap and err are those of close. known is what is
// known of the only message that is asked for.
func (f *fetcher) run(set imap.NumSet, options *imap.FetchOptions, known *migrate.MessageInfo) (gap, err error) {
	on := f.s.session
	if f.examine, err = f.s.approach(f.ctx); err != nil {
		return nil, err
	}
	cmd := on.client.Fetch(set, options)
	broken := true
	defer func() { // also when a yield panics: the library waits for what is unread
		if broken {
			breakOff(on, cmd, errBrokenOff)
		}
	}()
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		lost, err := f.deliver(msg, known)
		switch {
		case err == nil && lost == nil && f.s.session == on:
			continue
		case err != nil:
			return nil, err
		case lost != nil:
			on.wire.abort(errBrokenOff)
			return f.lost(lost)
		}
		return errReplaced, nil // the body went on over another connection; so do the others
	}
	broken = false
	gap, err = f.close(cmd)
	if err != nil || !f.s.unopened {
		return gap, err
	}
	if err := f.s.confirm(f.ctx, f.examine); err == nil {
		return gap, nil
	} else if !f.s.unopened {
		return nil, err
	}
	// One after the other, a refusal tells what it is about.
	if err := f.s.arrive(f.ctx); err != nil {
		return nil, err
	}
	return f.run(set, options, known)
}

// deliver yields one response if it holds the section and, before it, what is to be known. lost is
// why the connection ended within a header.
func (f *fetcher) deliver(msg *imapclient.FetchMessageData, known *migrate.MessageInfo) (lost, err error) {
	var got items
	for item := msg.Next(); item != nil; item = msg.Next() {
		got.take(item)
		data, ok := item.(imapclient.FetchItemDataBodySection)
		if !ok || data.Literal == nil || data.Section.Specifier != f.section.Specifier || cutShort(data.Section) {
			continue
		}
		info, ok := f.identify(&got, known)
		if !ok || f.got.Contains(info.UID) || known == nil && (!f.wanted.Contains(info.UID) || got.stub(data.Literal.Size())) {
			continue
		}
		if err := f.s.admit(f.ctx, f.examine); err != nil {
			return nil, err
		}
		literal, other := f.s.substituted(data.Literal)
		if other != nil {
			f.replaced.Add(info.UID)
			f.instead = other
			continue
		}
		b := newBody(f, info, literal)
		err := b.give(f.yield)
		if b.failure != nil && f.section.Specifier != imap.PartSpecifierNone {
			return b.failure, nil
		}
		f.got.Add(info.UID)
		f.came()
		if b.failure == nil && b.at == b.size && b.size > 0 {
			f.s.whole = info.UID
		}
		if err != nil || b.moved {
			return nil, err
		}
	}
	return nil, nil
}

// identify finds out what message a body belongs to, and what is to be known of it.
func (f *fetcher) identify(got *items, known *migrate.MessageInfo) (info migrate.MessageInfo, ok bool) {
	switch described, ok := f.s.known[got.info.UID]; {
	case known != nil:
		return *known, got.info.UID == known.UID || got.info.UID == 0 && f.s.expunged.Load() == f.expunged
	case got.complete():
		f.s.earlyFlags = true
		return got.info, true
	case ok && got.info.UID != 0 && got.date && !got.flags:
		// Zimbra sends them behind the body (zm-mailbox, ImapHandler.java, doFETCH: i4msg.getFlags
		// is printed after pspec.write).
		return described, true
	}
	return info, false
}

// stub reports whether a response is what Zimbra gives for a message that another session has
// removed: empty, of size 0, received when 1970 began (zm-mailbox, ImapHandler.java, fetchStub).
// Asked again, the server knows that it is gone; a message that is really so comes then.
func (i *items) stub(octets int64) bool {
	return octets == 0 && i.info.Size == 0 && i.date && i.info.Received.Unix() == 0
}

// cutShort reports whether a section does not begin at the message's first octet.
func cutShort(section *imap.FetchItemBodySection) bool {
	return section.Partial != nil && section.Partial.Offset != 0
}

// unreadable is the body of a message that does not come.
type unreadable struct{ why error }

func (u unreadable) Read([]byte) (int, error) { return 0, u.why }
