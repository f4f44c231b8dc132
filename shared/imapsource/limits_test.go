package imapsource

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"mailferry/infra/local/courier"
	"mailferry/infra/local/cyrus"
	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
)

// TestServersHaveEnough lets real servers refuse a connection too many: it is no wrong password, and what
// there is too much of is known.
func TestServersHaveEnough(t *testing.T) {
	const limit = 9
	for name, c := range map[string]struct {
		start  func(context.Context) (server, error)
		reason migrate.Reason
		others bool // the limit is for all users together
	}{
		"dovecot": {func(ctx context.Context) (server, error) {
			s, err := dovecot.Start(ctx, dovecot.Options{MaxPerUser: limit})
			return dovecotServer{s}, err
		}, migrate.AccountCrowded, false},
		"cyrus":   {func(ctx context.Context) (server, error) { return cyrus.StartLimited(ctx, limit) }, migrate.ServerCrowded, true},
		"courier": {func(ctx context.Context) (server, error) { return courier.StartLimited(ctx, limit) }, migrate.ServerClosesAtOnce, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := startServer(t, c.start)
			if err := server.AddUser(t.Context(), "v", "pw"); err != nil {
				t.Fatal(err)
			}
			for _, security := range []migrate.Security{migrate.SecurityTLS, migrate.SecurityNone} {
				e := endpointOf(server, security)
				err := error(nil)
				for taken := 0; err == nil && taken <= limit; taken++ {
					err = dialAs(t, e, "u")
				}
				if migrate.KindOf(err) != migrate.Throttled || migrate.ReasonOf(err) != c.reason {
					t.Errorf("%s: one too many gets %v", security, err)
				}
				switch err = dialAs(t, e, "v"); {
				case !c.others && err != nil:
					t.Errorf("%s: somebody else gets %v", security, err)
				case c.others && migrate.ReasonOf(err) != c.reason:
					t.Errorf("%s: somebody else gets %v, not %s", security, err, c.reason)
				}
				if !c.others { // both ports count together
					break
				}
			}
		})
	}
}

// startServer starts a server with a user "u".
func startServer(t *testing.T, start func(context.Context) (server, error)) server {
	t.Helper()
	s, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := s.AddUser(t.Context(), "u", "pw"); err != nil {
		t.Fatal(err)
	}
	return s
}

// dialAs signs in and stays until the test ends.
func dialAs(t *testing.T, e migrate.Endpoint, login string) error {
	t.Helper()
	s, err := Dialer{Password: password}.Dial(t.Context(), e, migrate.Mailbox{Login: login})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return err
}

// TestServersEndASession ends the session in the middle of a message that is not read, as a shutdown does,
// and as servers do with who does not read for long: the reading goes on at the same octet. Courier and
// Dovecot write their BYE into the message.
func TestServersEndASession(t *testing.T) {
	eachServer(t, func(t *testing.T, name string, server server) {
		var items []dovecot.Item
		for i, lines := range []int{3, 3, 1_100_000, 3} { // 31 MiB are more than the buffers on the way hold
			text := bytes.Repeat([]byte("thirty octets, and CR and LF\r\n"), lines)
			for at := 0; at < len(text); at += 3000 {
				copy(text[at:], fmt.Sprintf("%09d", at))
			}
			items = append(items, dovecot.Item{Folder: "INBOX", Received: time.Unix(int64(1e9+i), 0),
				Message: append(fmt.Appendf(nil, "Subject: %d\r\n\r\n", i), text...)})
		}
		if err := server.Fill(t.Context(), "u", items); err != nil {
			t.Fatal(err)
		}
		dials := 0
		d := Dialer{Password: func(context.Context, migrate.Mailbox) (string, error) { dials++; return "pw", nil }}
		e := endpointOf(server, migrate.SecurityTLS)
		e.Compress = "off"
		s, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: "u"})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Open(t.Context(), "INBOX"); err != nil {
			t.Fatal(err)
		}
		uids, err := s.UIDs(t.Context(), 1, ^migrate.UID(0))
		if err != nil {
			t.Fatal(err)
		}
		came := make(map[string]bool)
		err = s.Fetch(t.Context(), uids, func(_ migrate.MessageInfo, octets int64, body io.Reader) error {
			text := make([]byte, octets)
			if octets > 1<<20 {
				if _, err := io.ReadFull(body, text[:octets/7]); err != nil {
					return err
				}
				if err := server.EndSessions(t.Context(), "u"); err != nil {
					return err
				}
				if _, err := io.ReadFull(body, text[octets/7:]); err != nil {
					return err
				}
			} else if _, err := io.ReadFull(body, text); err != nil {
				return err
			}
			for _, item := range items {
				if bytes.Equal(item.Message, text) {
					came[string(text[:20])] = true
				}
			}
			return nil
		})
		if err != nil || len(came) != len(items) {
			t.Errorf("%d messages came whole over %d connections: %v", len(came), dials, err)
		}
		n := 0 // Cyrus ends behind the command
		err = s.Describe(t.Context(), uids, func(migrate.MessageInfo) error { n++; return nil })
		if err != nil || n != len(items) || dials != 2 {
			t.Errorf("%d messages described over %d connections: %v", n, dials, err)
		}
	})
}

