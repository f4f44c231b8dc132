package imapsource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// source implements migrate.Source. Its methods but Close are called by one goroutine at a time.
type source struct {
	wire   *wire
	client *imapclient.Client
	caps   imap.CapSet // after signing in
	root   string      // Mailbox.UserRoot
	logger *slog.Logger

	listed bool              // Folders was called
	hidden map[string]string // by name: the placeholder to send in its place
	folder string            // the current one

	expunged atomic.Int64 // EXPUNGE responses seen: sequence numbers moved
	closed   atomic.Bool
}

var _ migrate.Source = (*source)(nil)

// begin lets the context end the connection until the returned function is called.
func (s *source) begin(ctx context.Context) (end func()) {
	stop := context.AfterFunc(ctx, func() { s.wire.abort(context.Cause(ctx)) })
	return func() { stop() }
}

// Close implements migrate.Source.
func (s *source) Close() error {
	s.closed.Store(true)
	s.wire.abort(net.ErrClosed)
	return nil
}

// Open implements migrate.Source.
func (s *source) Open(ctx context.Context, name string) (migrate.FolderState, error) {
	defer s.begin(ctx)()
	const op = "open folder"
	data, err := s.examine(name)
	if refusedNo(err) && !s.listed {
		// A name that only the list of folders tells how to spell.
		if _, err := s.Folders(ctx); err != nil {
			return migrate.FolderState{}, err
		}
		if s.hidden[name] != "" {
			data, err = s.examine(name)
		}
	}
	var answer *imap.Error
	if refusedNo(err) && errors.As(err, &answer) && !throttled(answer) {
		err = &migrate.Error{Kind: migrate.NoFolder, Err: fmt.Errorf("the server answers %w", err)}
	}
	if err != nil {
		return migrate.FolderState{}, s.fail(ctx, op, name, err)
	}
	if data.UIDValidity == 0 {
		err := errors.New("the server gives the folder no UIDVALIDITY")
		return migrate.FolderState{}, &migrate.Error{Op: op, Folder: name, Kind: migrate.NoFolder, Err: err}
	}
	s.folder = name
	state := migrate.FolderState{
		UIDValidity:   data.UIDValidity,
		UIDNext:       migrate.UID(data.UIDNext),
		Messages:      int(data.NumMessages),
		HighestModSeq: data.HighestModSeq,
	}
	if state.UIDNext == 0 && state.Messages > 0 {
		state.UIDNext, err = s.uidAfter(data.NumMessages)
	}
	return state, s.fail(ctx, op, name, err)
}

func refusedNo(err error) bool {
	var answer *imap.Error
	return errors.As(err, &answer) && answer.Type == imap.StatusResponseTypeNo
}

func (s *source) examine(name string) (*imap.SelectData, error) {
	if hidden := s.hidden[name]; hidden != "" {
		name = hidden
	}
	options := &imap.SelectOptions{ReadOnly: true, CondStore: s.caps.Has(imap.CapCondStore)}
	return s.client.Select(name, options).Wait()
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
	defer s.begin(ctx)()
	var found migrate.UIDSet
	first = max(first, 1)
	if last < first {
		return found, nil
	}
	cmd := s.client.Fetch(imap.UIDSet{{Start: imap.UID(first), Stop: imap.UID(last)}}, &imap.FetchOptions{UID: true})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		// A server may take the range's end for "*", which is never an empty range (RFC 9051
		// section 9, seq-range).
		if info, _ := describe(msg); first <= info.UID && info.UID <= last {
			found.Add(info.UID)
		}
	}
	return found, s.fail(ctx, "list messages", s.folder, cmd.Close())
}

// maxSet keeps a command line below the 8192 octets that servers must accept (RFC 7162 section 4).
const maxSet = 7500

// batches splits uids into sets that fit on a command line.
func batches(uids migrate.UIDSet) []imap.UIDSet {
	var out []imap.UIDSet
	length := math.MaxInt
	for _, r := range uids.Ranges() {
		const longest = len("4294967295:4294967295,")
		if length+longest > maxSet || len(out) == 0 {
			out = append(out, nil)
			length = 0
		}
		length += longest
		last := &out[len(out)-1]
		*last = append(*last, imap.UIDRange{Start: imap.UID(r.First), Stop: imap.UID(r.Last)})
	}
	return out
}
