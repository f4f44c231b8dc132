package imapsource

import (
	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// probe asks once more for the first octet of a message that came, if others did not. A server that
// does not give it any more is ill, and nothing is said of the others. One that knows no parts may
// answer BAD.
func (f *fetcher) probe() error {
	if len(f.suspects) == 0 || f.whole == 0 {
		return nil
	}
	section := *f.section
	section.Partial = &imap.SectionPartial{Size: 1}
	options := &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{&section}}
	var gap error
	for range 2 { // the connection may have been lost before
		before := f.losses
		var err error
		gap, err = f.close(f.s.client.Fetch(imap.UIDSetNum(imap.UID(f.whole)), options))
		if err != nil || gap == nil || refused(gap) && !refusedNo(gap) {
			return err
		}
		if f.losses == before {
			break
		}
	}
	return &migrate.Error{Op: f.op, Folder: f.s.folder, UID: f.suspects[0].info.UID, Kind: migrate.Unreachable, Err: words(gap)}
}
