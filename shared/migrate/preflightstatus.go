package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
)

// PreflightStatus sums up the mailboxes of a batch that pre-flight has and of which nothing was moved
// yet. A list of batches shows the counts only.
type PreflightStatus struct {
	Started  bool           `json:"started"` // the start is ordered
	UnderWay int            `json:"underWay,omitempty"`
	Looked   int            `json:"looked"`             // mailboxes that were looked at, or given up with a problem
	Problems []ProblemGroup `json:"problems,omitempty"` // also of mailboxes that are tried again by themselves
	Folders  int            `json:"folders"`            // that come
	Extent                  // of these, but for views
	Shown    int            `json:"shown,omitempty"`   // messages in views: those of them come that lie nowhere else
	Renamed  int            `json:"renamed,omitempty"` // folders
	Merged   int            `json:"merged,omitempty"`  // folders
	LeftOut  int            `json:"leftOut,omitempty"` // folders
	Notes    []NoteGroup    `json:"notes,omitempty"`   // about them, those of most mailboxes first
	Spoilt   []SpoiltGroup  `json:"spoilt,omitempty"`  // received dates, those of most messages first
	More     int            `json:"more,omitempty"`    // notes and spoilt dates that are not listed
	Large    []LargeInBatch `json:"large,omitempty"`   // messages of TooLarge, the largest first; the report of their mailbox has more

	problems map[ProblemGroup]*ProblemGroup
	notes    map[FolderNote]int
	spoilt   map[string]*SpoiltGroup
}

// ProblemGroup is a problem that mailboxes share.
type ProblemGroup struct {
	Kind      Kind   `json:"kind"`
	Reason    Reason `json:"reason,omitempty"`
	Advice    string `json:"advice"`
	Mailboxes int    `json:"mailboxes"`
	Example   string `json:"example"` // the text of one
}

// NoteGroup is a note about a folder that mailboxes share.
type NoteGroup struct {
	FolderNote
	Mailboxes int `json:"mailboxes"`
}

// LargeInBatch is a message that is larger than the target takes.
type LargeInBatch struct {
	Address string `json:"address"` // of the target mailbox
	Folder  string `json:"folder"`  // its path at the source
	LargeMessage
}

// SpoiltGroup is what mailboxes share of spoilt received dates.
type SpoiltGroup struct {
	SpoiltDates
	Mailboxes int    `json:"mailboxes"`
	Advice    string `json:"advice"`
}

const (
	maxGroups      = 100    // that a status shows of a kind
	maxGroupsInAll = 20_000 // that are told apart
)

// count adds what a listing shows of a mailbox.
func (p *PreflightStatus) count(x *Preflight) {
	if x.done() {
		p.Looked++
	} else {
		p.UnderWay++
	}
	p.Folders += x.Folders
	p.plus(x.Extent)
}

// add adds what only checkpoint and report tell. Report may be nil.
func (p *PreflightStatus) add(c *Checkpoint, report *PreflightReport) {
	if x := c.Preflight; x != nil {
		p.Renamed, p.Merged, p.LeftOut = p.Renamed+x.Renamed, p.Merged+x.Merged, p.LeftOut+x.LeftOut
		p.Shown += x.Shown
	}
	if c.Problem != nil {
		p.addProblem(c.Problem)
	}
	if report == nil {
		return
	}
	for _, f := range report.Folders {
		for _, m := range f.Large {
			p.addLarge(LargeInBatch{c.Mailbox.Target.Address, f.Path, m})
		}
		text := f.Note
		if f.Trouble != "" {
			text = joinTexts(text, "could not be looked into: "+f.Trouble)
		}
		if text != "" {
			p.addNote(FolderNote{Folder: f.Path, Target: f.Target, Text: text})
		}
	}
	for _, n := range report.Notes {
		p.addNote(n)
	}
	for _, s := range report.Spoilt {
		p.addSpoilt(s)
	}
}

func (p *PreflightStatus) addProblem(x *Problem) {
	key := ProblemGroup{Kind: x.Kind, Reason: x.Reason, Advice: x.Advice}
	if p.problems == nil {
		p.problems = make(map[ProblemGroup]*ProblemGroup)
	}
	g := p.problems[key]
	if g == nil {
		g = &ProblemGroup{Kind: x.Kind, Reason: x.Reason, Advice: x.Advice, Example: x.Text}
		p.problems[key] = g
	}
	g.Mailboxes++
	g.Example = min(g.Example, x.Text) // whatever the order
}

