package graph

import (
	"context"
	"encoding/json"
	"fmt"

	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/faults"
)

// moveAway moves a message before its maker hears of it, as a rule of the
// mailbox or a user does.
func moveAway(m *store.Mailbox, it *store.Item, folder string) error {
	to, err := m.FindFolder(folder)
	if err != nil {
		return err
	}
	_, err = m.Move(it.ID, to.ID)
	return err
}

// Verbs adds to the plan what is done to a mailbox at once: move and
// fill-quota.
func Verbs(plan *faults.Plan, s *store.Store) {
	plan.Verb("move", moveVerb(s))
	plan.Verb("fill-quota", fillQuota(s))
}

// fillQuota is {"mailbox", "free"}: the mailbox takes so many bytes more, none
// by default; with a number below 0 it has no quota any more.
func fillQuota(s *store.Store) faults.Do {
	return func(_ context.Context, args json.RawMessage) error {
		var a struct {
			Mailbox string `json:"mailbox"`
			Free    int64  `json:"free"`
		}
		m, err := mailboxOf(s, args, &a, &a.Mailbox)
		if err != nil {
			return err
		}
		return m.FillQuota(a.Free)
	}
}

// mailboxOf reads the arguments of a verb and finds the mailbox they name.
func mailboxOf(s *store.Store, args json.RawMessage, into any, address *string) (*store.Mailbox, error) {
	if err := json.Unmarshal(args, into); err != nil {
		return nil, fmt.Errorf("read arguments: %w", err)
	}
	m, ok := s.Mailbox(*address)
	if !ok {
		return nil, fmt.Errorf("there is no mailbox %q", *address)
	}
	return m, nil
}

// moveVerb is {"mailbox", "messageId", "to"}: every message with that
// Message-ID is moved. To is a well-known name, or display names with "/"
// between them.
func moveVerb(s *store.Store) faults.Do {
	return func(_ context.Context, args json.RawMessage) error {
		var a struct {
			Mailbox   string `json:"mailbox"`
			MessageID string `json:"messageId"`
			To        string `json:"to"`
		}
		m, err := mailboxOf(s, args, &a, &a.Mailbox)
		if err != nil {
			return err
		}
		found := m.ItemsByMessageID(a.MessageID)
		if len(found) == 0 {
			return fmt.Errorf("there is no message %q", a.MessageID)
		}
		for _, it := range found {
			if err := moveAway(m, it, a.To); err != nil {
				return err
			}
		}
		return nil
	}
}
