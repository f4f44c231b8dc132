package imapsource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// source implements migrate.Source. Its methods but Close are called by one goroutine at a time.
type source struct {
	*session
	redial func(context.Context) (*session, error) // signs in again; nil: a lost connection stays lost
	root   string                                  // Mailbox.UserRoot
	spaces []migrate.Space                         // of others, to be listed
	logger *slog.Logger

	listed     bool                                // Folders was called
	hidden     map[string]string                   // by name: the placeholder to send in its place
	folder     string                              // the current one
	validity   uint32                              // its UIDVALIDITY
	count      uint32                              // its messages when it was opened
	unopened   bool                                // it is only aimed at: see Aim
	noPartial  bool                                // the server was caught giving wrong parts of messages
	bySequence bool                                // it delivers messages by sequence number only
	earlyFlags bool                                // it was seen to send the flags before the body
	known      map[migrate.UID]migrate.MessageInfo // from the last description
	noUIDNext  bool                                // EXAMINE does not tell UIDNEXT, as at Courier
	lasts      map[string]uint32                   // folders whose UIDVALIDITY was found to last
	whole      migrate.UID                         // a message of the current folder that came to its end; 0: none yet

	mu     sync.Mutex // guards the replacement of session against abort
	closed atomic.Bool
	life   context.Context // until Close
	end    context.CancelFunc
}

var _ migrate.Source = (*source)(nil)

// Open implements migrate.Source.
func (s *source) Open(ctx context.Context, name string) (migrate.FolderState, error) {
	defer s.begin(ctx)()
	const op = "open folder"
	data, err := s.examine(name)
	if refusedFolder(name, err) && !s.listed {
		// A name that only the list of folders tells how to spell.
		if _, err := s.Folders(ctx); err != nil {
			return migrate.FolderState{}, err
		}
		if s.hidden[name] != "" {
			data, err = s.examine(name)
		}
	}
	if err != nil {
		err = ofFolder(name, err)
		s.leave()
		return migrate.FolderState{}, s.fail(ctx, op, name, err)
	}
	if data.UIDValidity == 0 {
		s.leave()
		err := errors.New("the server gives the folder no UIDVALIDITY")
		return migrate.FolderState{}, &migrate.Error{Op: op, Folder: name, Kind: migrate.NoFolder, Err: err}
	}
	state := s.opened(name, data)
	if state.UIDNext == 0 && state.Messages > 0 {
		s.noUIDNext = true
		if state.UIDNext, err = s.uidAfter(data.NumMessages); err == nil {
			err = s.lasting(ctx, name, data.UIDValidity)
		}
	}
	return state, s.fail(ctx, op, name, err)
}

// refused reports whether a folder was refused. hMailServer says BAD of one that is not there
// (IMAPCommandExamine.cpp:40).
func refused(err error) bool {
	var answer *imap.Error
	return errors.As(err, &answer) && (answer.Type == imap.StatusResponseTypeNo || answer.Type == imap.StatusResponseTypeBad)
}

// refusedFolder is refused, unless that is not about the folder. A server that says it is ill counts when
// it does so of INBOX, which comes first.
func refusedFolder(name string, err error) bool {
	var answer *imap.Error
	if !refused(err) || !errors.As(err, &answer) {
		return false
	}
	return !throttled(answer) || !busy(answer) && !strings.EqualFold(name, "INBOX")
}

// ofFolder makes an error of the folder of what refusedFolder says is one.
func ofFolder(name string, err error) error {
	if !refusedFolder(name, err) {
		return err
	}
	return &migrate.Error{Kind: migrate.NoFolder, Err: fmt.Errorf("the server answers %w", err)}
}

// declined reports whether the server does not know a command, or does not do it, now or later.
func declined(err error) bool {
	var answer *imap.Error
	return refused(err) && errors.As(err, &answer) && !throttled(answer)
}

func refusedNo(err error) bool {
	var answer *imap.Error
	return errors.As(err, &answer) && answer.Type == imap.StatusResponseTypeNo
}

func (s *source) examine(name string) (*imap.SelectData, error) {
	return s.client.Select(s.spelled(name), s.examineOptions()).Wait()
}

// spelled is a folder's name as it is sent.
func (s *source) spelled(name string) string {
	if hidden := s.hidden[name]; hidden != "" {
		return hidden
	}
	return name
}

func (s *source) examineOptions() *imap.SelectOptions {
	return &imap.SelectOptions{ReadOnly: true, CondStore: s.caps.Has(imap.CapCondStore)}
}

// leave notes that no folder is open.
func (s *source) leave() { s.folder, s.validity, s.unopened = "", 0, false }

// opened remembers the current folder.
func (s *source) opened(name string, data *imap.SelectData) migrate.FolderState {
	if name != s.folder || data.UIDValidity != s.validity {
		clear(s.known) // UIDs mean other messages there
		s.whole = 0
	}
	s.folder, s.validity, s.unopened, s.count = name, data.UIDValidity, false, data.NumMessages
	return migrate.FolderState{
		UIDValidity:   data.UIDValidity,
		UIDNext:       migrate.UID(data.UIDNext),
		Messages:      int(data.NumMessages),
		HighestModSeq: data.HighestModSeq,
	}
}

// uidAfter returns the UID above the last message's, for a server that does not tell UIDNEXT.
func (s *source) uidAfter(last uint32) (migrate.UID, error) {
	cmd := s.client.Fetch(imap.SeqSetNum(last), &imap.FetchOptions{UID: true})
	var next migrate.UID
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		info, _ := describe(msg)
		next = max(next, info.UID+1)
	}
	return next, cmd.Close()
}

// UIDs implements migrate.Source.
func (s *source) UIDs(ctx context.Context, first, last migrate.UID) (migrate.UIDSet, error) {
	if err := s.arrive(ctx); err != nil {
		return migrate.UIDSet{}, err
	}
	defer s.begin(ctx)()
	var found migrate.UIDSet
	first = max(first, 1)
	if last < first {
		return found, nil
	}
	cmd := s.client.Fetch(imap.UIDSet{{Start: imap.UID(first), Stop: imap.UID(last)}}, &imap.FetchOptions{UID: true})
	found, err := uidsOf(cmd, first, last)
	return found, s.fail(ctx, "list messages", s.folder, ofFolder(s.folder, err))
}

// uidsOf takes the UIDs in first..last from an answer. A server may take the range's end for "*",
// which is never an empty range (RFC 9051 section 9, seq-range).
func uidsOf(cmd *imapclient.FetchCommand, first, last migrate.UID) (found migrate.UIDSet, err error) {
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		if info, _ := describe(msg); first <= info.UID && info.UID <= last {
			found.Add(info.UID)
		}
	}
	return found, cmd.Close()
}
