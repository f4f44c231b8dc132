package migrate

import (
	"cmp"
	"slices"
	"time"
)

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
	Removed     UIDSet       `json:"removed,omitzero"`   // of Done: removed at the source before they came, as far as is known
	Freed       UIDSet       `json:"freed,omitzero"`     // UIDs that had one and that the server may have given to other messages: what has one now is looked up
	Ledger      LedgerMark   `json:"ledger"`
	Counts      Counts       `json:"counts"`
	Known       FolderState  `json:"known,omitzero"`     // the state in which every message had an outcome or was in doubt; zero after taking a UID out of Done
	Listed      time.Time    `json:"listed,omitzero"`    // when the UIDs of Known were listed
	Gone        bool         `json:"gone,omitempty"`     // not listed at the source any more, or excluded
	Unlisted    bool         `json:"unlisted,omitempty"` // gone because the source does not list it
	Refusals    int          `json:"refusals,omitempty"` // syncs in a row that could not open or list it, or make its folder
	Refusal     string       `json:"refusal,omitempty"`  // what the last of them met
	Stumbles    map[UID]int  `json:"stumbles,omitempty"` // times the connection broke within this message
	Breaks      map[UID]int  `json:"breaks,omitempty"`   // runs in which the connection to the target broke while this message was on its way
	Marked      UIDSet       `json:"marked,omitzero"`    // of Done: left out because they were marked \Deleted
	// Ill: none of its messages came the last time; nil is that one did, or that none was asked for.
	Ill *Illness `json:"ill,omitempty"`
	// Slow: the last run ended while it read its first message.
	Slow *Illness `json:"slow,omitempty"`
	// Anchors are the newest messages that came, by what the source says of them, see MessageInfo.mark.
	Anchors map[UID]string `json:"anchors,omitempty"`
	Seen    FolderState    `json:"seen,omitzero"`    // the state when last listed
	Unsure  bool           `json:"unsure,omitempty"` // a process died before it wrote the anchors of what it brought
	// Verified: Checkpoint.Verifying has it. Missing are those of Done that were not in their folder then and are to
	// be looked for elsewhere.
	Verified bool   `json:"verified,omitempty"`
	Missing  UIDSet `json:"missing,omitzero"`
}

// skipped are the messages that Counts has among the skipped.
func (c *FolderCursor) skipped() UIDSet {
	s := c.LeftOut
	s.Union(c.Unsettled)
	s.Union(c.Marked)
	s.Union(c.Removed)
	return s
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
