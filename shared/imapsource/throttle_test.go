package imapsource

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// pushbackWords are what servers say; the evidence stands in pushbacks.
var pushbackWords = []struct {
	words  string // without status, such as NO
	reason migrate.Reason
	after  time.Duration
}{
	{"[OVERQUOTA] Account exceeded command or bandwidth limits.", migrate.AllowanceUsed, allowanceRest},
	{"[ALERT] Account exceeded command or bandwidth limits. (Failure)", migrate.AllowanceUsed, allowanceRest},
	{"Request is throttled. Suggested Backoff Time: 299910 milliseconds", migrate.TooFast, 299910 * time.Millisecond},
	{"Request is throttled. Suggested Backoff Time: 999999999 milliseconds", migrate.TooFast, 24 * time.Hour},
	{"User is authenticated but not connected.", migrate.NotConnected, 0},
	{"[LIMIT] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=10)", migrate.AccountCrowded, 0},
	{"[UNAVAILABLE] Maximum number of connections from user+IP exceeded (mail_max_userip_connections=16)", migrate.AccountCrowded, 0},
	{"Too many open connections (2 of 2 from localhost [127.0.0.1], 1 of 100 for u)", migrate.ServerCrowded, 0},
	{"Too many open connections (2 of 2 for u)", migrate.AccountCrowded, 0},
	{"[ALERT] Too many simultaneous connections. (Failure)", migrate.AccountCrowded, 0},
	{"mail.example Zimbra IMAP4rev1 server closing connection; service busy", migrate.ServerCrowded, 0},
	{"Connection queue full", migrate.ServerCrowded, 0},
	{"[LIMIT] UID FETCH Rate limit hit.", migrate.TooFast, 0},
	{"Authentication rate limit from one source exceeded", migrate.TooFast, 0},
	{"[LIMIT] enough", migrate.TooFast, 0},
	{"Server Unavailable. 15", migrate.ServerIll, 0},
	{"System Error (Failure)", migrate.ServerIll, 0},
	{"Lookup failed b17mb443604527ign", migrate.ServerIll, 0},
	{"[UNAVAILABLE] UID FETCH Server error while fetching messages", migrate.ServerIll, 0},
	{"[SERVERBUG] UID FETCH Server error - Please try again later", migrate.ServerIll, 0},
	{"[TEMPFAIL] UID FETCH Temporary failure on server [CODE: WBL]", migrate.ServerIll, 0},
	{"[UNAVAILABLE] Service temporarily unavailable", migrate.ServerIll, 0},
	{"Temporary problem, please try again later", migrate.ServerIll, 0},
	{"[ALERT] account undergoing maintenance; please try again later", migrate.ServerIll, 0},
	{"[INUSE] Mailbox in use", migrate.ServerIll, 0},
}

// TestPushbackAtSignIn says it in every way in which a server can turn a connection away: none is taken
// for a wrong password, and all ask for a pause.
func TestPushbackAtSignIn(t *testing.T) {
	hit := make(map[string]bool)
	for _, c := range pushbackWords {
		for _, row := range pushbacks {
			if row.words.MatchString(c.words) {
				hit[row.evidence] = true
				break
			}
		}
		for _, way := range []string{"greeting", "BYE", "NO", "BAD", "BYE and NO"} {
			greeting := hello
			if way == "greeting" {
				greeting = "* BYE " + c.words
			}
			err := tryDial(t, scripted(t, greeting, func(p *peer, tag, command string) bool {
				if !strings.HasPrefix(command, "AUTHENTICATE") {
					return false
				}
				p.pushBack(tag, way, c.words)
				return true
			}))
			want := c.reason
			if way == "greeting" && want == migrate.AccountCrowded {
				want = migrate.ServerCrowded
			}
			var e *migrate.Error
			if !errors.As(err, &e) || e.Kind != migrate.Throttled || e.Reason != want || e.RetryAfter != c.after {
				t.Errorf("%s, %s: %v", way, c.words, err)
			}
		}
	}
	for _, row := range pushbacks {
		if !hit[row.evidence] {
			t.Errorf("nothing tests %s", row.words)
		}
	}
}

// pushBack answers a command with words in one of the ways in which servers do.
func (p *peer) pushBack(tag, way, words string) {
	switch way {
	case "BYE":
		p.send("* BYE %s\r\n", words)
		p.Close()
	case "BYE and NO":
		p.send("* BYE Logging out\r\n%s NO %s\r\n", tag, words)
		p.Close()
	default:
		p.send("%s %s %s\r\n", tag, way, words)
	}
}

