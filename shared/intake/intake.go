// Package intake takes a dropped CSV in: every row is checked before any is accepted, passwords are
// sealed, mailboxes get a checkpoint, and the clear text is deleted.
package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"mailferry/shared/credentials"
	"mailferry/shared/migrate"
	"mailferry/shared/roster"
)

// Intake accepts batches. All fields are required.
type Intake struct {
	Drop      migrate.Store // the drop zone: <endpoint>/<batch>.csv
	Store     migrate.Store // the state
	Directory migrate.Directory
	Vault     *credentials.Vault
	Sealer    *credentials.Sealer
	Planner   *migrate.Planner
}

// Report says what became of a dropped file, row by row where something is wrong.
type Report struct {
	Version  int              `json:"v"`
	Endpoint string           `json:"endpoint"`
	Batch    string           `json:"batch"`
	At       time.Time        `json:"at"`
	Refused  bool             `json:"refused"`          // nothing was accepted
	Sealed   string           `json:"sealed,omitempty"` // blob with the sealed copy of a file that was not accepted whole
	Accepted int              `json:"accepted"`         // mailboxes, new and known
	New      int              `json:"new"`
	Replaced int              `json:"replaced,omitempty"` // mailboxes that others with another login took the place of
	Problems []roster.Problem `json:"problems,omitempty"`
	More     int              `json:"more,omitempty"` // problems that a status does not show
}

// ReportName is the blob of a batch's intake report.
func ReportName(endpoint, batch string) string {
	return "intake/" + endpoint + "/" + batch + ".json"
}

var batchName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)

// ValidBatchName reports whether name can name a batch: letters, digits, dots, hyphens and
// underscores, at most 100.
func ValidBatchName(name string) bool { return batchName.MatchString(name) }

// lookups is how many target addresses are resolved at once.
const lookups = 4

// Accept takes in <endpoint>/<batch>.csv. A file that is gone was taken in before. An error means
// that the file should be offered again: nothing is lost, and what was done is not done twice.
func (in *Intake) Accept(ctx context.Context, endpoint, batch string) (Report, error) {
	r := Report{Version: 1, Endpoint: endpoint, Batch: batch, At: time.Now().UTC()}
	name := endpoint + "/" + batch + ".csv"
	content, tag, err := in.Drop.Get(ctx, name)
	if errors.Is(err, migrate.ErrNotFound) {
		return r, nil
	}
	if err != nil {
		return r, fmt.Errorf("read dropped file: %w", err)
	}
	rows, err := in.check(ctx, &r, content)
	if err != nil {
		return r, err
	}
	if !r.Refused {
		err = in.accept(ctx, &r, rows)
	}
	if err == nil && len(r.Problems) > 0 {
		err = in.keepSealed(ctx, &r, tag, content)
	}
	if err != nil {
		return r, err
	}
	if err := in.publish(ctx, r); err != nil {
		return r, err
	}
	err = in.Drop.Delete(ctx, name, migrate.Condition{Match: tag})
	if err != nil && !errors.Is(err, migrate.ErrConflict) && !errors.Is(err, migrate.ErrNotFound) {
		return r, fmt.Errorf("delete dropped file: %w", err) // a newer version fires its own event
	}
	if r.Accepted == 0 {
		return r, nil
	}
	if err := (migrate.Brake{Store: in.Store}).Reset(ctx, endpoint); err != nil {
		return r, err
	}
	return r, in.Planner.Fill(ctx, endpoint)
}

// check reads the file; what is wrong with all of it refuses it.
func (in *Intake) check(ctx context.Context, r *Report, content []byte) ([]roster.Row, error) {
	refuse := func(reason, advice string) {
		r.Refused, r.Problems = true, append(r.Problems, roster.Problem{Reason: reason, Advice: advice})
	}
	if !ValidBatchName(r.Batch) {
		refuse("the file's name cannot name a batch", "Use letters, digits, dots, hyphens and underscores, at most 100, and drop it again.")
		return nil, nil
	}
	endpoint, err := migrate.LoadEndpoint(ctx, in.Drop, r.Endpoint)
	if migrate.KindOf(err) == migrate.Configuration {
		refuse(err.Error(), "Put the endpoint's description into the folder, or mend it there, then drop the CSV again.")
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rules := roster.Rules{PasswordOptional: !endpoint.NeedsPassword()}
	list, err := rules.Read(bytes.NewReader(content))
	var whole *roster.FileError
	if errors.As(err, &whole) {
		r.Refused, r.Problems = true, append(r.Problems, whole.Problems...)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read roster: %w", err)
	}
	r.Problems = list.Problems
	r.Refused = len(list.Rows) == 0
	if rules.PasswordOptional { // what nobody needs is not kept
		for i := range list.Rows {
			list.Rows[i].Password = ""
		}
	}
	return list.Rows, nil
}

// keepSealed keeps a file with refused rows: nothing the administrator gave is lost, nothing stays
// readable.
func (in *Intake) keepSealed(ctx context.Context, r *Report, tag migrate.ETag, content []byte) error {
	sealed, err := in.Sealer.Seal(content)
	if err != nil {
		return fmt.Errorf("seal refused file: %w", err)
	}
	r.Sealed = fmt.Sprintf("refused/%s/%s-%s.csv.age", r.Endpoint, r.Batch, safeTag(tag))
	if _, err := in.Store.Put(ctx, r.Sealed, sealed, nil, migrate.Condition{}); err != nil {
		return fmt.Errorf("keep refused file: %w", err)
	}
	return nil
}

func safeTag(tag migrate.ETag) string {
	return regexp.MustCompile(`[^A-Za-z0-9]`).ReplaceAllString(string(tag), "")
}

func (in *Intake) publish(ctx context.Context, r Report) error {
	content, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		_, err = in.Store.Put(ctx, ReportName(r.Endpoint, r.Batch), content, nil, migrate.Condition{})
	}
	if err != nil {
		return fmt.Errorf("write intake report: %w", err)
	}
	return nil
}

