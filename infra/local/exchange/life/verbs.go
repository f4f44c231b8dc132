package life

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"mailferry/infra/local/faults"
)

// arguments are those of all verbs.
type arguments struct {
	Mailbox   string `json:"mailbox"`
	MessageID string `json:"messageId"`
	Folder    string `json:"folder"`
	Limit     int    `json:"limit"`
	To        string `json:"to"`
	Message   string `json:"message"`
	Age       string `json:"age"`
	Rules     []Rule `json:"rules"`
	Steps     int    `json:"steps"`
}

func (a arguments) pick() Pick { return Pick{MessageID: a.MessageID, Folder: a.Folder, Limit: a.Limit} }

// Register adds the verbs to a plan. All take "mailbox"; those of a user also
// "messageId", "folder" and "limit", which pick messages:
//
//	deliver       "message", in MIME
//	rules         "rules", as in Rule
//	user-moves    "to"
//	user-deletes, user-reads, user-flags
//	retention     "age", such as "8760h"
//	life          "steps", 1 by default
func Register(plan *faults.Plan, l *Life) {
	verb := func(name string, do func(a arguments) error) {
		plan.Verb(name, func(_ context.Context, raw json.RawMessage) error {
			var a arguments
			if err := json.Unmarshal(raw, &a); err != nil {
				return fmt.Errorf("read arguments: %w", err)
			}
			return do(a)
		})
	}
	user := func(name string, do func(a arguments) (int, error)) {
		verb(name, func(a arguments) error {
			n, err := do(a)
			if err == nil && n == 0 && a.MessageID != "" {
				err = fmt.Errorf("there is no message %q", a.MessageID)
			}
			return err
		})
	}
	user("user-deletes", func(a arguments) (int, error) { return l.Delete(a.Mailbox, a.pick()) })
	user("user-reads", func(a arguments) (int, error) { return l.Read(a.Mailbox, a.pick()) })
	user("user-flags", func(a arguments) (int, error) { return l.Flag(a.Mailbox, a.pick()) })
	user("user-moves", func(a arguments) (int, error) { return l.Move(a.Mailbox, a.pick(), a.To) })
	verb("deliver", func(a arguments) error {
		_, err := l.Deliver(a.Mailbox, []byte(a.Message))
		return err
	})
	verb("rules", func(a arguments) error { return l.SetRules(a.Mailbox, a.Rules...) })
	verb("retention", func(a arguments) error {
		age, err := time.ParseDuration(a.Age)
		if err != nil {
			return fmt.Errorf("read age: %w", err)
		}
		_, err = l.Retain(a.Mailbox, age)
		return err
	})
	verb("life", func(a arguments) error {
		for range max(a.Steps, 1) {
			if _, err := l.Step(a.Mailbox); err != nil {
				return err
			}
		}
		return nil
	})
}
