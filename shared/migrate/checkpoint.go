package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

// State says where a mailbox stands, in the native migration tool's words.
type State string

// The states.
const (
	Queued                State = "Queued"
	Syncing               State = "Syncing"
	Synced                State = "Synced"
	IncrementalSyncing    State = "IncrementalSyncing"
	Draining              State = "Draining"
	Completing            State = "Completing"
	Completed             State = "Completed"
	CompletedWithWarnings State = "CompletedWithWarnings"
	Failed                State = "Failed"
	Stopped               State = "Stopped"
)

// Final reports whether nothing more happens to a mailbox in this state by itself.
func (s State) Final() bool {
	return s == Completed || s == CompletedWithWarnings || s == Failed || s == Stopped
}

// Phase says who has the mailbox now.
type Phase string

// The phases.
const (
	Waiting Phase = "waiting" // nobody: the planner may wake it when it is due
	Woken   Phase = "woken"   // a wake-up with the current Seq is on its way
	Running Phase = "running" // a run has it
)

// CheckpointVersion is the format this program writes.
const CheckpointVersion = 1

// Checkpoint says where a mailbox stands. Only the holder of the mailbox's lease writes it, but for
// intake (creates it) and the planner (claims a waiting or abandoned one); both use If-Match.
type Checkpoint struct {
	Version   int             `json:"v"`
	Mailbox   Mailbox         `json:"mailbox"`
	State     State           `json:"state"`
	Phase     Phase           `json:"phase"`
	Seq       int64           `json:"seq"`                // the valid wake-up
	Epoch     int64           `json:"epoch"`              // counts the runs that took it over
	Due       time.Time       `json:"due"`                // while waiting: not before
	Since     time.Time       `json:"since"`              // of the phase, or of the last window while running
	Deaths    int             `json:"deaths,omitempty"`   // runs that vanished since the last progress
	Restores  int             `json:"restores,omitempty"` // wake-ups restored since the last progress
	Failures  int             `json:"failures,omitempty"` // runs that ended with an error since the last progress
	Outside   int             `json:"outside,omitempty"`  // runs in a row that the source server did not let in
	Problem   *Problem        `json:"problem,omitempty"`
	Folders   []*FolderCursor `json:"folders,omitempty"`
	Rules     string          `json:"rules,omitempty"`    // fingerprint of the folder rules that the places follow
	Filter    string          `json:"filter,omitempty"`   // fingerprint of the filter by which messages are left out
	Notes     []FolderNote    `json:"notes,omitempty"`    // about folders, for the administrator
	Intent    *Intent         `json:"intent,omitempty"`   // the window being written
	Doubtful  []*Intent       `json:"doubtful,omitempty"` // windows whose outcome has to be looked up
	Again     []*Intent       `json:"again,omitempty"`    // messages written again after a look-up, to be looked up once more; one entry a folder
	Passes    int             `json:"passes,omitempty"`   // times every folder was found fully done
	Started   time.Time       `json:"started,omitzero"`   // the first run
	Ended     time.Time       `json:"ended,omitzero"`     // the last sync that found nothing left
	Active    Duration        `json:"active,omitempty"`   // time spent in runs
	Verified  *Verification   `json:"verified,omitempty"`
	Verifying *Verification   `json:"verifying,omitempty"` // the part of a verification that was made so far
	Crowded   *Crowded        `json:"crowded,omitempty"`   // nil: the source took as many connections as were wanted
	Preflight *Preflight      `json:"preflight,omitempty"` // nil: not looked at, or its mail is on the way

	// Received are the orders by which messages may have been written, the present one last.
	Received []ReceivedOrder `json:"received,omitempty"`
}

// Problem is what an administrator sees of the last error.
type Problem struct {
	Kind   Kind      `json:"kind"`
	Reason Reason    `json:"reason,omitempty"`
	Text   string    `json:"text"`
	Advice string    `json:"advice"`
	At     time.Time `json:"at"`
}

// moveTo changes the phase.
func (c *Checkpoint) moveTo(p Phase, due time.Time) {
	c.Phase, c.Due, c.Since = p, due.UTC(), time.Now().UTC()
}

// CheckpointName is the blob of a mailbox's checkpoint.
func CheckpointName(id MailboxID) string {
	return checkpointPrefix(id.Endpoint()) + string(id)[len(id.Endpoint())+1:] + ".json"
}

func checkpointPrefix(endpoint string) string { return "mailboxes/" + endpoint + "/" }

