package migrate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Brake stops the sign-ins of an endpoint after several in a row were refused, before accounts get
// locked or the address of this app gets banned. It then lets one mailbox try at a time, with
// growing pauses; a success, or new credentials, end that. What it knows is a blob, so that all
// instances share it. Sign-ins that were under way when the brake closed still end: at most as many
// as the endpoint has slots.
type Brake struct {
	Store Store
}

const (
	// Five failures within ten minutes ban an address where fail2ban runs as it is installed
	// (jail.conf: maxretry = 5), and lock an account in many domains. An administrator's account is
	// the same for all mailboxes.
	brakeLimit      = 4
	brakeLimitAdmin = 2

	firstRest   = 15 * time.Minute
	longestRest = 6 * time.Hour
	brakeProbe  = 2 * time.Minute // for the one mailbox that tries
)

// brakeState is the blob.
type brakeState struct {
	Version int       `json:"v"`
	Refused int       `json:"refused"` // sign-ins in a row
	Until   time.Time `json:"until,omitzero"`
}

func brakeName(endpoint string) string { return "endpoints/" + endpoint + "/brake" }

// counted are the refusals that a server counts, too.
var counted = map[Reason]bool{WrongPassword: true, AccountLocked: true, AppPassword: true, AskServerAdmin: true, AdminRefused: true, TokenRefused: true}

// Guard puts the brake in front of dial. While an endpoint rests, its error is of kind Throttled.
func (b Brake) Guard(dial DialSource) DialSource {
	return func(ctx context.Context, endpoint Endpoint, mailbox Mailbox) (Source, error) {
		limit := brakeLimit
		if endpoint.Admin != nil {
			limit = brakeLimitAdmin
		}
		probes, err := b.enter(ctx, endpoint.Name, limit)
		if err != nil {
			return nil, err
		}
		refused := func(ctx context.Context) error { return b.refused(ctx, endpoint.Name, limit, probes) }
		source, err := dial(ctx, endpoint, mailbox)
		switch {
		case err == nil:
			err = b.change(ctx, endpoint.Name, func(s *brakeState) bool {
				changed := s.Refused > 0
				s.Refused, s.Until = 0, time.Time{}
				return changed
			})
			if err != nil {
				source.Close()
				return nil, err
			}
			return &guarded{Source: source, refused: refused}, nil
		case counts(err):
			return nil, errors.Join(err, refused(ctx))
		}
		return nil, err
	}
}

// counts reports whether a server counts this refusal, too.
func counts(err error) bool { return KindOf(err) == SignIn && counted[ReasonOf(err)] }

// refused counts a refused sign-in, and begins the rest, or a longer one if it was the one that tries. Others
// that were under way when the rest began do not lengthen it: they come to as many as there are slots.
func (b Brake) refused(ctx context.Context, endpoint string, limit int, probes bool) error {
	return b.change(ctx, endpoint, func(s *brakeState) bool {
		if s.Refused >= limit && !probes {
			return false
		}
		if s.Refused++; s.Refused >= limit {
			rest := min(firstRest<<min(s.Refused-limit, 10), longestRest)
			s.Until = time.Now().Add(rest).UTC()
		}
		return true
	})
}

// enter returns an error while the endpoint rests. Behind the rest, the first who asks may try: it probes.
func (b Brake) enter(ctx context.Context, endpoint string, limit int) (probes bool, err error) {
	resting := time.Duration(0)
	err = b.change(ctx, endpoint, func(s *brakeState) bool {
		if resting, probes = 0, false; s.Refused < limit {
			return false
		}
		if resting = time.Until(s.Until); resting > 0 && resting < longestRest+firstRest {
			return false
		}
		resting = 0 // or nobody rests so long: an instance with a wrong clock wrote it
		s.Until, probes = time.Now().Add(brakeProbe).UTC(), true
		return true
	})
	if err != nil || resting <= 0 {
		return probes, err
	}
	return false, &Error{Op: "sign in to the source server", Kind: Throttled, Reason: EndpointResting, RetryAfter: resting,
		Err: fmt.Errorf("the last sign-ins at this endpoint were all refused, so nobody tries for %s", resting.Round(time.Second))}
}

// Reset ends a rest: new credentials have come.
func (b Brake) Reset(ctx context.Context, endpoint string) error {
	return b.change(ctx, endpoint, func(s *brakeState) bool {
		changed := s.Refused > 0
		s.Refused, s.Until = 0, time.Time{}
		return changed
	})
}

// change changes what is known of an endpoint.
func (b Brake) change(ctx context.Context, endpoint string, to func(*brakeState) bool) error {
	return amend(ctx, b.Store, brakeName(endpoint), "the endpoint's brake", brakeState{Version: amendVersion}, to)
}
