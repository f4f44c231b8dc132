package imapsource

import (
	"context"
	"errors"
	"slices"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// Survey implements migrate.Source: EXAMINE and the commands that list and describe are sent together.
// Servers must work on them in this order, since the others depend on the first (RFC 9051 section 5.5).
func (s *source) Survey(ctx context.Context, name string, few migrate.UIDSet) (migrate.FolderState, migrate.UIDSet, []migrate.MessageInfo, error) {
	end := s.begin(ctx)
	every := slices.Equal(few.Ranges(), migrate.EveryUID().Ranges())
	items := &imap.FetchOptions{UID: true}
	if every {
		items = descriptionOptions()
	}
	examine := s.client.Select(s.spelled(name), s.examineOptions())
	list := s.client.Fetch(uidSet(migrate.EveryUID()), items)
	var detail *imapclient.FetchCommand
	if !few.Empty() && !every {
		detail = s.client.Fetch(uidSet(few), descriptionOptions())
	}
	// The list is read first: the library hands over nothing else while it is not taken, and a server
	// may tell of the folder that was open before it answers EXAMINE.
	uids, described, listErr := listed(list)
	if detail != nil {
		described = completeOf(detail, few)
	}
	data, err := examine.Wait()
	end()
	if err == nil && listErr == nil && s.wire.failure() == nil && data.UIDValidity != 0 && (data.UIDNext != 0 || data.NumMessages == 0) {
		state := s.opened(name, data)
		s.Aim(name, state.UIDValidity, described)
		return state, uids, described, nil
	}
	var answer *imap.Error
	if errors.As(cmpErr(err, listErr), &answer) && throttled(answer) {
		return migrate.FolderState{}, migrate.UIDSet{}, nil, s.fail(ctx, "open folder", name, answer)
	}
	if s.wire.failure() != nil && !few.Empty() {
		// A message's description may have ended the connection; see describer.ask.
		failed := s.fail(ctx, "open folder", name, cmpErr(err, listErr))
		if ctx.Err() != nil || migrate.KindOf(failed) == migrate.Throttled {
			return migrate.FolderState{}, migrate.UIDSet{}, nil, failed
		}
		if err := s.replace(ctx); err != nil {
			return migrate.FolderState{}, migrate.UIDSet{}, nil, err
		}
	}
	// One after the other, a refusal tells what it is about.
	state, err := s.Open(ctx, name)
	if err != nil {
		return state, migrate.UIDSet{}, nil, err
	}
	uids, err = s.UIDs(ctx, 1, ^migrate.UID(0))
	if data == nil || data.UIDValidity != state.UIDValidity {
		described = nil // perhaps of the folder that was open before
	}
	return state, uids, described, err
}

func descriptionOptions() *imap.FetchOptions {
	return &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true}
}

// listed takes the UIDs of an answer, and what it says in full of a message the first time.
func listed(cmd *imapclient.FetchCommand) (uids migrate.UIDSet, described []migrate.MessageInfo, err error) {
	var told migrate.UIDSet
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		info, complete := describe(msg)
		if info.UID == 0 {
			continue
		}
		uids.Add(info.UID)
		if complete && !told.Contains(info.UID) {
			told.Add(info.UID)
			described = append(described, info)
		}
	}
	return uids, described, cmd.Close()
}

// completeOf takes those of these messages of which an answer says everything. What is missing is not
// asked for again.
func completeOf(cmd *imapclient.FetchCommand, uids migrate.UIDSet) (described []migrate.MessageInfo) {
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		if info, complete := describe(msg); complete && uids.Contains(info.UID) {
			described = append(described, info)
		}
	}
	if cmd.Close() != nil {
		return nil
	}
	return described
}
