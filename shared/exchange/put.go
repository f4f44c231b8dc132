package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// Put appends one message by IMAP and returns when the server has said OK.
//
// The outcome is unknown only once the last octet of the message may have left: a server keeps
// nothing of a literal that it did not get whole (RFC 9051 section 6.3.12).
func (t *target) Put(ctx context.Context, folder migrate.TargetFolder, m migrate.Outgoing) (migrate.Receipt, error) {
	live, stop := t.living(ctx)
	defer stop()
	for {
		s, used, err := t.pool.get(live)
		if err != nil {
			return migrate.Receipt{}, t.fail(ctx, "connect to target mailbox", t.appendVerdict(nil, m, err))
		}
		data, err := s.append(live, imapName(folder.Path), m)
		if used && stale(live, err) {
			t.pool.put(s, false)
			continue // the connection had ended while it was idle
		}
		if err == nil {
			t.pool.put(s, s.alive())
			return migrate.Receipt{UIDValidity: data.UIDValidity, UID: migrate.UID(data.UID)}, nil
		}
		verdict := t.appendVerdict(s, m, err)
		t.pool.put(s, answered(err) && s.alive())
		if migrate.KindOf(verdict) == migrate.NoFolder {
			t.forgetFolders(live)
		}
		return migrate.Receipt{}, t.failPut(ctx, verdict)
	}
}

// failPut lets an unknown outcome go before the reason why the call ended.
func (t *target) failPut(ctx context.Context, verdict *migrate.Error) error {
	if verdict.Unknown && ctx.Err() != nil {
		verdict.Err = context.Cause(ctx)
		return verdict
	}
	return t.fail(ctx, verdict.Op, verdict)
}

// stale reports whether the connection ended before it carried a message.
func stale(ctx context.Context, err error) bool {
	var lost *lostError
	return errors.As(err, &lost) && !lost.unknown && lost.farewell == "" && ctx.Err() == nil
}

// answered reports whether the server refused, which leaves the connection usable.
func answered(err error) bool {
	var answer *imap.Error
	return errors.As(err, &answer)
}

// bodyError says that the message could not be read here.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "read message to send: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// append sends the command and the message. Its error is an *imap.Error (the server's answer), a
// *lostError, or a *bodyError, after which nothing was stored.
func (s *session) append(ctx context.Context, mailbox string, m migrate.Outgoing) (*imap.AppendData, error) {
	more, err := settled(m)
	if err != nil {
		return nil, &bodyError{err}
	}
	body, err := m.Open()
	if err != nil {
		return nil, &bodyError{err}
	}
	defer body.Close()
	stop := context.AfterFunc(ctx, s.cut)
	defer stop()

	options := &imap.AppendOptions{Flags: append(appendFlags(m.Flags), more...)}
	if !m.Received.IsZero() {
		options.Time = m.Received.UTC()
	}
	cmd := s.client.Append(mailbox, m.Size, options)
	whole, writeErr := s.send(cmd, body, m.Size)
	if writeErr != nil && !answered(writeErr) {
		s.giveUp(writeErr)
	}
	// Closing sends the end of the command; its error is Wait's too.
	cmd.Close()
	data, err := cmd.Wait()
	var broken *bodyError
	switch {
	case errors.As(writeErr, &broken):
		return nil, broken
	case err == nil && writeErr == nil:
		return data, nil
	case answered(err):
		return nil, err
	case err == nil:
		err = writeErr
	}
	lost := s.lost(err).(*lostError)
	lost.unknown, lost.sending = whole, true
	return nil, lost
}

// giveUp ends a connection whose literal was not written whole. If the peer broke it, its last
// answer may still be on the way: the reader has until its own end to deliver it.
func (s *session) giveUp(err error) {
	var broken *bodyError
	if errors.As(err, &broken) {
		s.cut()
	}
	<-s.client.Closed()
}

// send writes the literal and reports whether its last octet may have left. It writes that octet
// only when the body has ended where Size says.
func (s *session) send(cmd *imapclient.AppendCommand, body io.Reader, size int64) (whole bool, err error) {
	if _, err := cmd.Write(nil); err != nil {
		return false, err // the server did not ask for the literal
	}
	buffer := make([]byte, 32<<10)
	for left := size; ; {
		chunk := buffer[:min(int64(len(buffer)), left)]
		if _, err := io.ReadFull(body, chunk); err != nil {
			return false, &bodyError{fmt.Errorf("%d of %d octets missing: %w", left, size, err)}
		}
		if left -= int64(len(chunk)); left == 0 {
			if err := ended(body); err != nil {
				return false, &bodyError{err}
			}
		}
		if _, err := cmd.Write(chunk); err != nil {
			return left == 0, err
		}
		if left == 0 {
			return true, nil
		}
	}
}

// ended checks that a body has no more octets.
func ended(body io.Reader) error {
	n, err := io.ReadFull(body, make([]byte, 1))
	if n > 0 {
		return errors.New("the message is longer than its size")
	}
	if err != io.EOF {
		return err
	}
	return nil
}

// appendFlags keeps the flags that Exchange permits; \Deleted would hide the message.
func appendFlags(flags []migrate.Flag) []imap.Flag {
	var kept []imap.Flag
	for _, f := range []migrate.Flag{migrate.Seen, migrate.Answered, migrate.Flagged, migrate.Draft} {
		if migrate.HasFlag(flags, f) {
			kept = append(kept, imap.Flag(f))
		}
	}
	return kept
}
