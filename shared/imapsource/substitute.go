package imapsource

import (
	"bytes"
	"errors"
	"io"
	"regexp"

	"github.com/emersion/go-imap/v2"
)

// unavailable is what Courier gives in place of a message whose file it cannot open (courier-libs
// 2a13a23, imap/fetch.C:41-45 and open_cached_fp).
const unavailable = "From: System Administrator <root@localhost>\r\nSubject: message unavailable\r\n\r\n" +
	"This message is no longer available on the server.\r\n"

// undeliverable is what hMailServer gives in place of a message whose file is gone, and writes to its disk for
// good (hmailserver 4d11f81d, IMAPFetch.cpp:57-68, PersistentMessage.cpp:746-793). Its words are a setting
// (DBScripts/CreateTablesMYSQL.sql:510-512): these are the default.
var undeliverable = regexp.MustCompile(`^From: Postmaster\r\nSubject: Message undeliverable\r\nDate: [^\r\n]*\r\n\r\n` +
	`The mail server could not deliver the message to you since the file [^\r\n]* does not exist on the server\.\r\n`)

const longestSubstitute = 1 << 10 // hMailServer names a file, of up to 260 characters

var (
	errUnavailable   = errors.New(`the server gives a message of its own in place of this one: "This message is no longer available on the server."`)
	errUndeliverable = errors.New("the server has lost the file of this message, and has put a message of its own in its place")
)

// substituted looks for a message of the server's own, where the server may be one that gives such: the error
// says which. Any other literal comes back unread.
func (s *source) substituted(literal imap.LiteralReader) (imap.LiteralReader, error) {
	courier := s.noUIDNext && literal.Size() == int64(len(unavailable))
	hMailServer := literal.Size() <= longestSubstitute && s.caps.Has("IMAP4") && s.caps.Has("RIGHTS=TEXK") && !s.caps.Has(imap.CapUIDPlus)
	if !courier && !hMailServer {
		return literal, nil
	}
	text := make([]byte, literal.Size())
	n, err := io.ReadFull(literal, text) // an error comes again behind what was read
	switch text = text[:n]; {
	case err != nil:
	case courier && string(text) == unavailable:
		return nil, errUnavailable
	case hMailServer && undeliverable.Match(text):
		return nil, errUndeliverable
	}
	return readLiteral{io.MultiReader(bytes.NewReader(text), literal), literal.Size()}, nil
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
