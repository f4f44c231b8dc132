package migrate

import "time"

// Crowded says how many connections the source took when it refused another one.
type Crowded struct {
	Connections int       `json:"connections"`
	At          time.Time `json:"at"`
}

// crowdedFor is how long a refusal counts for each connection: the cap falls at once and rises slowly.
const crowdedFor = time.Hour

// connections is how many the run may have to the source now. It may be called from any goroutine.
func (m *mailboxRun) connections() int { return max(1, min(m.mayConnect(), int(m.part.Load()))) }

// mayConnect is how many it may have as far as its own mailbox is concerned.
func (m *mailboxRun) mayConnect() int {
	n := m.endpoint.Connections
	if c := m.cp.Crowded; c != nil {
		n = min(n, c.Connections+int(time.Since(c.At)/crowdedFor))
	}
	return max(1, n)
}

// dialsAtOnce bounds the connections that a server which has enough refuses. Some count such for wrong
// passwords, and an administrator's account is the same for all mailboxes.
func (r *reader) dialsAtOnce() int {
	if r.run.endpoint.Admin != nil {
		return 1
	}
	return 2
}
