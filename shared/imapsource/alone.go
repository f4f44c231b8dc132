package imapsource

import (
	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// alone asks for one message that exists: by UID, then by sequence number, the only way to a server
// that sends the UID behind the body. An answer counts at once, a lost connection only the third time.
func (f *fetcher) alone(m located, gap error) error {
	ended := false
	for range 3 {
		for _, try := range []func(located) (error, error){f.byUID, f.bySequence} {
			before := f.losses
			why, err := try(m)
			if err != nil || f.got.Contains(m.UID) {
				return err
			}
			if why != nil {
				gap = why
			}
			if ended = f.losses > before; ended {
				break
			}
		}
		if !ended {
			break
		}
	}
	if gap == nil && f.replaced.Contains(m.UID) {
		gap = f.instead
	}
	if gap == nil { // it may be gone by now
		if left, _, err := f.existing(migrate.UIDsOf(m.UID)); err != nil || len(left) == 0 {
			return err
		}
	}
	f.suspects = append(f.suspects, f.suspect(m.MessageInfo, gap, ended))
	return nil
}

func (f *fetcher) byUID(m located) (gap, err error) {
	if f.s.bySequence {
		return nil, nil
	}
	return f.run(imap.UIDSetNum(imap.UID(m.UID)), f.only(), &m.MessageInfo)
}

// bySequence asks by sequence number. These hold while no EXPUNGE came, and none may come in answer
// to FETCH (RFC 9051 section 7.5.1); where one does, see identify, it asks again.
func (f *fetcher) bySequence(m located) (gap, err error) {
	for range 3 {
		on, where := f.s.session, uint32(0)
		f.expunged = on.expunged.Load()
		find := func(now located) error { where = now.seq; return nil }
		if _, err := f.s.describe(f.ctx, migrate.UIDsOf(m.UID), find); err != nil || where == 0 {
			return nil, err
		}
		if f.moved(on) {
			continue
		}
		gap, err = f.run(imap.SeqSetNum(where), f.only(), &m.MessageInfo)
		f.s.bySequence = f.s.bySequence || f.got.Contains(m.UID)
		if err != nil || gap != nil || f.got.Contains(m.UID) || !f.moved(on) {
			return gap, err
		}
	}
	return gap, nil
}

// moved reports whether sequence numbers are not what they were on that connection.
func (f *fetcher) moved(on *session) bool {
	return f.s.session != on || on.expunged.Load() != f.expunged
}

func (f *fetcher) only() *imap.FetchOptions {
	return &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{f.section}}
}
