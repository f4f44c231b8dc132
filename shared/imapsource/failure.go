package imapsource

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// fail makes the error of a call: the context's, or a *migrate.Error. The library loses the reasons
// of connection errors (it formats them with %v), so they are taken from the wire.
func (s *source) fail(ctx context.Context, op, folder string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ours *migrate.Error
	if errors.As(err, &ours) {
		out := *ours
		if out.Op == "" {
			out.Op, out.Folder = op, folder
		}
		return &out
	}
	e := &migrate.Error{Op: op, Folder: folder, Err: err, Kind: migrate.Unexpected}
	var answer *imap.Error
	cause, status := s.wire.failure(), s.wire.lastStatus()
	switch {
	case errors.As(err, &answer):
		e.Kind = migrate.Unexpected
		if answer.Type == imap.StatusResponseTypeBye || answer.Code == imap.ResponseCodeServerBug {
			e.Kind = migrate.Unreachable
		}
		if p, ok := pushedBack(answer); ok {
			p.mark(e)
		}
	case errors.Is(cause, errTooLong), errors.Is(cause, errTooMany), errors.Is(cause, errTorn):
		e.Err = cause
	case errors.Is(cause, net.ErrClosed) && !s.closed.Load() && !strings.HasPrefix(status, "BYE"):
		// The library gave up on a response.
	case cause != nil:
		e.Kind, e.Err = migrate.Unreachable, broken(cause)
		if status != "" {
			e.Err = fmt.Errorf("%w; the server's last word was: %s", e.Err, status)
			if word, words := cutWord(status); word == "BYE" {
				if p, ok := pushbackOf(words); ok {
					p.mark(e)
				}
			}
		}
	}
	return e
}

// stalled reports whether a server stood still.
func stalled(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// broken says why a connection ended.
func broken(cause error) error {
	if stalled(cause) {
		return fmt.Errorf("the server made no progress: %w", cause)
	}
	return fmt.Errorf("the connection broke: %w", cause)
}

// dialError makes the error of a connection that was not made.
func dialError(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var ours *migrate.Error
	if errors.As(err, &ours) {
		out := *ours
		out.Op = op
		return &out
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		e := notTrusted(certificate)
		e.Op = op
		return e
	}
	e := &migrate.Error{Op: op, Err: err}
	e.Kind, e.Reason = connectionReason(err)
	return e
}
