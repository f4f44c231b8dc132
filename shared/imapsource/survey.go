package imapsource

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// Survey implements migrate.Source: EXAMINE and the commands that list and describe are sent together.
// Servers must work on them in this order, since the others depend on the first (RFC 9051 section 5.5).
func (s *source) Survey(ctx context.Context, name string, few migrate.UIDSet) (migrate.FolderState, migrate.UIDSet, []migrate.MessageInfo, error) {
	end := s.begin(ctx)
	s.wire.hurried.Store(false)
	examine := s.client.Select(s.spelled(name), s.examineOptions())
	uids, described, listErr := s.listAnd(few)
	data, err := examine.Wait()
	end()
	if err == nil && listErr == nil && s.wire.failure() == nil && data.UIDValidity != 0 && (data.UIDNext != 0 || data.NumMessages == 0) {
		state := s.opened(name, data)
		s.Aim(name, state.UIDValidity, described)
		return state, uids, described, nil
	}
	var answer *imap.Error
	if errors.As(cmpErr(err, listErr), &answer) && busy(answer) {
		return migrate.FolderState{}, migrate.UIDSet{}, nil, s.fail(ctx, "open folder", name, answer)
	}
	// It may be a message's description that ended the connection (see describer.ask).
	if s.wire.failure() != nil {
		failed := s.fail(ctx, "open folder", name, cmpErr(err, listErr))
		if !s.mayReplace(ctx, failed) {
			return migrate.FolderState{}, migrate.UIDSet{}, nil, failed
		}
		if err := s.replace(ctx); err != nil {
			return migrate.FolderState{}, migrate.UIDSet{}, nil, err
		}
	}
	state, uids, err := s.openAndList(ctx, name)
	if err != nil && s.wire.failure() != nil && s.mayReplace(ctx, err) {
		err = s.endsAt(ctx, name, err)
	}
	if data.UIDValidity != state.UIDValidity {
		described = nil // perhaps of the folder that was open before
	}
	return state, uids, described, err
}

// openAndList opens a folder and lists it one after the other, so that a refusal tells what it is about. A folder
// that is empty is not listed: James answers BAD to FETCH then (linagora/james-project issue 4215).
func (s *source) openAndList(ctx context.Context, name string) (state migrate.FolderState, uids migrate.UIDSet, err error) {
	if state, err = s.Open(ctx, name); err == nil && state.Messages > 0 {
		uids, err = s.UIDs(ctx, 1, ^migrate.UID(0))
	}
	return state, uids, err
}

// mayReplace reports whether another connection may take the place of one that broke.
func (s *source) mayReplace(ctx context.Context, failed error) bool {
	return s.redial != nil && ctx.Err() == nil && !s.closed.Load() && migrate.KindOf(failed) != migrate.Throttled
}

// endsAt says what it means that one connection after the other ends, or stands still, as a folder is opened
// or listed: where INBOX opens, it is about the folder, and the others go on.
func (s *source) endsAt(ctx context.Context, name string, failed error) error {
	if strings.EqualFold(name, "INBOX") {
		return failed
	}
	if err := s.replace(ctx); err != nil {
		return err
	}
	s.leave()
	defer s.begin(ctx)()
	if _, err := s.examine("INBOX"); err != nil && !declined(err) {
		return failed
	}
	return &migrate.Error{Op: "open folder", Folder: name, Kind: migrate.NoFolder,
		Err: fmt.Errorf("it ends one connection after the other: %w", words(failed))}
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

// listAnd lists every UID and describes a few, with two commands that are sent together. If the few are
// all from some UID on, these are listed by their descriptions. Both answers are taken at the same time:
// servers may mix them, and the library hands over nothing else while something is not taken.
func (s *source) listAnd(few migrate.UIDSet) (uids migrate.UIDSet, described []migrate.MessageInfo, err error) {
	rest, newest := migrate.EveryUID(), few.Max() == ^migrate.UID(0) && len(few.Ranges()) == 1
	if newest {
		rest = rest.Minus(few)
	}
	var listing sync.WaitGroup
	if !rest.Empty() {
		cmd := s.client.Fetch(uidSet(rest), &imap.FetchOptions{UID: true})
		listing.Go(func() { uids, _, err = listed(cmd) })
	}
	if few.Empty() {
		listing.Wait()
		return uids, nil, err
	}
	more, described, moreErr := listed(s.client.Fetch(uidSet(few), descriptionOptions()))
	listing.Wait()
	uids.Union(more)
	switch {
	case newest && err == nil:
		err = moreErr
	case moreErr != nil:
		described = nil // what is missing is not asked for again
	}
	return uids, described, err
}

// SurveyNew implements migrate.Source. Answers about several folders follow each other, and the library
// tells by UIDs alone what they are about: news of a flag that come unasked can pass for a message of the
// next folder, and push on what is said of that. As they do not say all that was asked for, a folder all
// of whose messages are described had none, nor had those before it.
func (s *source) SurveyNew(ctx context.Context, names []string) (found []migrate.Surveyed, err error) {
	defer s.begin(ctx)()
	s.leave()
	type answer struct {
		examine   *imapclient.SelectCommand
		uids      migrate.UIDSet
		described []migrate.MessageInfo
		err       error
	}
	answers := make([]answer, len(names))
	var taking sync.WaitGroup
	for i, name := range names {
		a := &answers[i]
		a.examine = s.client.Select(s.spelled(name), s.examineOptions())
		list := s.client.Fetch(uidSet(migrate.EveryUID()), descriptionOptions())
		taking.Go(func() { a.uids, a.described, a.err = listed(list) })
	}
	taking.Wait()
	for i, name := range names {
		a := answers[i]
		data, err := a.examine.Wait()
		if broken := s.wire.failure(); broken != nil {
			return found, s.fail(ctx, "list messages", name, cmpErr(err, broken))
		}
		if err != nil || a.err != nil || data.UIDValidity == 0 || data.UIDNext == 0 ||
			a.uids.Len() != int(data.NumMessages) || len(a.described) != int(data.NumMessages) {
			s.leave()
			return found, nil
		}
		found = append(found, migrate.Surveyed{State: s.opened(name, data), UIDs: a.uids, Described: a.described})
	}
	return found, nil
}
