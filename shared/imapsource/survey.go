package imapsource

import (
	"context"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// Survey implements migrate.Source: EXAMINE and the command that lists are sent together. Servers must
// work on them in this order, since the second depends on the first (RFC 9051 section 5.5).
func (s *source) Survey(ctx context.Context, name string) (migrate.FolderState, migrate.UIDSet, error) {
	end := s.begin(ctx)
	examine := s.client.Select(s.spelled(name), s.examineOptions())
	list := s.client.Fetch(imap.UIDSet{{Start: 1, Stop: imap.UID(^migrate.UID(0))}}, &imap.FetchOptions{UID: true})
	// The list is read first: the library hands over nothing else while it is not taken, and a server
	// may tell of the folder that was open before it answers EXAMINE.
	uids, listErr := uidsOf(list, 1, ^migrate.UID(0))
	data, err := examine.Wait()
	end()
	if err == nil && listErr == nil && data.UIDValidity != 0 && (data.UIDNext != 0 || data.NumMessages == 0) {
		return s.opened(name, data), uids, nil
	}
	// One after the other, a refusal tells what it is about.
	state, err := s.Open(ctx, name)
	if err != nil {
		return state, migrate.UIDSet{}, err
	}
	uids, err = s.UIDs(ctx, 1, ^migrate.UID(0))
	return state, uids, err
}