// TestPushbackBehindSignIn says it to the commands that follow.
func TestPushbackBehindSignIn(t *testing.T) {
	for _, c := range pushbackWords {
		if c.reason == migrate.ServerIll { // see TestServerThatIsIllForOneFolder and others
			continue
		}
		for _, way := range []string{"NO", "BAD", "BYE", "BYE and NO"} {
			s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
				if !strings.HasPrefix(command, "EXAMINE") {
					return false
				}
				p.pushBack(tag, way, c.words)
				return true
			}))
			_, err := s.Open(t.Context(), "INBOX")
			var e *migrate.Error
			if !errors.As(err, &e) || e.Kind != migrate.Throttled || e.Reason != c.reason || e.RetryAfter != c.after {
				t.Errorf("%s, %s: %v", way, c.words, err)
			}
		}
	}
}

// TestPushbackEndsFetch says it in the middle of the messages: what came stays, and nothing is asked for
// any more.
func TestPushbackEndsFetch(t *testing.T) {
	for _, c := range pushbackWords {
		if c.reason == migrate.ServerIll {
			continue
		}
		for _, bye := range []bool{false, true} {
			shelf := newShelf(9, short)
			said := false
			s := opened(t, func(p *peer, tag, command string) bool {
				if said && strings.Contains(command, "FETCH") {
					t.Errorf("%s: asked again: %s", c.words, command)
				}
				if !isBodyFetch(command) {
					return shelf.hook(p, tag, command)
				}
				said = true
				shelf.answer(p, "", 18, 9)
				if bye {
					p.send("* BYE %s\r\n", c.words)
					p.Close()
				} else {
					p.send("%s NO %s\r\n", tag, c.words)
				}
				return true
			})
			got, refused, err := sorted(t, s, shelf.all())
			var e *migrate.Error
			if !errors.As(err, &e) || e.Kind != migrate.Throttled || e.Reason != c.reason || e.RetryAfter != c.after || e.UID != 0 {
				t.Errorf("%s: %v", c.words, err)
			}
			if len(got) != 1 || len(refused) != 0 {
				t.Errorf("%s: %d came, %d refused", c.words, len(got), len(refused))
			}
		}
	}
}

// What is no pushback although it sounds like one.
func TestNoPushback(t *testing.T) {
	for _, words := range []string{
		"Too many invalid IMAP commands.",                         // Dovecot, imap-login-client.c:193
		"TOO MANY CONSECUTIVE PROTOCOL VIOLATIONS",                // Courier, mainloop.C:142
		"Server shutting down.",                                   // Dovecot, master-service.h:12
		"Courier-IMAP server shut down by signal.",                // Courier, mainloop.C:30
		"Connection is closed. 13",                                // Exchange, mscdex/node-imap issue 561
		"mail.example Zimbra IMAP4rev1 server closing connection", // ServerConfig.java:90-111
		"[OVERQUOTAS] -",
	} {
		if p, ok := pushbackOf(words); ok {
			t.Errorf("%s is taken for %s", words, p.reason)
		}
	}
	if throttled(&imap.Error{Code: imap.ResponseCodeAuthenticationFailed, Text: "temporarily, try again later"}) {
		t.Error("a wrong password is taken for a pushback")
	}
}

// TestOKIsNoPushback: Gmail says [THROTTLED] behind its OK (mscdex/node-imap issue 593), and Dovecot that
// it waits for itself (login-common/client-common.h:35-38, client-common-auth.c:91).
func TestOKIsNoPushback(t *testing.T) {
	s := dial(t, scripted(t, "* OK Waiting for authentication process to respond..", func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "AUTHENTICATE"):
			p.send("* OK Waiting for authentication master process to respond..\r\n%s OK in\r\n", tag)
			return true
		case strings.HasPrefix(command, "EXAMINE"):
			p.send("* 0 EXISTS\r\n* OK [UIDVALIDITY 1] -\r\n%s OK Success [THROTTLED]\r\n", tag)
			return true
		}
		return false
	}))
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Error(err)
	}
}

