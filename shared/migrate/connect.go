package migrate

import (
	"context"
	"sync"
	"time"
)

// connect connects to both ends.
func (m *mailboxRun) connect() error {
	if err := m.connectSource(); err != nil {
		return err
	}
	target, err := m.Open(m.ctx, m.cp.Mailbox)
	if err != nil {
		return err
	}
	m.target = target
	m.uncut = context.AfterFunc(m.ctx, func() { target.Close() }) // a lost lease cuts the target off at once
	return nil
}

// connectSource signs in at the source.
func (m *mailboxRun) connectSource() error {
	source, err := m.Dial(m.ctx, m.endpoint, m.cp.Mailbox)
	if err != nil {
		m.outside = true
		return err
	}
	m.source, m.outside, m.cp.Outside = source, false, 0
	m.company.add(m.endpoint.Name, 1)
	return nil
}

// disconnect ends both connections, as far as they were made.
func (m *mailboxRun) disconnect() {
	if m.source != nil {
		m.company.add(m.endpoint.Name, -1)
		m.source.Close()
	}
	if m.target != nil {
		m.uncut()
		m.target.Close()
	}
	m.source, m.target = nil, nil
}

// turnedAway reports whether the server did not let the run in, which is not the mailbox's failure.
func (m *mailboxRun) turnedAway(err error) bool {
	reason := ReasonOf(err)
	if KindOf(err) != Throttled || !m.outside && reason != ServerCrowded {
		return false
	}
	if m.crowds(err) || reason == TooFast {
		m.lowerCap(err)
	}
	return true
}

// crowds reports whether a server that refused a connection has enough of all mailboxes together, and not
// of this one. One that hangs up without a word has, if it did not hang up on others, in this process or in
// another: else it is down.
func (m *mailboxRun) crowds(err error) bool {
	switch ReasonOf(err) {
	case ServerCrowded:
		return true
	case ServerClosesAtOnce:
		if m.company.of(m.endpoint.Name) > 0 {
			return true
		}
		c, err := loadCap(context.WithoutCancel(m.base), m.Store, m.endpoint.Name)
		return err == nil && c.upForOthers(time.Now(), m.cp.Mailbox.ID)
	}
	return false
}

// lowerCap may be called from any goroutine.
func (m *mailboxRun) lowerCap(cause error) {
	lowered, err := lowerCap(context.WithoutCancel(m.base), m.Store, m.endpoint, m.cp.Mailbox.ID, cause)
	if lowered > 0 || err != nil {
		m.Logger.Warn("the source server has enough connections", "endpoint", m.endpoint.Name, "mailbox", m.cp.Mailbox.ID,
			"cap", lowered, "cause", cause, "trouble", err)
	}
}

// company counts the runs of this process that are connected to each endpoint's server.
type company struct {
	mu   sync.Mutex
	runs map[string]int
}

// add counts a run in or out.
func (c *company) add(endpoint string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.runs == nil {
		c.runs = make(map[string]int)
	}
	c.runs[endpoint] += n
}

func (c *company) of(endpoint string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[endpoint]
}
