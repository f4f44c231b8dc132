package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
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

// FolderCursor is one source folder's part of a checkpoint.
type FolderCursor struct {
	Name        string       `json:"name"`
	Path        []string     `json:"path"`            // at the source
	Was         string       `json:"was,omitempty"`   // its path before it was renamed at the source
	View        bool         `json:"view,omitempty"`  // shows what other folders hold
	Label       bool         `json:"label,omitempty"` // is a View because of LabelsOnce
	Use         SpecialUse   `json:"use,omitempty"`   // with Place: where it goes, as Target.Folder takes it
	Place       []string     `json:"place,omitempty"`
	Key         string       `json:"key"` // names the folder's ledger
	UIDValidity uint32       `json:"uidValidity"`
	Target      TargetFolder `json:"target"`
	Total       int          `json:"total"`              // messages at the source when last looked
	LeftOut     UIDSet       `json:"leftOut,omitzero"`   // of Done: what the filter left out
	Unsettled   UIDSet       `json:"unsettled,omitzero"` // of Done: the folder went away before they could be looked up
	Done        UIDSet       `json:"done"`               // UIDs with an outcome in the ledger
	Doubled     UIDSet       `json:"doubled,omitzero"`   // of Done: the target has one copy more, by a request that acted very late
	Freed       UIDSet       `json:"freed,omitzero"`     // UIDs that had one and that the server may have given to other messages
	Ledger      LedgerMark   `json:"ledger"`
	Counts      Counts       `json:"counts"`
	Known       FolderState  `json:"known,omitzero"`     // the state in which every message had an outcome or was in doubt; zero after taking a UID out of Done
	Listed      time.Time    `json:"listed,omitzero"`    // when the UIDs of Known were listed
	Gone        bool         `json:"gone,omitempty"`     // not listed at the source any more, or excluded
	Unlisted    bool         `json:"unlisted,omitempty"` // gone because the source does not list it
	Refusals    int          `json:"refusals,omitempty"` // syncs in a row that could not open it or make its folder
	Refusal     string       `json:"refusal,omitempty"`  // what the last of them met
	Stumbles    map[UID]int  `json:"stumbles,omitempty"` // times the connection broke within this message
	Marked      UIDSet       `json:"marked,omitzero"`    // of Done: left out because they were marked \Deleted
	// Ill: none of its messages came the last time; nil is that one did, or that none was asked for.
	Ill *Illness `json:"ill,omitempty"`
	// Anchors are the newest messages that came, by what the source says of them, see MessageInfo.mark.
	Anchors map[UID]string `json:"anchors,omitempty"`
}

// Counts sums up outcomes. Octets are those of migrated messages.
type Counts struct {
	Migrated int   `json:"migrated,omitempty"`
	Found    int   `json:"found,omitempty"`
	Skipped  int   `json:"skipped,omitempty"`
	Failed   int   `json:"failed,omitempty"`
	Octets   int64 `json:"octets,omitempty"`
}

// Messages is the number of outcomes.
func (c Counts) Messages() int { return c.Migrated + c.Found + c.Skipped + c.Failed }

func (c *Counts) add(r Record) {
	switch r.Outcome {
	case Migrated:
		c.Migrated++
		c.Octets += r.Octets
	case AlreadyThere:
		c.Found++
	case Skipped, LeftOut:
		c.Skipped++
	case NotMigrated:
		c.Failed++
	}
}

// Plus returns the sum.
func (c Counts) Plus(o Counts) Counts {
	return Counts{c.Migrated + o.Migrated, c.Found + o.Found, c.Skipped + o.Skipped, c.Failed + o.Failed, c.Octets + o.Octets}
}

// Intent says which messages are about to be written to the target, or may have been.
type Intent struct {
	Folder string `json:"folder"` // FolderCursor.Key
	UIDs   UIDSet `json:"uids"`
	// Anywhere: the folder shows what other folders hold, so one copy anywhere is enough.
	Anywhere bool      `json:"anywhere,omitempty"`
	After    time.Time `json:"after,omitzero"` // not to be looked up before: a request of the past may still act
	Sent     bool      `json:"sent,omitempty"` // such a request may have been made
}

// Counts sums up all folders.
func (c *Checkpoint) Counts() Counts {
	var sum Counts
	for _, f := range c.Folders {
		sum = sum.Plus(f.Counts)
	}
	return sum
}

