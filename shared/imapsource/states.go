package imapsource

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// States implements migrate.Source with STATUS commands that are sent together.
func (s *source) States(ctx context.Context, names []string) (map[string]migrate.FolderState, error) {
	defer s.begin(ctx)()
	states := make(map[string]migrate.FolderState, len(names))
	err := s.askStatus(names, s.stateItems(), func(name string, data *imap.StatusData) {
		if state, ok := stateOf(data); ok {
			states[name] = state
		}
	})
	// Of the selected folder STATUS may say what the session has seen, not what is there (RFC 9051
	// section 6.3.11; Dovecot 2.3.19 does).
	delete(states, s.folder)
	return states, s.fail(ctx, "ask for the state of folders", "", err)
}

// Sizes implements migrate.Source with STATUS for SIZE, where the server offers it (RFC 8438).
func (s *source) Sizes(ctx context.Context, names []string) (map[string]int64, error) {
	sizes := make(map[string]int64, len(names))
	if !s.caps.Has(imap.CapStatusSize) {
		return sizes, nil
	}
	defer s.begin(ctx)()
	err := s.askStatus(names, &imap.StatusOptions{NumMessages: true, Size: true}, func(name string, data *imap.StatusData) {
		if data.Size != nil && data.NumMessages != nil && (*data.Size > 0 || *data.NumMessages == 0) {
			sizes[name] = *data.Size
		}
	})
	return sizes, s.fail(ctx, "ask for the sizes of folders", "", err)
}

// stateItems are what STATUS is asked for in every sync. SIZE (RFC 8438) is not among them: equal UIDNEXT and MESSAGES
// tell as much, and a server that has no sizes at hand reads every message for it.
func (s *source) stateItems() *imap.StatusOptions {
	return &imap.StatusOptions{NumMessages: true, UIDNext: true, UIDValidity: true, HighestModSeq: s.caps.Has(imap.CapCondStore)}
}

// statesAtOnce bounds the STATUS commands on their way, so that neither side waits for the other to
// read.
const statesAtOnce = 50

// askStatus asks for each folder but the current one, and hands over what the server says.
func (s *source) askStatus(names []string, items *imap.StatusOptions, take func(name string, data *imap.StatusData)) error {
	var asked []string
	var commands []*imapclient.StatusCommand
	settle := func() error {
		for i, cmd := range commands {
			data, err := cmd.Wait()
			if err == nil {
				take(asked[i], data)
			} else if !leftOut(err) || s.wire.failure() != nil {
				return err
			}
		}
		asked, commands = nil, nil
		return nil
	}
	for _, name := range names {
		if name == s.folder {
			continue
		}
		asked, commands = append(asked, name), append(commands, s.client.Status(s.spelled(name), items))
		if len(commands) == statesAtOnce {
			if err := settle(); err != nil {
				return err
			}
		}
	}
	return settle()
}

// leftOut reports whether the server merely does not say the state of this folder.
func leftOut(err error) bool {
	var answer *imap.Error
	return errors.As(err, &answer) && answer.Type != imap.StatusResponseTypeBye && !busy(answer)
}

// stateOf takes what STATUS says, if it is enough to be compared.
func stateOf(data *imap.StatusData) (state migrate.FolderState, ok bool) {
	if data == nil || data.UIDValidity == 0 || data.UIDNext == 0 || data.NumMessages == nil {
		return state, false
	}
	return migrate.FolderState{
		UIDValidity: data.UIDValidity, UIDNext: migrate.UID(data.UIDNext),
		Messages: int(*data.NumMessages), HighestModSeq: data.HighestModSeq,
	}, true
}

// cleanState rewrites what follows STATUS: a name and numbers (RFC 9051 section 7.3.4). What is not
// asked for or cannot be read is left out. Not ok is a line that is no such response.
func cleanState(s string, hide func(string) string) (state string, ok bool) {
	open := strings.LastIndexByte(s, '(')
	if open < 0 {
		return "", false
	}
	name, _, quoted := cutQuoted(s)
	if !quoted {
		name = strings.TrimSpace(s[:open])
	}
	if isOdd(name) {
		name = hide(name)
	}
	inside, _, _ := strings.Cut(s[open+1:], ")")
	words := strings.Fields(inside)
	var kept []string
	for i := 0; i+1 < len(words); i += 2 {
		bits := 32
		switch words[i] = strings.ToUpper(words[i]); words[i] {
		case "HIGHESTMODSEQ", "SIZE":
			bits = 63
		case "MESSAGES", "UIDNEXT", "UIDVALIDITY":
		default:
			continue
		}
		if n, err := strconv.ParseUint(words[i+1], 10, bits); err == nil {
			kept = append(kept, words[i]+" "+strconv.FormatUint(n, 10))
		}
	}
	return quote(name) + " (" + strings.Join(kept, " ") + ")", true
}