// accept resolves each row's target and creates its mailbox, several at a time. A row without a
// target becomes a problem; any other error ends the intake, to be tried again.
func (in *Intake) accept(ctx context.Context, r *Report, rows []roster.Row) error {
	if err := migrate.AnnounceEndpoint(ctx, in.Store, r.Endpoint); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	targets := make(map[string]taken)
	next := make(chan roster.Row)
	var workers sync.WaitGroup
	for range lookups {
		workers.Go(func() {
			for row := range next {
				if err := in.acceptRow(ctx, r, row, &mu, targets); err != nil {
					cancel(err)
				}
			}
		})
	}
	for _, row := range rows {
		select {
		case next <- row:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
	slices.SortStableFunc(r.Problems, func(a, b roster.Problem) int { return a.Line - b.Line })
	r.Refused = r.Accepted == 0 && ctx.Err() == nil && len(r.Problems) > 0
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return in.replace(ctx, r, targets)
}

// taken is what a mailbox GUID is the target of: two addresses may be one mailbox.
type taken struct {
	line int
	id   migrate.MailboxID
}

func (in *Intake) acceptRow(ctx context.Context, r *Report, row roster.Row, mu *sync.Mutex, targets map[string]taken) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	target, err := in.Directory.Resolve(ctx, row.Address)
	mu.Lock()
	problem := roster.Problem{Line: row.Line, Column: "EmailAddress"}
	if migrate.KindOf(err) == migrate.NoMailbox {
		problem.Reason, problem.Advice = err.Error(), "Create or license the mailbox, then drop the file again."
	} else if other, double := targets[target.GUID]; err == nil && double {
		problem.Reason = fmt.Sprintf("this address and that of line %d are the same mailbox", other.line)
		problem.Advice = "Keep one of the two lines."
	} else if err == nil {
		targets[target.GUID] = taken{row.Line, migrate.NewMailboxID(r.Endpoint, row.Login, target.GUID)}
	}
	if problem.Reason != "" {
		r.Problems = append(r.Problems, problem)
		mu.Unlock()
		return nil
	}
	mu.Unlock()
	if err != nil {
		return fmt.Errorf("resolve line %d: %w", row.Line, err)
	}
	fresh, err := in.create(ctx, r, row, target)
	mu.Lock()
	defer mu.Unlock()
	if err == nil {
		r.Accepted++
	}
	if fresh {
		r.New++
	}
	return err
}

// create stores the credentials, if the mailbox has its own, then the checkpoint, so that no mailbox
// is ever without them.
func (in *Intake) create(ctx context.Context, r *Report, row roster.Row, target migrate.TargetMailbox) (fresh bool, err error) {
	id := migrate.NewMailboxID(r.Endpoint, row.Login, target.GUID)
	if row.Password != "" {
		if err := in.Vault.Put(ctx, id, credentials.Secret(row.Password)); err != nil {
			return false, err
		}
	}
	c := &migrate.Checkpoint{
		Mailbox: migrate.Mailbox{ID: id, Batch: r.Batch, Login: row.Login, UserRoot: row.UserRoot, Target: target},
		State:   migrate.Queued, Phase: migrate.Waiting, Due: r.At, Since: r.At,
	}
	_, err = migrate.SaveCheckpoint(ctx, in.Store, c, migrate.Condition{Absent: true})
	if errors.Is(err, migrate.ErrConflict) {
		return false, errors.Join(migrate.MoveRoot(ctx, in.Store, id, row.UserRoot), migrate.Retry(ctx, in.Store, id))
	}
	return err == nil, err
}
