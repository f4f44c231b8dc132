package migratetest

import (
	"cmp"
	"errors"
	"sync"

	"mailferry/shared/migrate"
)

// SourceServer takes so many connections of all its mailboxes together.
type SourceServer struct {
	// Reason is what it says of one too many; empty is ServerCrowded.
	Reason migrate.Reason

	mu                         sync.Mutex
	limit, open, most, refused int
}

// NewSourceServer returns a server that takes that many.
func NewSourceServer(limit int) *SourceServer { return &SourceServer{limit: limit} }

// Take changes how many connections it takes. Those that are open stay.
func (s *SourceServer) Take(limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
}

// Since returns how many connections are open, how many were at once and how many were refused since
// the last call.
func (s *SourceServer) Since() (open, most, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	open, most, refused = s.open, s.most, s.refused
	s.most, s.refused = s.open, 0
	return open, most, refused
}

func (s *SourceServer) take() error {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open >= s.limit {
		s.refused++
		return &migrate.Error{Op: "sign in", Kind: migrate.Throttled, Reason: cmp.Or(s.Reason, migrate.ServerCrowded), Err: errors.New("no more connections")}
	}
	s.open++
	s.most = max(s.most, s.open)
	return nil
}

func (s *SourceServer) give() {
	if s == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
}
