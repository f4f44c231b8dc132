package imapsource

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"mailferry/infra/local/courier"
	"mailferry/infra/local/cyrus"
	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestServersTakeSoMany has two processes move mailboxes from a server that takes fewer connections than
// the endpoint allows. Cyrus says so behind the password, Courier hangs up without a word. The runs of a
// first wave find out, those of a second know from the start, and all mail arrives once.
func TestServersTakeSoMany(t *testing.T) {
	for name, start := range map[string]func() (server, error){
		"cyrus":   func() (server, error) { return cyrus.StartLimited(t.Context(), 9) }, // itself included
		"courier": func() (server, error) { return courier.StartLimited(t.Context(), 9) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, err := start()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Stop(); err != nil {
					t.Error(err)
				}
			})
			c := &counter{dial: Dialer{Password: password}.Dial}
			if s, ok := s.(*courier.Server); ok {
				c.still = s.Counts
			}
			w := crowdedWorld(s)
			var before tally
			for n := 0; before.refused == 0 && n < 5; n++ { // on a busy machine a wave may never have so many at once
				crowd(t, w, s, c, fmt.Sprint("early", n, "-"))
				w.Settle(t)
				before = c.reset()
			}
			crowd(t, w, s, c, "late")
			w.Settle(t)
			after := c.reset()
			for _, b := range w.Boxes {
				w.CheckExact(t, b)
				if cp := w.Checkpoint(t, b.Mailbox.ID); cp.State != migrate.Synced || cp.Failures != 0 {
					t.Errorf("%s is %s after %d failures: %+v", b.Mailbox.Login, cp.State, cp.Failures, cp.Problem)
				}
			}
			list, err := migrate.Batches(t.Context(), w.Store, migratetest.EndpointName)
			if err != nil || list[0].Cap == nil || list[0].Cap.Connections > 6 || list[0].Cap.Full != 12 {
				t.Errorf("cap %+v, %v", list[0].Cap, err)
			}
			t.Logf("at first %d at once, %d refused; then %d at once, %d refused", before.most, before.refused, after.most, after.refused)
			if before.refused == 0 || after.most > 6 || after.most < 2 || after.refused > 0 {
				t.Error("they did not settle at 6 connections")
			}
		})
	}
}

// crowdedWorld has no mailbox yet; its endpoint is the server.
func crowdedWorld(s server) *migratetest.World {
	w := migratetest.NewWorld()
	w.Processes, w.Slots, w.Connections, w.TickEvery = 2, 4, 3, time.Second
	w.Limits = migrate.Limits{Budget: 4 * time.Second, WindowMessages: 5}
	w.Memory, w.Disk = 10_000, 10_000 // connections wait for room
	w.Endpoint = func(e *migrate.Endpoint) {
		e.Host, e.Port = s.TLSAddr()
		e.CA = string(s.CA())
	}
	return w
}

// crowd adds mailboxes whose source is the server, and beside it the same mail to compare.
func crowd(t *testing.T, w *migratetest.World, s server, c *counter, wave string) {
	t.Helper()
	received := time.Date(2018, 2, 5, 9, 0, 0, 0, time.UTC)
	for i := range 8 {
		login := fmt.Sprint(wave, i)
		b := w.AddMailbox(t, login)
		b.Dial, b.Target.Latency = c.Dial, 15*time.Millisecond
		var items []dovecot.Item
		for j := range 70 {
			text := append(migratetest.Message(fmt.Sprint(login, "-", j), "letter", 1000), "\r\n"...)
			at := received.Add(time.Duration(j) * time.Minute)
			b.Source.Folder("INBOX").Add(text, at)
			items = append(items, dovecot.Item{Folder: "INBOX", Message: text, Received: at})
		}
		if err := s.AddUser(t.Context(), login, "pw"); err != nil {
			t.Fatal(err)
		}
		if err := s.Fill(t.Context(), login, items); err != nil {
			t.Fatal(err)
		}
	}
}

// counter counts the connections of all, each until the server has ended it: on a busy machine it takes its
// time, and what it has not ended counts to its limit.
type counter struct {
	dial  migrate.DialSource
	still func(port int) bool // the server counts a connection that it has ended; nil: none

	mu    sync.Mutex
	open  int
	since tally
}

// tally is what was counted since the last reset.
type tally struct{ most, refused int }

// reset counts anew and gives what was counted.
func (c *counter) reset() tally {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.since
	c.since = tally{most: c.open}
	return t
}

// Dial is migrate.DialSource.
func (c *counter) Dial(ctx context.Context, e migrate.Endpoint, m migrate.Mailbox) (migrate.Source, error) {
	p, err := openPassage(e.Port, c.still)
	if err != nil {
		return nil, err
	}
	e.Port = p.port()
	s, err := c.dial(ctx, e, m)
	if err != nil {
		p.close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if migrate.KindOf(err) == migrate.Throttled { // a run that ends also ends its dials
		c.since.refused++
	}
	if err != nil {
		return nil, err
	}
	c.open++
	c.since.most = max(c.since.most, c.open)
	return &counted{Source: s, counter: c, passage: p}, nil
}

// counted is a connection that is counted until it is closed.
type counted struct {
	migrate.Source
	counter *counter
	passage *passage
	once    sync.Once
}

func (s *counted) Close() error {
	err := s.Source.Close()
	s.once.Do(func() {
		s.passage.close()
		s.counter.mu.Lock()
		defer s.counter.mu.Unlock()
		s.counter.open--
	})
	return err
}

// passage leads connections to a port of this machine and knows when the server has ended them.
type passage struct {
	net.Listener
	still   func(port int) bool
	running sync.WaitGroup
}

func openPassage(to int, still func(port int) bool) (*passage, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &passage{Listener: l, still: still}
	p.running.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.pass(client, to) })
		}
	})
	return p, nil
}

func (p *passage) port() int { return p.Addr().(*net.TCPAddr).Port }

// close returns when the server has ended the connections, whose clients have.
func (p *passage) close() {
	p.Close()
	p.running.Wait()
}

func (p *passage) pass(client net.Conn, to int) {
	defer client.Close()
	server, err := net.DialTCP("tcp", nil, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: to})
	if err != nil {
		return
	}
	defer server.Close()
	var up sync.WaitGroup
	up.Go(func() {
		_, _ = io.Copy(server, client)
		_ = server.CloseWrite()
	})
	_, _ = io.Copy(client, server)
	_, _ = io.Copy(io.Discard, server) // when the client has gone
	client.Close()
	up.Wait()
	from := server.LocalAddr().(*net.TCPAddr).Port
	for p.still != nil && p.still(from) {
		time.Sleep(5 * time.Millisecond) // nothing tells
	}
}
