package migrate

import "time"

// Crowded says how many connections the source took when it refused another one.
type Crowded struct {
	Connections int       `json:"connections"`
	At          time.Time `json:"at"`
}

// crowdedFor is how long a refusal counts for each connection: the cap falls at once and rises slowly.
const crowdedFor = time.Hour

// connections is how many the run may have to the source.
func (m *mailboxRun) connections() int {
	n := m.endpoint.Connections
	if c := m.cp.Crowded; c != nil {
		n = min(n, c.Connections+int(time.Since(c.At)/crowdedFor))
	}
	return max(1, n)
}
