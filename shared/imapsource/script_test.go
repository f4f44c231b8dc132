package imapsource

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailferry/shared/migrate"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(suite{m}) }

// suite ends the servers that all tests share before goroutines are counted.
type suite struct{ *testing.M }

func (s suite) Run() int {
	defer stopRealm()
	return s.M.Run()
}

// peer is a scripted server's side of a connection.
type peer struct {
	net.Conn
	lines *bufio.Reader
}

func (p *peer) send(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// read returns the next command.
func (p *peer) read() (tag, command string, err error) {
	line, err := p.lines.ReadString('\n')
	tag, command, _ = strings.Cut(strings.TrimRight(line, "\r\n"), " ")
	return tag, command, err
}

// hook answers a command. False leaves it to the defaults.
type hook func(p *peer, tag, command string) bool

// scripted runs a server that hook is asked about first. What it does not answer is answered like an
// empty mailbox's server would.
func scripted(t *testing.T, greeting string, h hook) migrate.Endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			conns.Go(func() { converse(c, greeting, h) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		conns.Wait()
	})
	return migrate.Endpoint{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Security: migrate.SecurityNone, Auth: "auto"}
}

// converse is a scripted server's whole conversation.
func converse(c net.Conn, greeting string, h hook) {
	defer c.Close()
	p := &peer{c, bufio.NewReader(c)}
	p.send("%s\r\n", greeting)
	for {
		tag, command, err := p.read()
		if err != nil {
			return
		}
		if !h(p, tag, command) {
			p.answer(tag, command)
		}
	}
}

// inMemory is scripted for a testing/synctest bubble, in which waiting takes no time: there is no network between
// the dialer that it returns and the server. An answer waits until it is read.
func inMemory(t *testing.T, greeting string, h hook) Dialer {
	var conns sync.WaitGroup
	t.Cleanup(conns.Wait)
	return Dialer{Password: password, Stall: time.Minute, reach: func() net.Conn {
		client, server := net.Pipe()
		conns.Go(func() { converse(server, greeting, h) })
		return client
	}}
}

// clearly is an endpoint that is spoken to in clear text.
var clearly = migrate.Endpoint{Security: migrate.SecurityNone, Auth: "auto"}

const hello = "* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hello"

func (p *peer) answer(tag, command string) {
	switch {
	case strings.HasPrefix(command, "AUTHENTICATE"):
		p.send("%s OK [CAPABILITY IMAP4rev1] in\r\n", tag)
	case command == "CAPABILITY":
		p.send("* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n%s OK done\r\n", tag)
	case strings.HasPrefix(command, "EXAMINE"):
		p.send("* 3 EXISTS\r\n* OK [UIDVALIDITY 9] -\r\n* OK [UIDNEXT 10] -\r\n%s OK [READ-ONLY] done\r\n", tag)
	case strings.HasPrefix(command, "LIST"):
		p.send("* LIST () \"/\" INBOX\r\n%s OK done\r\n", tag)
	default:
		p.send("%s OK done\r\n", tag)
	}
}

var password = func(context.Context, migrate.Mailbox) (string, error) { return "pw", nil }

// dial signs in, with a stall that no test waits for.
func dial(t *testing.T, e migrate.Endpoint) migrate.Source {
	t.Helper()
	return dialBy(t, Dialer{Password: password, Stall: 5 * time.Minute}, e)
}

func dialBy(t *testing.T, d Dialer, e migrate.Endpoint) migrate.Source {
	t.Helper()
	s, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: "u"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// opened is dial with a folder open.
func opened(t *testing.T, h hook) migrate.Source {
	t.Helper()
	s := dial(t, scripted(t, hello, h))
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	return s
}

// wantKind checks that err is a *migrate.Error of the kind.
func wantKind(t *testing.T, err error, kind migrate.Kind) {
	t.Helper()
	if err == nil || migrate.KindOf(err) != kind {
		t.Errorf("the error is %v, want one of kind %s", err, kind)
	}
}
