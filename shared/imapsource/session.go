package imapsource

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// session is one connection, signed in.
type session struct {
	wire     *wire
	client   *imapclient.Client
	caps     imap.CapSet  // after signing in
	expunged atomic.Int64 // EXPUNGE responses seen: sequence numbers moved
}

// start hands a connection that is signed in over to the library.
func (n *session) start() {
	n.client = imapclient.New(n.wire, &imapclient.Options{UnilateralDataHandler: &imapclient.UnilateralDataHandler{
		Expunge: func(uint32) { n.expunged.Add(1) },
	}})
}

func newSource(w *wire, logger *slog.Logger) *source {
	s := &source{session: &session{wire: w}, logger: logger}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

// begin lets the context end the connection until the returned function is called.
func (s *source) begin(ctx context.Context) (end func()) {
	stop := context.AfterFunc(ctx, func() { s.abort(context.Cause(ctx)) })
	return func() { stop() }
}

// Close implements migrate.Source.
func (s *source) Close() error {
	s.closed.Store(true)
	s.end()
	s.abort(net.ErrClosed)
	return nil
}

// abort ends the current connection.
func (s *source) abort(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wire.abort(reason)
}

var (
	errReplaced    = errors.New("another connection took this one's place")
	errNotReopened = errors.New("the folder could not be opened again") // nothing is read without it
)

// replace replaces a broken connection. No folder is open then.
func (s *source) replace(ctx context.Context) error {
	if s.redial == nil || s.closed.Load() {
		return s.fail(ctx, "connect again", s.folder, cmpErr(s.wire.failure(), net.ErrClosed))
	}
	s.abort(errReplaced)
	dialing, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	next, err := s.redial(dialing)
	if migrate.KindOf(err) == migrate.SignIn { // once is enough: servers count refusals towards a lock
		s.redial = func(context.Context) (*session, error) { return nil, err }
	}
	if err != nil {
		return err
	}
	odd := s.wire.oddList()
	next.wire.hurried.Store(s.wire.hurried.Load() || stalled(s.wire.failure()))
	s.mu.Lock()
	s.session = next
	s.mu.Unlock()
	next.wire.adopt(odd) // placeholders stay what they were
	if ctx.Err() != nil || s.closed.Load() {
		s.abort(net.ErrClosed)
	}
	return nil
}

// reconnect replaces a broken connection and opens the folder again. A folder that is another one
// now, by its UIDVALIDITY, is an error: the UIDs that the caller knows mean nothing there.
func (s *source) reconnect(ctx context.Context) error {
	if err := s.replace(ctx); err != nil {
		return err
	}
	s.unopened = false
	data, err := s.examine(s.folder)
	if err != nil {
		err = s.fail(ctx, "open folder again", s.folder, err)
		s.abort(errNotReopened)
		return err
	}
	if data.UIDValidity != s.validity {
		s.abort(errNotReopened)
		err := fmt.Errorf("its UIDVALIDITY changed from %d to %d while the connection was lost", s.validity, data.UIDValidity)
		return &migrate.Error{Op: "open folder again", Folder: s.folder, Kind: migrate.Unreachable, Err: err}
	}
	s.count = data.NumMessages
	s.logger.DebugContext(ctx, "connected again", "folder", s.folder)
	return nil
}

func cmpErr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
