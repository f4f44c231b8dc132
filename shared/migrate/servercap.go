package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// serverCap says how many connections all mailboxes of an endpoint may have to its server at once, over
// all instances, since the server took no more. It is the blob endpoints/<endpoint>/state. Of the cap only a
// fall is written: what it has risen to since then follows from the time, so nobody has to raise it.
type serverCap struct {
	Version     int       `json:"v"`
	Connections int       `json:"connections"` // right after the fall; 0: there was none
	Full        int       `json:"full"`        // as many as the endpoint allowed then
	At          time.Time `json:"at"`          // of the fall
	By          MailboxID `json:"by"`          // the mailbox that was turned away
	Cause       string    `json:"cause"`       // the server's words

	Seen   time.Time `json:"seen,omitzero"`   // when the server was last known to give a mailbox messages
	SeenBy MailboxID `json:"seenBy,omitzero"` // that mailbox
}

const (
	// Within seenFor of others' messages, a server that hangs up without a word is up and has enough. It is
	// shorter than fallsOnce, so that one that goes down lowers the cap once at most.
	seenFor   = 50 * time.Second
	seenEvery = 25 * time.Second // noted

	// Within fallsOnce of a fall, others hear of the same crowd, and the runs that have too many
	// connections close them.
	fallsOnce  = time.Minute
	risesEvery = 15 * time.Minute
)

func serverCapName(endpoint string) string { return "endpoints/" + endpoint + "/state" }

// at is the cap at a time: without a refusal it rises by an eighth, at least by one, every quarter of an
// hour, until it is full. A fall in the future is what an instance with a wrong clock wrote: it would last for
// ever.
func (c serverCap) at(now time.Time, full int) int {
	if c.Connections < 1 || c.At.Sub(now) > risesEvery {
		return full
	}
	n := c.Connections
	for range now.Sub(c.At) / risesEvery {
		if n >= full {
			break
		}
		n += max(1, n/8)
	}
	return min(n, full)
}

// fall lowers the cap, unless it has just fallen: by half while it looks for what the server takes, and by
// a quarter when it had risen to that. A server at its limit also refuses the users who need it.
func (c *serverCap) fall(now time.Time, full int, by MailboxID, cause error) bool {
	if c.Connections > 0 && now.Sub(c.At).Abs() < fallsOnce {
		return false
	}
	n := c.at(now, full)
	if c.Connections > 0 && n > c.Connections {
		n -= n / 4
	} else {
		n /= 2
	}
	c.Connections, c.Full, c.At, c.By, c.Cause = max(1, n), full, now.UTC(), by, cause.Error()
	return true
}

// lowerCap notes that the server took no connection of this mailbox. What it returns is the cap, if it was
// lowered.
func lowerCap(ctx context.Context, s Store, e Endpoint, by MailboxID, cause error) (lowered int, err error) {
	err = amend(ctx, s, serverCapName(e.Name), "the server's cap", serverCap{Version: amendVersion}, func(c *serverCap) bool {
		lowered = 0
		if !c.fall(time.Now(), e.full(), by, cause) {
			return false
		}
		lowered = c.Connections
		return true
	})
	return lowered, err
}

func (m *mailboxRun) amendCap(to func(*serverCap) bool) error {
	return amend(m.ctx, m.Store, serverCapName(m.endpoint.Name), "the server's cap", serverCap{Version: amendVersion}, to)
}

// loadCap reads the cap. One that is not there, cannot be read or is a newer program's caps nothing.
func loadCap(ctx context.Context, s Store, endpoint string) (serverCap, error) {
	content, _, err := s.Get(ctx, serverCapName(endpoint))
	if err != nil && !errors.Is(err, ErrNotFound) {
		return serverCap{}, fmt.Errorf("read the server's cap: %w", err)
	}
	c, _ := readAmended(content, serverCap{})
	return c, nil
}

// ServerCap shows an administrator that fewer connections are made than the endpoint allows.
type ServerCap struct {
	Connections int       `json:"connections"` // to the server now, over all mailboxes
	Full        int       `json:"full"`        // as many as the endpoint allows
	Lowered     time.Time `json:"lowered"`
	By          MailboxID `json:"by"` // the mailbox that the server turned away
	Cause       string    `json:"cause"`
}

// loadServerCap returns nil where no cap is in force.
func loadServerCap(ctx context.Context, s Store, endpoint string) (*ServerCap, error) {
	c, err := loadCap(ctx, s, endpoint)
	if n := c.at(time.Now(), c.Full); err != nil || n >= c.Full {
		return nil, err
	} else {
		return &ServerCap{Connections: n, Full: c.Full, Lowered: c.At, By: c.By, Cause: c.Cause}, nil
	}
}

// full is how many connections the endpoint allows over all mailboxes.
func (e Endpoint) full() int {
	n := e.Slots * e.Connections
	if e.MaxConnections > 0 {
		n = min(n, e.MaxConnections)
	}
	return n
}

// room is a number of connections shared out among slots. Each run knows its part by the numbers of those it
// holds (see loans), so the sum holds without a lease for each connection.
type room struct {
	total int
	runs  int // at once: those in the slots below
	each  int // connections at most
}

func (e Endpoint) room(total int) room {
	return room{total: total, runs: min(e.Slots, total), each: e.Connections}
}

// of is how many connections the run in that slot may have; 0: it has to end.
func (r room) of(slot int) int {
	if slot >= r.runs {
		return 0
	}
	n := r.total / r.runs
	if slot < r.total%r.runs {
		n++
	}
	return min(n, r.each)
}

// seen notes that the server gives this mailbox messages, unless that was noted just now.
func (c *serverCap) seen(now time.Time, by MailboxID) bool {
	if now.Sub(c.Seen).Abs() < seenEvery {
		return false
	}
	c.Seen, c.SeenBy = now.UTC(), by
	return true
}

// upForOthers reports whether the server gives messages to other mailboxes now.
func (c serverCap) upForOthers(now time.Time, self MailboxID) bool {
	return c.SeenBy != "" && c.SeenBy != self && now.Sub(c.Seen).Abs() < seenFor
}

// loadRoom returns what the endpoint's runs may have now.
func loadRoom(ctx context.Context, s Store, e Endpoint) (room, error) {
	c, err := loadCap(ctx, s, e.Name)
	return e.room(c.at(time.Now(), e.full())), err
}

// roomAge is how old a run's knowledge of its room may be.
const roomAge = 15 * time.Second

// mindRoom asks now and then whether the cap has fallen since, and whether there is room to borrow. The
// reader closes connections that are too many, and a run whose slot is none any more ends at a safe point.
func (m *mailboxRun) mindRoom(r *reader) {
	if time.Since(m.roomAsked) < roomAge {
		return
	}
	m.roomAsked = time.Now()
	c, err := loadCap(m.ctx, m.Store, m.endpoint.Name)
	if err != nil {
		return // it keeps what it has
	}
	if id := m.cp.Mailbox.ID; c.seen(time.Now(), id) {
		_ = m.amendCap(func(c *serverCap) bool { return c.seen(time.Now(), id) }) // nobody depends on it
	}
	room := m.endpoint.room(c.at(time.Now(), m.endpoint.full()))
	if r != nil {
		m.borrow(r, room)
		defer r.change(func() {}) // it looks at what follows
	}
	part := m.partOf(room)
	m.part.Store(int64(part))
	if part == 0 {
		m.endSoft(nil)
	}
}