// Total is the number of messages at the source when last looked.
func (c *Checkpoint) Total() int {
	n := 0
	if c.Preflight != nil && c.untouched() {
		n = c.Preflight.Messages
	}
	for _, f := range c.Folders {
		n += f.Total
	}
	return n
}

// nextDoubt returns the intent to be looked up next; there must be one. What a virtual folder shows
// comes last, behind what a label does, and both behind what may have been sent: before, a message may be
// on its way into another folder.
func (c *Checkpoint) nextDoubt() *Intent {
	label := make(map[string]bool)
	for _, f := range c.Folders {
		label[f.Key] = f.Label
	}
	rank := func(i *Intent) int {
		switch {
		case !i.Anywhere:
			return 0
		case i.Sent:
			return 1
		case label[i.Folder]:
			return 2
		}
		return 3
	}
	return slices.MinFunc(c.Doubtful, func(a, b *Intent) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), a.After.Compare(b.After))
	})
}

// folder returns the cursor with that key, or nil.
func (c *Checkpoint) folder(key string) *FolderCursor {
	for _, f := range c.Folders {
		if f.Key == key {
			return f
		}
	}
	return nil
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

// Summary is what a listing shows of a checkpoint, from its metadata.
type Summary struct {
	ID        MailboxID
	Tag       ETag
	Batch     string
	State     State
	Phase     Phase
	Seq       int64
	Due       time.Time
	Since     time.Time
	Kind      Kind
	Messages  int
	Total     int
	Octets    int64
	Counts    Counts
	Preflight *Preflight // nil: not looked at, or its mail is on the way
}

func (c *Checkpoint) metadata() map[string]string {
	n := c.Counts()
	m := map[string]string{
		"state": string(c.State), "phase": string(c.Phase), "seq": strconv.FormatInt(c.Seq, 10),
		"due": c.Due.Format(time.RFC3339Nano), "since": c.Since.Format(time.RFC3339Nano),
		"batch": c.Mailbox.Batch, "total": strconv.Itoa(c.Total()), "octets": strconv.FormatInt(n.Octets, 10),
		"migrated": strconv.Itoa(n.Migrated), "found": strconv.Itoa(n.Found),
		"skipped": strconv.Itoa(n.Skipped), "failed": strconv.Itoa(n.Failed),
	}
	if c.Problem != nil {
		m["kind"] = string(c.Problem.Kind)
	}
	if c.Preflight != nil {
		m["preflight"] = c.Preflight.text()
	}
	return m
}

// summarize reads a listing's entry. One that is no checkpoint gives false.
func summarize(endpoint string, e Entry) (Summary, bool) {
	prefix := checkpointPrefix(endpoint)
	if len(e.Name) < len(prefix)+5 {
		return Summary{}, false
	}
	id := MailboxID(endpoint + "/" + e.Name[len(prefix):len(e.Name)-len(".json")])
	if !id.Valid() {
		return Summary{}, false
	}
	m, number := e.Metadata, func(key string) int64 { n, _ := strconv.ParseInt(e.Metadata[key], 10, 64); return n }
	moment := func(key string) time.Time { t, _ := time.Parse(time.RFC3339Nano, m[key]); return t }
	c := Counts{int(number("migrated")), int(number("found")), int(number("skipped")), int(number("failed")), number("octets")}
	return Summary{
		ID: id, Tag: e.ETag, Batch: m["batch"], State: State(m["state"]), Phase: Phase(m["phase"]), Seq: number("seq"),
		Due: moment("due"), Since: moment("since"), Kind: Kind(m["kind"]),
		Messages: c.Messages(), Total: int(number("total")), Octets: c.Octets, Counts: c, Preflight: parsePreflight(m["preflight"]),
	}, true
}

// Summaries lists the checkpoints of an endpoint.
func Summaries(ctx context.Context, s Store, endpoint string, yield func(Summary) error) error {
	return s.List(ctx, checkpointPrefix(endpoint), func(e Entry) error {
		if sum, ok := summarize(endpoint, e); ok {
			return yield(sum)
		}
		return nil
	})
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

// RetrySignIn gives a mailbox whose sign-in was refused another try, after new credentials were stored:
// one that failed because of that, or that pre-flight holds. Any other mailbox stays as it is.
func RetrySignIn(ctx context.Context, s Store, id MailboxID) error {
	for {
		c, tag, err := LoadCheckpoint(ctx, s, id)
		if err != nil {
			return err
		}
		failed := c.State == Failed && c.kind() == SignIn
		if !failed && !(c.Phase != Running && c.State == Queued && c.refusedBefore()) {
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
