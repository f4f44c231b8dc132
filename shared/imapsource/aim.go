package imapsource

import (
	"context"
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// Aim implements migrate.Source.
func (s *source) Aim(name string, validity uint32, known []migrate.MessageInfo) {
	if name != s.folder || validity != s.validity {
		s.folder, s.validity, s.unopened = name, validity, true
		s.whole = 0
	}
	clear(s.known)
	for _, info := range known {
		s.know(info)
	}
}

// arrive opens the folder that is aimed at.
func (s *source) arrive(ctx context.Context) error {
	if !s.unopened {
		return nil
	}
	name, validity := s.folder, s.validity
	if _, err := s.Open(ctx, name); err != nil {
		return err
	}
	if s.validity != validity {
		return s.renumbered(name, validity, s.validity)
	}
	return nil
}

func (s *source) renumbered(name string, from, to uint32) error {
	s.leave()
	return &migrate.Error{Op: "open folder", Folder: name, Kind: migrate.Unreachable,
		Err: fmt.Errorf("its UIDVALIDITY has just changed from %d to %d", from, to)}
}

// approach sends EXAMINE, ahead of a command for the folder that is aimed at, and does not wait for the
// answer. Servers must work on them in this order, since the second depends on the first (RFC 9051
// section 5.5). It returns nil where the folder is open.
func (s *source) approach(ctx context.Context) (*imapclient.SelectCommand, error) {
	if s.selected() {
		return nil, s.arrive(ctx) // the answers to two EXAMINEs of one folder look the same
	}
	if !s.unopened {
		return nil, nil
	}
	return s.client.Select(s.spelled(s.folder), s.examineOptions()), nil
}

// selected reports whether the library holds the folder for the open one.
func (s *source) selected() bool {
	open := s.client.Mailbox()
	return open != nil && open.Name == s.spelled(s.folder)
}

// confirm makes sure that the folder that was approached is open, and that it is the one that is meant.
func (s *source) confirm(ctx context.Context, examine *imapclient.SelectCommand) error {
	if !s.unopened {
		return nil
	}
	data, err := examine.Wait()
	switch {
	case err != nil:
		return s.fail(ctx, "open folder", s.folder, err)
	case data.UIDValidity != s.validity:
		return s.renumbered(s.folder, s.validity, data.UIDValidity)
	}
	s.unopened, s.count = false, data.NumMessages
	s.noUIDNext = s.noUIDNext || data.UIDNext == 0 && data.NumMessages > 0
	return nil
}

var errTooEarly = errors.New("the server sends messages of a folder that it has not opened")

// admit is confirm ahead of a message's octets. The library reads nothing while these are not taken, so
// an answer to EXAMINE that did not come before them never comes.
func (s *source) admit(ctx context.Context, examine *imapclient.SelectCommand) error {
	if s.unopened && !s.selected() {
		return &migrate.Error{Op: "open folder", Folder: s.folder, Kind: migrate.Unreachable, Err: errTooEarly}
	}
	return s.confirm(ctx, examine)
}
