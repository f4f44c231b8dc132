package intake

import (
	"context"
	"errors"
	"fmt"

	"mailferry/shared/migrate"
)

// replace removes mailboxes of the batch that a row with another login takes the place of: those with the same
// target whose sign-in was refused before anything of them was found. A login that was misspelt would fail its
// batch for good otherwise. One of another batch stays: two logins may be meant to come into one target.
func (in *Intake) replace(ctx context.Context, r *Report, targets map[string]taken) error {
	var refused []migrate.MailboxID
	err := migrate.Summaries(ctx, in.Store, r.Endpoint, func(s migrate.Summary) error {
		if s.Batch == r.Batch && s.Kind == migrate.SignIn {
			refused = append(refused, s.ID)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list mailboxes whose sign-in was refused: %w", err)
	}
	for _, id := range refused {
		if err := in.replaceOne(ctx, r, id, targets); err != nil {
			return err
		}
	}
	return nil
}

func (in *Intake) replaceOne(ctx context.Context, r *Report, id migrate.MailboxID, targets map[string]taken) error {
	c, tag, err := migrate.LoadCheckpoint(ctx, in.Store, id)
	if errors.Is(err, migrate.ErrNotFound) || migrate.KindOf(err) == migrate.Newer || migrate.KindOf(err) == migrate.Corrupt {
		return nil
	}
	if err != nil {
		return err
	}
	other, named := targets[c.Mailbox.Target.GUID]
	if !named || other.id == id || !c.NeverIn() {
		return nil
	}
	err = in.Store.Delete(ctx, migrate.CheckpointName(id), migrate.Condition{Match: tag})
	if errors.Is(err, migrate.ErrConflict) || errors.Is(err, migrate.ErrNotFound) {
		return nil // a run has it
	}
	if err != nil {
		return fmt.Errorf("remove mailbox that was replaced: %w", err)
	}
	r.Replaced++
	err = in.Store.Delete(ctx, migrate.PreflightName(id), migrate.Condition{})
	if err != nil && !errors.Is(err, migrate.ErrNotFound) {
		return fmt.Errorf("remove pre-flight report of mailbox that was replaced: %w", err)
	}
	return in.Vault.Destroy(ctx, id)
}
