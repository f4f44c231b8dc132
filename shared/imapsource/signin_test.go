package imapsource

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
)

func tryDial(t *testing.T, e migrate.Endpoint) error {
	t.Helper()
	s, err := Dialer{Password: password, Stall: time.Minute}.Dial(t.Context(), e, migrate.Mailbox{Login: "u"})
	if err == nil {
		s.Close()
	}
	return err
}

func TestMechanisms(t *testing.T) {
	plain := base64.StdEncoding.EncodeToString([]byte("\x00u\x00pw"))
	for _, c := range []struct {
		name, caps, auth, want string
		kind                   migrate.Kind
	}{
		{"plain with initial response", "AUTH=PLAIN SASL-IR", "auto", "AUTHENTICATE PLAIN " + plain, ""},
		{"plain without", "AUTH=PLAIN", "auto", "AUTHENTICATE PLAIN\n" + plain, ""},
		{"login when plain is not offered", "AUTH=XOAUTH2", "auto", `LOGIN "u" "pw"`, ""},
		{"login when wanted", "AUTH=PLAIN SASL-IR", "login", `LOGIN "u" "pw"`, ""},
		{"nothing offered", "LOGINDISABLED", "auto", "", migrate.Configuration},
		{"plain not offered", "IDLE", "plain", "", migrate.Configuration},
		{"login disabled", "AUTH=PLAIN LOGINDISABLED", "login", "", migrate.Configuration},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := make(chan string, 1)
			e := scripted(t, "* OK [CAPABILITY IMAP4rev1 "+c.caps+"] hi", func(p *peer, tag, command string) bool {
				if !strings.HasPrefix(command, "AUTHENTICATE") && !strings.HasPrefix(command, "LOGIN") {
					return false
				}
				if command == "AUTHENTICATE PLAIN" {
					p.send("+ \r\n")
					answer, _, _ := p.read()
					command += "\n" + answer
				}
				sent <- command
				p.send("%s OK in\r\n", tag)
				return true
			})
			e.Auth = c.auth
			err := tryDial(t, e)
			if c.kind != "" {
				wantKind(t, err, c.kind)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := <-sent; got != c.want {
				t.Errorf("sent %q, want %q", got, c.want)
			}
		})
	}
}

// Perdition offers AUTH=PLAIN for the server behind it and takes LOGIN only: the answer is of
// thunderbird/thunderbird-android issue 9406. A password that was looked at is not tried again.
func TestMechanismThatIsOfferedInVain(t *testing.T) {
	const inVain = "NO AUTHENTICATE mechanism not supported, mate"
	for _, c := range []struct {
		name, caps, auth, answer, want string
		reason                         migrate.Reason
	}{
		{"perdition", "AUTH=PLAIN AUTH=LOGIN SASL-IR", "auto", inVain, "AUTHENTICATE PLAIN LOGIN", ""},
		{"without LOGIN", "AUTH=PLAIN LOGINDISABLED SASL-IR", "auto", inVain, "AUTHENTICATE PLAIN", migrate.NoMechanism},
		{"LOGIN by SASL", "AUTH=PLAIN AUTH=LOGIN LOGINDISABLED", "auto", inVain, "AUTHENTICATE PLAIN AUTHENTICATE LOGIN", migrate.NoMechanism},
		{"when one is wanted", "AUTH=PLAIN SASL-IR", "plain", inVain, "AUTHENTICATE PLAIN", migrate.NoMechanism},
		{"a challenge in clear text", "AUTH=PLAIN AUTH=CRAM-MD5", "auto", inVain, "AUTHENTICATE CRAM-MD5", migrate.NoMechanism},
		{"a refused password", "AUTH=PLAIN AUTH=LOGIN SASL-IR", "auto", "NO AUTHENTICATE failed", "AUTHENTICATE PLAIN", migrate.WrongPassword},
	} {
		var sent []string
		e := scripted(t, "* OK [CAPABILITY IMAP4rev1 "+c.caps+"] perdition ready", func(p *peer, tag, command string) bool {
			words := strings.Fields(command)
			switch words[0] {
			case "AUTHENTICATE":
				sent = append(sent, words[:2]...)
				p.send("%s %s\r\n", tag, c.answer)
			case "LOGIN":
				sent = append(sent, "LOGIN")
				p.send("%s OK in\r\n", tag)
			default:
				return false
			}
			return true
		})
		e.Auth = c.auth
		if err := tryDial(t, e); migrate.ReasonOf(err) != c.reason || (err == nil) != (c.reason == "") {
			t.Errorf("%s: %v, want %q", c.name, err, c.reason)
		}
		if got := strings.Join(sent, " "); got != c.want {
			t.Errorf("%s: sent %s, want %s", c.name, got, c.want)
		}
	}
}

