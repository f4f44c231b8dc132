package imapsource

import (
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// probe asks once more for the first octet of a message that came, if others did not. A server that
// does not give it any more is ill, and nothing is said of the others. One that knows no parts may
// answer BAD.
func (f *fetcher) probe() error {
	if len(f.suspects) == 0 || f.s.whole == 0 {
		return nil
	}
	var gap error
	for range 2 { // the connection may have been lost before
		before := f.losses
		var err error
		gap, err = f.close(f.firstOctet())
		if err != nil || gap == nil || refused(gap) && !refusedNo(gap) {
			return err
		}
		if f.losses == before {
			break
		}
	}
	return &migrate.Error{Op: f.op, Folder: f.s.folder, UID: f.suspects[0].info.UID, Kind: migrate.Unreachable, Err: words(gap)}
}

// sound reports whether the server still gives a message that came before, over a connection that is
// new. Then it is not ill, however many messages in a row end the connection.
func (c *conversation) sound() bool {
	if c.s.whole == 0 {
		return false
	}
	err := c.firstOctet().Close()
	return err == nil || refused(err) && !refusedNo(err)
}

// firstOctet asks for the first octet of a message that came.
func (c *conversation) firstOctet() *imapclient.FetchCommand {
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: 1}}
	options := &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}}
	return c.s.client.Fetch(imap.UIDSetNum(imap.UID(c.s.whole)), options)
}

// illness decides about messages in whose place the server says that it is ill. Where it gives others, it
// is asked for them again in later runs: iCloud says so of any message when it has enough (mail-archiver
// issue 414), Yahoo always of one that it cannot give (MailKit issue 358).
func (f *fetcher) illness() error {
	i := slices.IndexFunc(f.suspects, func(m suspect) bool { return m.ill != nil })
	switch {
	case i < 0:
		return nil
	case f.s.whole == 0 && !f.givesOthers(), f.s.whole != 0 && !f.sound():
		return f.suspects[i].ill
	}
	m := f.suspects[i]
	return &migrate.Error{Op: f.op, Folder: f.s.folder, UID: m.info.UID, Kind: migrate.Unreachable, Err: words(m.why)}
}

// givesOthers reports whether the server gives the first octet of one of three messages of the folder.
func (f *fetcher) givesOthers() (gives bool) {
	n := f.s.count
	if n == 0 {
		return false
	}
	section := &imap.FetchItemBodySection{Peek: true, Partial: &imap.SectionPartial{Size: 1}}
	cmd := f.s.client.Fetch(imap.SeqSetNum(1, (n+1)/2, n), &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{section}})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		for item := msg.Next(); item != nil; item = msg.Next() {
			_, body := item.(imapclient.FetchItemDataBodySection)
			gives = gives || body
		}
	}
	_ = cmd.Close()
	return gives
}
