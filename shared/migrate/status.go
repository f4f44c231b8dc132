package migrate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"
)

// BatchStatus is a batch as its mailboxes make it: no counter of its own.
type BatchStatus struct {
	Endpoint  string           `json:"endpoint"`
	Batch     string           `json:"batch"`
	State     string           `json:"state"`
	Mailboxes int              `json:"mailboxes"`
	States    map[State]int    `json:"states"`
	Messages  int              `json:"messages"` // with an outcome
	Total     int              `json:"total"`    // at the source
	Counts    Counts           `json:"counts"`
	Details   []*MailboxStatus `json:"details,omitempty"`
	Cap       *ServerCap       `json:"cap,omitempty"`       // of the endpoint, which its batches share; nil: as many connections are made as the endpoint allows
	Same      []SameFolder     `json:"same,omitempty"`      // folders that several mailboxes show and that come into each
	Preflight *PreflightStatus `json:"preflight,omitempty"` // nil: no mailbox is in it
	Problem   *Problem         `json:"problem,omitempty"`   // of endpoint.json, see NoteEndpoint
}

// MailboxStatus is one mailbox of a batch.
type MailboxStatus struct {
	ID        MailboxID     `json:"id"`
	Address   string        `json:"address"` // of the target
	Login     string        `json:"login"`   // at the source
	State     State         `json:"state"`
	Phase     Phase         `json:"phase"`
	Counts    Counts        `json:"counts"`
	Total     int           `json:"total"`
	Passes    int           `json:"passes"`
	Due       time.Time     `json:"due,omitzero"`
	Active    Duration      `json:"active"`
	Problem   *Problem      `json:"problem,omitempty"`
	Check     *Verification `json:"verification,omitempty"`
	Notes     []FolderNote  `json:"notes,omitempty"`
	Preflight *Preflight    `json:"preflight,omitempty"` // nothing was moved yet; PreflightName has the whole
}

// Batches sums up every batch of an endpoint, in order of name.
func Batches(ctx context.Context, s Store, endpoint string) ([]*BatchStatus, error) {
	byName, inPreflight := make(map[string]*BatchStatus), false
	err := Summaries(ctx, s, endpoint, func(sum Summary) error {
		b := byName[sum.Batch]
		if b == nil {
			b = &BatchStatus{Endpoint: endpoint, Batch: sum.Batch, States: make(map[State]int)}
			byName[sum.Batch] = b
		}
		b.Mailboxes++
		b.States[sum.State]++
		b.Messages, b.Total, b.Counts = b.Messages+sum.Messages, b.Total+sum.Total, b.Counts.Plus(sum.Counts)
		if sum.Preflight != nil && sum.State == Queued {
			if b.Preflight == nil {
				b.Preflight = new(PreflightStatus)
				inPreflight = true
			}
			b.Preflight.count(sum.Preflight)
		}
		return nil
	})
	if err == nil && inPreflight {
		err = noteStarts(ctx, s, endpoint, byName)
	}
	if err != nil {
		return nil, err
	}
	limit, err := loadServerCap(ctx, s, endpoint)
	list := make([]*BatchStatus, 0, len(byName))
	for _, b := range byName {
		b.State, b.Cap = b.derive(), limit
		list = append(list, b)
	}
	slices.SortFunc(list, func(a, b *BatchStatus) int { return strings.Compare(a.Batch, b.Batch) })
	return list, err
}

// NoteEndpoint says in the status of an endpoint's batches what is wrong with endpoint.json: as long as it is,
// no mailbox is woken. Drop has endpoint.json.
func NoteEndpoint(ctx context.Context, drop Store, endpoint string, batches ...*BatchStatus) error {
	_, err := LoadEndpoint(ctx, drop, endpoint)
	if KindOf(err) != Configuration {
		return err
	}
	for _, b := range batches {
		if !strings.HasPrefix(b.State, "Completed") { // they need no endpoint any more
			b.Problem = problemOf(err)
		}
	}
	return nil
}

// noteStarts says of batches in pre-flight whether they are ordered to start.
func noteStarts(ctx context.Context, s Store, endpoint string, batches map[string]*BatchStatus) error {
	orders, err := listOrders(ctx, s, endpoint)
	for name, b := range batches {
		if b.Preflight != nil {
			b.Preflight.Started = orders[name].start
		}
	}
	return err
}

// derive gives the state a batch has by its mailboxes, in the native tool's words.
func (b *BatchStatus) derive() string {
	n := func(states ...State) (sum int) {
		for _, s := range states {
			sum += b.States[s]
		}
		return sum
	}
	switch {
	case n(Queued) == b.Mailboxes && (b.Preflight == nil || !b.Preflight.Started):
		return "Created"
	case n(Completed, CompletedWithWarnings, Failed) == b.Mailboxes && n(Failed, CompletedWithWarnings) == 0:
		return "Completed"
	case n(Completed, CompletedWithWarnings, Failed) == b.Mailboxes:
		return "CompletedWithErrors"
	case n(Completing, Completed, CompletedWithWarnings) > 0:
		return "Completing"
	case n(Synced, IncrementalSyncing, Failed) == b.Mailboxes && n(Failed) == 0:
		return "Synced"
	case n(Synced, IncrementalSyncing, Failed) == b.Mailboxes:
		return "SyncedWithErrors"
	default:
		return "Syncing"
	}
}

// Detail is one batch with its mailboxes, or ErrNotFound.
func Detail(ctx context.Context, s Store, endpoint, batch string) (*BatchStatus, error) {
	var found *BatchStatus
	list, err := Batches(ctx, s, endpoint)
	for _, b := range list {
		if b.Batch == batch {
			found = b
		}
	}
	if err != nil || found == nil {
		return nil, cmpErr(err, ErrNotFound)
	}
	var ids []MailboxID
	err = Summaries(ctx, s, endpoint, func(sum Summary) error {
		if sum.Batch == batch {
			ids = append(ids, sum.ID)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found.Details = make([]*MailboxStatus, len(ids))
	same, mu := newSameFinder(), sync.Mutex{}
	err = atOnce(ctx, len(ids), func(ctx context.Context, i int) error {
		c, report, err := loadLooked(ctx, s, ids[i])
		if err != nil {
			return err
		}
		found.Details[i] = c.status()
		mu.Lock()
		defer mu.Unlock()
		same.see(i, c, report)
		if found.Preflight != nil && c.untouched() {
			found.Preflight.add(c, report)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if found.Preflight != nil {
		found.Preflight.finish()
	}
	found.Same, err = same.folders(ctx, s, ids)
	return found, err
}

func (c *Checkpoint) status() *MailboxStatus {
	return &MailboxStatus{ID: c.Mailbox.ID, Address: c.Mailbox.Target.Address, Login: c.Mailbox.Login, State: c.State, Phase: c.Phase, Counts: c.Counts(), Total: c.Total(),
		Passes: c.Passes, Due: c.Due, Active: c.Active, Problem: c.Problem, Check: c.Verified, Notes: c.Notes, Preflight: c.Preflight}
}

// HasBatch is nil if a batch has mailboxes, else ErrNotFound.
func HasBatch(ctx context.Context, s Store, endpoint, batch string) error {
	found := errors.New("found")
	err := Summaries(ctx, s, endpoint, func(sum Summary) error {
		if sum.Batch == batch {
			return found
		}
		return nil
	})
	if errors.Is(err, found) {
		return nil
	}
	return cmpErr(err, ErrNotFound)
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}