func TestGreetingsThatTurnAway(t *testing.T) {
	ignore := func(*peer, string, string) bool { return false }
	wantKind(t, tryDial(t, scripted(t, "* BYE Too many connections", ignore)), migrate.Throttled)
	wantKind(t, tryDial(t, scripted(t, "* BYE going down", ignore)), migrate.Unreachable)
	wantKind(t, tryDial(t, scripted(t, "* PREAUTH [CAPABILITY IMAP4rev1] in", ignore)), migrate.Configuration)
}

func TestNobodyListens(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	e := migrate.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: migrate.SecurityTLS}
	wantKind(t, tryDial(t, e), migrate.Unreachable)
}

func TestDialEndsWithItsContext(t *testing.T) {
	for _, security := range []migrate.Security{migrate.SecurityNone, migrate.SecurityTLS, migrate.SecuritySTARTTLS} {
		accepted := make(chan net.Conn, 1)
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err == nil {
				accepted <- c
			}
		}()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			e := migrate.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: security}
			_, err := Dialer{Password: password}.Dial(ctx, e, migrate.Mailbox{Login: "u"})
			done <- err
		}()
		c := <-accepted
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: the error is %v", security, err)
		}
		c.Close()
		l.Close()
	}
}

// STARTTLS is never skipped, and nothing sent in clear text counts.
func TestSTARTTLSIsNeverDowngraded(t *testing.T) {
	for _, c := range []struct {
		name, greeting, caps, answer string
		kind                         migrate.Kind
	}{
		{"not offered", "* OK hi", "IMAP4rev1 AUTH=PLAIN", "", migrate.Configuration},
		{"refused", "* OK hi", "STARTTLS", "a2 NO not now\r\n", migrate.Configuration},
		{"signed in", "* PREAUTH hi", "STARTTLS", "", migrate.Configuration},
		{"too busy", "* BYE Too many connections", "STARTTLS", "", migrate.Throttled},
		{"more than the answer", "* OK hi", "STARTTLS", "a2 OK go\r\n* OK injected\r\n", migrate.Configuration},
		{"no TLS behind it", "* OK hi", "STARTTLS", "a2 OK go\r\n", migrate.Configuration},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := scripted(t, c.greeting, func(p *peer, tag, command string) bool {
				switch command {
				case "CAPABILITY":
					p.send("* CAPABILITY %s\r\n%s OK done\r\n", c.caps, tag)
				case "STARTTLS":
					p.send("%s", c.answer)
					if c.name == "no TLS behind it" {
						_, _ = bufio.NewReader(p).Peek(1)
						p.send("* OK still in clear text\r\n")
					}
				default:
					if strings.Contains(command, "LOGIN") || strings.Contains(command, "AUTHENTICATE") {
						t.Errorf("the client signs in in clear text: %q", command)
					}
				}
				return true
			})
			e.Security = migrate.SecuritySTARTTLS
			wantKind(t, tryDial(t, e), c.kind)
		})
	}
}

// What is wrong with port and security is said in terms of them.
func TestSTARTTLSOnTheWrongPort(t *testing.T) {
	e := scripted(t, "* OK hi", func(*peer, string, string) bool { return false })
	e.Security = migrate.SecuritySTARTTLS
	wantAdvice(t, tryDial(t, e), migrate.Configuration, "security to tls")
	synctest.Test(t, func(t *testing.T) {
		var conns sync.WaitGroup
		t.Cleanup(conns.Wait)
		d := Dialer{Password: password, Stall: time.Minute, reach: func() net.Conn {
			client, server := net.Pipe()
			conns.Go(func() { // as on port 993: it waits for us to begin
				_, _ = io.Copy(io.Discard, server)
				server.Close()
			})
			return client
		}}
		_, err := d.Dial(t.Context(), migrate.Endpoint{Security: migrate.SecuritySTARTTLS, Auth: "auto"}, migrate.Mailbox{Login: "u"})
		wantAdvice(t, err, migrate.Unreachable, "security to tls")
	})
}

func wantAdvice(t *testing.T, err error, kind migrate.Kind, advice string) {
	t.Helper()
	var e *migrate.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Advice, advice) {
		t.Errorf("the error is %v, want one of kind %s with advice on %s: %+v", err, kind, advice, e)
	}
}

// A server that says an octet now and then does not hold a connection for ever.
func TestSignInIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := inMemory(t, hello, func(p *peer, tag, command string) bool {
			for {
				if _, err := p.Write([]byte("*")); err != nil {
					return true
				}
				time.Sleep(50 * time.Second)
			}
		})
		began := time.Now()
		_, err := d.Dial(t.Context(), clearly, migrate.Mailbox{Login: "u"})
		if migrate.ReasonOf(err) != migrate.ConnectTimeout || migrate.KindOf(err) != migrate.Unreachable {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != signInStalls*d.Stall {
			t.Errorf("it took %s", took)
		}
	})
}
