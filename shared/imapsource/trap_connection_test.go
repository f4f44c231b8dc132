package imapsource

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
)

// A connection that ends within a literal must never look like the end of a message (T1, T2). Where
// it ends at the same octet over and over, it is the message and not the network.
func TestCutWithinALiteralIsNoEndOfMessage(t *testing.T) {
	for range 20 {
		s := opened(t, func(p *peer, tag, command string) bool {
			if isBodyFetch(command) {
				p.send("* 1 FETCH (UID 7 %s BODY[] {100000}\r\n%s", meta, strings.Repeat("x", 30000))
				p.Close()
			}
			return isBodyFetch(command)
		})
		var read error
		err := s.Fetch(t.Context(), migrate.UIDsOf(7), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
			_, read = io.Copy(io.Discard, body)
			return nil
		})
		wantKind(t, read, migrate.Unreadable)
		if err != nil || !errors.Is(read, io.ErrUnexpectedEOF) || !strings.Contains(read.Error(), "octet 30000 of 100000") {
			t.Fatalf("reading gave %v, then %v", read, err)
		}
	}
}

// A silent server is given up on after the stall, and the reason is kept (T3, T6).
func TestSilentServerIsGivenUpOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t, hello, func(_ *peer, _, command string) bool { return strings.HasPrefix(command, "EXAMINE") })
		s := dialBy(t, d, clearly)
		_, err := s.Open(t.Context(), "INBOX")
		wantKind(t, err, migrate.Unreachable)
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the error %v does not tell that time ran out", err)
		}
	})
}

// A literal may take longer than any deadline while it makes progress (T4).
func TestSlowLiteralIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const octets = 40
		d := inMemory(t, hello, func(p *peer, tag, command string) bool {
			if isBodyFetch(command) {
				p.send("* 1 FETCH (UID 7 %s BODY[] {%d}\r\n", meta, octets)
				for range octets {
					time.Sleep(50 * time.Second)
					p.send("x")
				}
				p.send(")\r\n%s OK done\r\n", tag)
			}
			return isBodyFetch(command)
		})
		s := dialBy(t, d, clearly)
		if _, err := s.Open(t.Context(), "INBOX"); err != nil {
			t.Fatal(err)
		}
		got, err := collect(t, s, migrate.UIDsOf(7))
		if err != nil || len(got[7]) != octets {
			t.Errorf("got %d octets: %v", len(got[7]), err)
		}
	})
}

// Cancelling and closing end a call although a literal is unread (T5).
func TestCancelAndCloseEndAnUnreadLiteral(t *testing.T) {
	endless := func(p *peer, tag, command string) bool {
		if isBodyFetch(command) {
			p.send("* 1 FETCH (UID 7 %s BODY[] {1000000}\r\nx", meta)
		}
		return isBodyFetch(command)
	}
	t.Run("cancel", func(t *testing.T) {
		s := opened(t, endless)
		reason := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		err := s.Fetch(ctx, migrate.UIDsOf(7), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
			cancel(reason)
			_, err := io.Copy(io.Discard, body)
			return err
		})
		if !errors.Is(err, reason) {
			t.Errorf("the error is %v", err)
		}
	})
	t.Run("close", func(t *testing.T) {
		s := opened(t, endless)
		err := s.Fetch(t.Context(), migrate.UIDsOf(7), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
			return s.Close()
		})
		wantKind(t, err, migrate.Unreachable)
	})
	t.Run("error of yield", func(t *testing.T) {
		s := opened(t, endless)
		want := errors.New("no")
		err := s.Fetch(t.Context(), migrate.UIDsOf(7), func(migrate.MessageInfo, int64, io.Reader) error { return want })
		if err != want {
			t.Errorf("the error is %v", err)
		}
		_, err = s.Open(t.Context(), "INBOX")
		wantKind(t, err, migrate.Unreachable)
	})
}

// The server's last word decides what a broken connection means (T6).
func TestByeIsClassified(t *testing.T) {
	for text, kind := range map[string]migrate.Kind{
		"[UNAVAILABLE] Too many connections":            migrate.Throttled,
		"[LIMIT] bandwidth":                             migrate.Throttled,
		"Server shutting down":                          migrate.Unreachable,
		"Account exceeded command or bandwidth limits.": migrate.Throttled,
	} {
		s := dial(t, scripted(t, hello, func(p *peer, _, command string) bool {
			if strings.HasPrefix(command, "EXAMINE") {
				p.send("* BYE %s\r\n", text)
				p.Close()
				return true
			}
			return false
		}))
		_, err := s.Open(t.Context(), "INBOX")
		wantKind(t, err, kind)
		if err != nil && !strings.Contains(err.Error(), strings.TrimSuffix(text, ".")) {
			t.Errorf("the error %v does not hold %q", err, text)
		}
	}
}
