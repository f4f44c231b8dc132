package graph

import (
	"context"
	"encoding/json"
	"fmt"

	"mailferry/infra/local/exchange/store"
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

// Move is the verb "move": {"mailbox", "messageId", "to"} moves every message
// with that Message-ID. To is a well-known name, or display names with "/"
// between them.
func Move(s *store.Store) func(ctx context.Context, args json.RawMessage) error {
	return func(_ context.Context, args json.RawMessage) error {
		var a struct {
			Mailbox   string `json:"mailbox"`
			MessageID string `json:"messageId"`
			To        string `json:"to"`
		}
		if err := json.Unmarshal(args, &a); err != nil {
			return fmt.Errorf("read arguments: %w", err)
		}
		m, ok := s.Mailbox(a.Mailbox)
		if !ok {
			return fmt.Errorf("there is no mailbox %q", a.Mailbox)
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
