package store

import (
	"slices"
	"testing"
	"time"
)

// TestDepartures shows that what would have left is recorded and outlives a
// restart.
func TestDepartures(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s, err := Open(Options{Dir: dir, Now: func() time.Time { return at }})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.AddUser(User{UserPrincipalName: "a@x.test", Licensed: true}); err != nil {
		t.Fatal(err)
	}
	if d := s.Departures(); len(d) != 0 {
		t.Errorf("got %v before anything left", d)
	}
	m, _ := s.Mailbox("a@x.test")
	if err := s.Depart(m, Invitation, "b@y.test", "c@y.test"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got := open(t, dir).Departures()
	if len(got) != 1 || got[0].Kind != Invitation || got[0].Mailbox != "a@x.test" || !got[0].At.Equal(at) ||
		!slices.Equal(got[0].To, []string{"b@y.test", "c@y.test"}) {
		t.Errorf("got %+v", got)
	}
}
