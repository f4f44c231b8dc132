package imapsource

import (
	"errors"
	"io"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// probe asks once more for the beginning of a message that came, if others did not. A server that
// does not give it any more is ill, and nothing is said of the others. One that knows no parts may
// answer BAD.
func (f *fetcher) probe() error {
	if len(f.suspects) == 0 || f.s.whole == 0 {
		return nil
	}
	var gap error
	for range 2 { // the connection may have been lost before
		before := f.losses
		cmd := f.beginning(imap.UIDSetNum(imap.UID(f.s.whole)))
		came := f.s.gave(cmd)
		var err error
		gap, err = f.close(cmd)
		if err != nil || gap == nil && came || unskilled(gap) {
			return err
		}
		if f.losses == before {
			break
		}
	}
	if gap == nil {
		gap = errors.New("the server answers OK without a message that it gave before")
	}
	return &migrate.Error{Op: f.op, Folder: f.s.folder, UID: f.suspects[0].info.UID, Kind: migrate.Unreachable, Err: words(gap)}
}

// gives reports whether the server still gives messages, over a connection that is new: one that came
// before, else one of three of the folder. Then it is not ill, however many messages in a row end the
// connection.
func (c *conversation) gives() bool {
	if c.s.whole != 0 {
		return c.sound()
	}
	n := c.s.count
	if n == 0 {
		return false
	}
	cmd := c.beginning(imap.SeqSetNum(1, (n+1)/2, n))
	came := c.s.gave(cmd)
	_ = cmd.Close()
	return came
}

// sound is gives for a message that came before.
func (c *conversation) sound() bool {
	if c.s.whole == 0 {
		return false
	}
	cmd := c.beginning(imap.UIDSetNum(imap.UID(c.s.whole)))
	came := c.s.gave(cmd)
	err := cmd.Close()
	return err == nil && came || unskilled(err)
}

// unskilled reports whether a server merely does not know parts of messages.
func unskilled(err error) bool { return declined(err) && !refusedNo(err) }

// beginning asks for the first octets of messages: enough to know what servers give in their place.
func (c *conversation) beginning(set imap.NumSet) *imapclient.FetchCommand {
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: longestSubstitute}}
	return c.s.client.Fetch(set, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
}

// gave reports whether an answer gives octets of a message. Cyrus says OK and gives NIL for all whose files
// it cannot open (see QUIRKS.md), others a message of their own.
func (s *source) gave(cmd *imapclient.FetchCommand) (came bool) {
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		for item := msg.Next(); item != nil; item = msg.Next() {
			data, ok := item.(imapclient.FetchItemDataBodySection)
			if !ok || data.Literal == nil {
				continue
			}
			literal, other := s.substituted(data.Literal)
			if other != nil {
				continue
			}
			if _, err := io.CopyN(io.Discard, literal, min(literal.Size(), longestSubstitute)); err != nil {
				release(s.session)
				continue
			}
			came = true
		}
	}
	return came
}

// illness decides about messages in whose place the server says that it is ill. Where it gives others, it
// is asked for them again in later runs: iCloud says so of any message when it has enough (mail-archiver
// issue 414), Yahoo always of one that it cannot give (MailKit issue 358).
func (f *fetcher) illness() error {
	i := slices.IndexFunc(f.suspects, func(m suspect) bool { return m.ill != nil })
	switch {
	case i < 0:
		return nil
	case !f.gives():
		return f.suspects[i].ill
	}
	m := f.suspects[i]
	return &migrate.Error{Op: f.op, Folder: f.s.folder, UID: m.info.UID, Kind: migrate.Unreachable, Err: words(m.why)}
}