// TestClosedAtOnce: couriertcpd above MAXPERIP, and hMailServer above its number of connections, take a
// connection and close it without a word. Once may be the network's doing.
func TestClosedAtOnce(t *testing.T) {
	for _, security := range []migrate.Security{migrate.SecurityNone, migrate.SecurityTLS, migrate.SecuritySTARTTLS} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		taken := make(chan int)
		go func() {
			n := 0
			for ; ; n++ {
				c, err := l.Accept()
				if err != nil {
					break
				}
				c.Close()
			}
			taken <- n
		}()
		err = tryDial(t, migrate.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: security, Auth: "auto"})
		l.Close()
		if n := <-taken; n != 2 {
			t.Errorf("%s: tried %d times", security, n)
		}
		if migrate.KindOf(err) != migrate.Throttled || migrate.ReasonOf(err) != migrate.ServerClosesAtOnce {
			t.Errorf("%s: %v", security, err)
		}
	}
}

// TestByeWithoutAnEnd does not wait long for what may follow a BYE.
func TestByeWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		d := inMemory(t, hello, func(p *peer, tag, command string) bool {
			if strings.HasPrefix(command, "AUTHENTICATE") {
				p.send("* BYE Logging out\r\n")
				_, _ = io.Copy(io.Discard, p)
				return true
			}
			return false
		})
		_, err := d.Dial(t.Context(), clearly, migrate.Mailbox{Login: "u"})
		wantKind(t, err, migrate.Unreachable)
		if took := time.Since(began); took != byeStall {
			t.Errorf("it took %s", took)
		}
	})
}

// illWords are what Yahoo says for one message (jstedfast/MailKit issue 358) and Gmail
// (OfflineIMAP/offlineimap issue 682), and iCloud when it has enough (s1t5/mail-archiver issue 414).
var illWords = []string{"[UNAVAILABLE] UID FETCH Server error while fetching messages", "System Error (Failure)", "Service temporarily unavailable"}

// TestServerThatIsIllForOneMessage: the others come, it is named, and it is not given up at once. So it is
// when none but it is asked for.
func TestServerThatIsIllForOneMessage(t *testing.T) {
	for _, words := range illWords {
		shelf := newShelf(50, short)
		s := opened(t, func(p *peer, tag, command string) bool {
			byUID := strings.HasPrefix(command, "UID")
			if !isBodyFetch(command) || byUID && !wants(command, 23) || !byUID && !strings.HasPrefix(command, "FETCH 14 ") {
				return shelf.hook(p, tag, command)
			}
			for i, uid := range shelf.uids {
				if byUID && uid < 23 && wants(command, uid) {
					shelf.answer(p, command, uid, i+1)
				}
			}
			p.send("%s NO %s\r\n", tag, words)
			return true
		})
		for _, asked := range []migrate.UIDSet{migrate.UIDsOf(23), shelf.all()} {
			got, refused, err := sorted(t, s, asked)
			var e *migrate.Error
			if !errors.As(err, &e) || e.Kind != migrate.Unreachable || e.UID != 23 || len(refused) != 0 {
				t.Errorf("%s: refused %v, %v", words, refused, err)
			}
			if len(got) != asked.Len()-1 {
				t.Errorf("%s: %d came of %d", words, len(got), asked.Len())
			}
		}
	}
}

// TestServerThatIsIll gives none: a pause is asked for, no message is named, and it is not asked for ever.
func TestServerThatIsIll(t *testing.T) {
	for _, words := range illWords {
		shelf, asked := newShelf(200, short), 0
		s := opened(t, func(p *peer, tag, command string) bool {
			if !isBodyFetch(command) {
				return shelf.hook(p, tag, command)
			}
			asked++
			p.send("%s NO %s\r\n", tag, words)
			return true
		})
		got, refused, err := sorted(t, s, shelf.all())
		var e *migrate.Error
		if !errors.As(err, &e) || e.Kind != migrate.Throttled || e.Reason != migrate.ServerIll || e.UID != 0 || len(got)+len(refused) != 0 {
			t.Errorf("%s: %v", words, err)
		}
		if asked > 2*maxIlls {
			t.Errorf("%s: asked %d times", words, asked)
		}
	}
}

// TestServerThatIsIllForOneFolder: it is left to a later sync, unless it is INBOX.
func TestServerThatIsIllForOneFolder(t *testing.T) {
	for _, words := range []string{"Server Unavailable. 15", "System Error (Failure)", "[SERVERBUG] SELECT Server error - Please try again later"} {
		s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
			if strings.HasPrefix(command, "EXAMINE") {
				p.send("%s NO %s\r\n", tag, words)
				return true
			}
			return false
		}))
		_, err := s.Open(t.Context(), "Archive")
		wantKind(t, err, migrate.NoFolder)
		_, err = s.Open(t.Context(), "INBOX")
		wantKind(t, err, migrate.Throttled)
	}
}