// LoadCheckpoint reads a mailbox's checkpoint. None is ErrNotFound, a newer format a *Error of kind
// Newer, and one that cannot be read a *Error of kind Corrupt.
func LoadCheckpoint(ctx context.Context, s Store, id MailboxID) (*Checkpoint, ETag, error) {
	content, tag, err := s.Get(ctx, CheckpointName(id))
	if err != nil {
		return nil, "", fmt.Errorf("load checkpoint: %w", err)
	}
	c, err := parseCheckpoint(content)
	if err != nil {
		return nil, "", err
	}
	if c.Mailbox.ID != id {
		return nil, "", &Error{Op: "load checkpoint", Mailbox: string(id), Kind: Corrupt, Err: errors.New("it names another mailbox")}
	}
	return c, tag, nil
}

func parseCheckpoint(content []byte) (*Checkpoint, error) {
	var head struct {
		Version int `json:"v"`
	}
	err := json.Unmarshal(content, &head)
	if err == nil && head.Version > CheckpointVersion {
		return nil, &Error{Op: "load checkpoint", Kind: Newer, Err: fmt.Errorf("version %d, this program knows %d", head.Version, CheckpointVersion)}
	}
	c := new(Checkpoint)
	if err == nil {
		err = json.Unmarshal(content, c)
	}
	if err == nil && (head.Version < 1 || !c.Mailbox.ID.Valid() || slices.Contains(c.Folders, nil) || slices.Contains(c.Doubtful, nil) || slices.Contains(c.Again, nil)) {
		err = errors.New("no version, no mailbox id or an empty entry")
	}
	if err != nil {
		return nil, &Error{Op: "load checkpoint", Kind: Corrupt, Err: err}
	}
	return c, nil
}

// SaveCheckpoint writes c under a condition. A lost race is ErrConflict.
func SaveCheckpoint(ctx context.Context, s Store, c *Checkpoint, cond Condition) (ETag, error) {
	c.Version = CheckpointVersion
	content, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write checkpoint: %w", err)
	}
	tag, err := s.Put(ctx, CheckpointName(c.Mailbox.ID), content, c.metadata(), cond)
	if err != nil {
		return "", fmt.Errorf("write checkpoint: %w", err)
	}
	return tag, nil
}

// NeverIn reports whether the source refused every sign-in of the mailbox, and no run is at it now.
func (c *Checkpoint) NeverIn() bool {
	return c.kind() == SignIn && c.Phase != Running && len(c.Folders) == 0 && (c.State == Failed || c.State == Queued)
}

// MoveRoot gives a mailbox the UserRoot of a CSV that was dropped again, and another try, as long as none
// of its folders was found. Any other mailbox stays as it is.
func MoveRoot(ctx context.Context, s Store, id MailboxID, root string) error {
	for {
		c, tag, err := LoadCheckpoint(ctx, s, id)
		if err != nil {
			return err
		}
		if c.Phase == Running || len(c.Folders) > 0 || c.Mailbox.UserRoot == root || c.State.Final() && c.State != Failed {
			return nil
		}
		c.Mailbox.UserRoot = root
		c.State, c.Problem, c.Failures, c.Preflight = Queued, nil, 0, nil
		c.moveTo(Waiting, time.Now())
		_, err = SaveCheckpoint(ctx, s, c, Condition{Match: tag})
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}

// Retry gives a mailbox another try after its CSV was dropped again, so that its credentials may be new and its
// target has been found: one that failed because the sign-in was refused or the target was gone, that pre-flight
// holds with a refused sign-in, or that waits because it may be so. Any other mailbox stays as it is.
func Retry(ctx context.Context, s Store, id MailboxID) error {
	for {
		c, tag, err := LoadCheckpoint(ctx, s, id)
		if err != nil {
			return err
		}
		failed := c.State == Failed && (c.kind() == SignIn || c.kind() == NoMailbox)
		waits := c.Phase == Waiting && !c.State.Final() && c.reason() == NotConnected
		if !failed && !waits && !(c.Phase != Running && c.State == Queued && c.refusedBefore()) {
			return nil
		}
		c.State, c.Problem, c.Failures, c.Preflight = Queued, nil, 0, nil
		c.moveTo(Waiting, time.Now())
		_, err = SaveCheckpoint(ctx, s, c, Condition{Match: tag})
		if !errors.Is(err, ErrConflict) {
			return err
		}
	}
}