func (p *PreflightStatus) addLarge(m LargeInBatch) {
	if p.Large = append(p.Large, m); len(p.Large) >= maxGroupsInAll {
		p.keepLargest()
	}
}

func (p *PreflightStatus) keepLargest() {
	slices.SortFunc(p.Large, func(a, b LargeInBatch) int {
		return cmp.Or(cmp.Compare(b.Octets, a.Octets), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Folder, b.Folder), cmp.Compare(a.UID, b.UID))
	})
	p.Large = p.Large[:min(len(p.Large), maxGroups)]
}

func (p *PreflightStatus) addNote(n FolderNote) {
	if p.notes == nil {
		p.notes = make(map[FolderNote]int)
	}
	if p.notes[n] == 0 && len(p.notes) == maxGroupsInAll {
		p.More++
		return
	}
	p.notes[n]++
}

func (p *PreflightStatus) addSpoilt(s SpoiltDates) {
	key := fmt.Sprint(s.First, s.Last, s.Received)
	if p.spoilt == nil {
		p.spoilt = make(map[string]*SpoiltGroup)
	}
	g := p.spoilt[key]
	if g == nil && len(p.spoilt) == maxGroupsInAll {
		p.More++
		return
	}
	if g == nil {
		g = &SpoiltGroup{SpoiltDates: SpoiltDates{First: s.First, Last: s.Last, Received: s.Received}, Advice: spoiltAdvice(s.Received)}
		p.spoilt[key] = g
	}
	g.Mailboxes, g.Messages, g.Astray = g.Mailboxes+1, g.Messages+s.Messages, g.Astray+s.Astray
}

func spoiltAdvice(order ReceivedOrder) string {
	text := fmt.Sprintf("%q", order[0])
	if len(order) > 1 {
		text = fmt.Sprintf("[%q, %q]", order[0], order[1])
	}
	return fmt.Sprintf(`An earlier migration seems to have stored these messages with its own date. Set "received" to %s in endpoint.json and order the pre-flight again.`, text)
}

// finish puts the groups in order.
func (p *PreflightStatus) finish() {
	p.keepLargest()
	for _, g := range p.problems {
		p.Problems = append(p.Problems, *g)
	}
	slices.SortFunc(p.Problems, func(a, b ProblemGroup) int {
		return cmp.Or(b.Mailboxes-a.Mailboxes, cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Advice, b.Advice))
	})
	for n, mailboxes := range p.notes {
		p.Notes = append(p.Notes, NoteGroup{n, mailboxes})
	}
	slices.SortFunc(p.Notes, func(a, b NoteGroup) int {
		return cmp.Or(b.Mailboxes-a.Mailboxes, cmp.Compare(a.Folder, b.Folder), cmp.Compare(a.Target, b.Target), cmp.Compare(a.Text, b.Text))
	})
	for _, key := range slices.Sorted(maps.Keys(p.spoilt)) {
		p.Spoilt = append(p.Spoilt, *p.spoilt[key])
	}
	slices.SortStableFunc(p.Spoilt, func(a, b SpoiltGroup) int { return b.Astray - a.Astray })
	p.More += max(0, len(p.Notes)-maxGroups) + max(0, len(p.Spoilt)-maxGroups)
	p.Notes, p.Spoilt = p.Notes[:min(len(p.Notes), maxGroups)], p.Spoilt[:min(len(p.Spoilt), maxGroups)]
}

// loadLooked reads a checkpoint and, of a mailbox that was looked at and not moved, the report.
func loadLooked(ctx context.Context, s Store, id MailboxID) (*Checkpoint, *PreflightReport, error) {
	c, _, err := LoadCheckpoint(ctx, s, id)
	if err != nil || !c.Preflight.done() || !c.untouched() {
		return c, nil, err
	}
	r, _, err := LoadPreflight(ctx, s, id)
	if errors.Is(err, ErrNotFound) || KindOf(err) == Newer || KindOf(err) == Corrupt {
		return c, nil, nil // given up before there was one, or another program's
	}
	if err != nil || !r.Whole || r.Order != c.Preflight.Order {
		return c, nil, err
	}
	return c, r, nil
}