// TestByeWithinAMessage tells a BYE from octets that look like one: only what stands at the end of a
// connection is no part of the message. Zimbra ends the response before it says BYE.
func TestByeWithinAMessage(t *testing.T) {
	long := "Subject: x\r\n\r\n" + strings.Repeat("octets and more\r\n", 200) + "* BYE is a word, too\r\n" + strings.Repeat("at the end\r\n", 2)
	shelf := newShelf(1, func(migrate.UID) string { return long })
	for _, bye := range []string{"* BYE Courier-IMAP server shut down by signal.\r\n", ")\r\n" + zimbraCloses} {
		for _, cut := range []int{0, 1, 600, 3000, len(long) - 100, len(long) - 30, len(long) - 1, len(long)} {
			var done atomic.Bool
			s := opened(t, func(p *peer, tag, command string) bool {
				if !isBodyFetch(command) || done.Swap(true) {
					return shelf.hook(p, tag, command)
				}
				p.send("* 1 FETCH (UID 10 %s BODY[] {%d}\r\n%s%s", meta, len(long), long[:cut], bye)
				p.Close()
				return true
			})
			got, refused, err := sorted(t, s, shelf.all())
			if err != nil || len(refused) != 0 || len(got) != 1 || got[10] != long {
				t.Errorf("%q at %d of %d: %d came, %d octets, refused %v: %v", bye, cut, len(long), len(got), len(got[10]), refused, err)
			}
		}
	}
}

// TestClientThatDoesNotRead lets a server give up on a message that is not read, as Zimbra does after 10
// seconds: when somebody reads on, it comes whole, and so do the others.
func TestClientThatDoesNotRead(t *testing.T) {
	long := strings.Repeat("0123456789abcde\n", 2<<20)
	shelf := newShelf(3, func(uid migrate.UID) string {
		if uid == 10 {
			return long
		}
		return short(uid)
	})
	gaveUp := make(chan struct{})
	var done atomic.Bool
	s := opened(t, func(p *peer, tag, command string) bool {
		if !isBodyFetch(command) || done.Swap(true) {
			return shelf.hook(p, tag, command)
		}
		p.send("* 1 FETCH (UID 10 %s BODY[] {%d}\r\n%s", meta, len(long), long[:1])
		if err := p.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
			t.Error(err)
		}
		if _, err := io.WriteString(p, long[1:]); err == nil {
			t.Error("what is not read is written whole")
		}
		p.Close()
		close(gaveUp)
		return true
	})
	got := make(map[migrate.UID]string)
	err := s.Fetch(t.Context(), shelf.all(), func(info migrate.MessageInfo, octets int64, body io.Reader) error {
		text := make([]byte, octets)
		if _, err := io.ReadFull(body, text[:1]); err != nil {
			return err
		}
		<-gaveUp
		_, err := io.ReadFull(body, text[1:])
		got[info.UID] = string(text)
		return err
	})
	if err != nil || len(got) != 3 || got[10] != long || shelf.connections() != 2 {
		t.Errorf("%d messages over %d connections: %v", len(got), shelf.connections(), err)
	}
}

// TestIdleSessionIsEnded ends it between two commands.
func TestIdleSessionIsEnded(t *testing.T) {
	shelf := newShelf(5, short)
	peers := make(chan *peer, 20)
	s := opened(t, func(p *peer, tag, command string) bool {
		peers <- p
		return shelf.hook(p, tag, command)
	})
	first := <-peers
	first.send("* BYE Disconnected for inactivity.\r\n")
	first.Close()
	got, refused, err := sorted(t, s, shelf.all())
	if err != nil || len(got) != 5 || len(refused) != 0 || shelf.connections() != 2 {
		t.Errorf("%d came over %d connections, refused %v: %v", len(got), shelf.connections(), refused, err)
	}
}
