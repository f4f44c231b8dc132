package migrate

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// PreflightVersion is the format of a PreflightReport.
const PreflightVersion = 1

// PreflightReport is what pre-flight found out about a mailbox.
type PreflightReport struct {
	Version int            `json:"v"`
	Mailbox MailboxID      `json:"mailbox"`
	Order   string         `json:"order,omitempty"`  // Preflight.Order
	Under   string         `json:"under,omitempty"`  // sum of the endpoint's settings and UserRoot
	Waited  Duration       `json:"waited,omitempty"` // of the patience with sizes
	At      time.Time      `json:"at"`
	Whole   bool           `json:"whole"` // false: the next run goes on
	Folders []LookedFolder `json:"folders"`
	Notes   []FolderNote   `json:"notes,omitempty"`  // about folders that are not listed singly
	Spoilt  []SpoiltDates  `json:"spoilt,omitempty"` // by a sample of all folders
	Problem *Problem       `json:"problem,omitempty"`

	SizesAsked bool `json:"sizesAsked,omitempty"` // each folder's Sized says what came of it
}

// LookedFolder is a folder of a PreflightReport.
type LookedFolder struct {
	Name   string `json:"name"`             // as SourceFolder has it
	Path   string `json:"path"`             // segments joined by "/"
	Target string `json:"target,omitempty"` // where it goes; empty: it stays behind
	Change Change `json:"change,omitempty"`
	Note   string `json:"note,omitempty"`
	View   bool   `json:"view,omitempty"` // shows what other folders hold
	Extent
	Sized   bool           `json:"sized,omitempty"`   // Octets is the server's word for the folder (RFC 8438)
	Sampled int            `json:"sampled,omitempty"` // messages whose header was read
	Days    []ReceivedDay  `json:"days,omitempty"`    // of the sample, those with messages astray
	Large   []LargeMessage `json:"large,omitempty"`   // those of TooLarge, the largest first
	Alike   string         `json:"alike,omitempty"`   // of UIDVALIDITY and UIDs
	Print   string         `json:"print,omitempty"`   // of some messages
	Trouble string         `json:"trouble,omitempty"` // why it could not be looked into
	Breaks  int            `json:"breaks,omitempty"`  // connections that broke over it
	Looked  bool           `json:"looked,omitempty"`

	state FolderState // as the server told it; zero if it did not
}

// PreflightName is the blob of a mailbox's PreflightReport.
func PreflightName(id MailboxID) string { return "preflights/" + string(id) + ".json" }

// LoadPreflight reads a mailbox's report. None is ErrNotFound, one that cannot be read a *Error of kind
// Newer or Corrupt, which comes with the version.
func LoadPreflight(ctx context.Context, s Store, id MailboxID) (*PreflightReport, ETag, error) {
	content, tag, err := s.Get(ctx, PreflightName(id))
	if err != nil {
		return nil, "", fmt.Errorf("load pre-flight report: %w", err)
	}
	r := new(PreflightReport)
	err = json.Unmarshal(content, r)
	switch {
	case err == nil && r.Version > PreflightVersion:
		return nil, tag, &Error{Op: "load pre-flight report", Kind: Newer, Err: fmt.Errorf("version %d, this program knows %d", r.Version, PreflightVersion)}
	case err == nil && (r.Version < 1 || r.Mailbox != id):
		err = errors.New("no version, or another mailbox")
	}
	if err != nil {
		return nil, tag, &Error{Op: "load pre-flight report", Kind: Corrupt, Err: err}
	}
	return r, tag, nil
}

// lookout is what a run of pre-flight has in its hands.
type lookout struct {
	order  string
	report *PreflightReport
	tag    ETag      // of the stored report; empty: there is none
	news   bool      // the stored report has not got
	kept   time.Time // when it was stored, or taken up
}

// keepLookEvery is how much of a look is lost at most by a process that dies, but for its last folder.
const keepLookEvery = time.Minute

// trustLook is how old a whole report may be that a run takes up because its checkpoint got lost.
const trustLook = time.Hour

// look is a run of pre-flight: it finds out what the source has and where it would go, and moves
// nothing. What is found by the end of the budget is kept for the next run. The target's half, once
// there is one, stands behind the source's.
func (m *mailboxRun) look() (err error) {
	if m.looking.report == nil {
		if err := m.takeUpLook(); err != nil {
			return err
		}
	}
	if err := m.connectSource(); err != nil {
		return err
	}
	collision, err := m.lookAtSource()
	if err != nil {
		return cmp.Or(m.keepLook(), err)
	}
	return m.finishLook(collision)
}

// takeUpLook loads what a predecessor found in answer to the same order, and under the same settings.
func (m *mailboxRun) takeUpLook() error {
	settings, err := json.Marshal(m.endpoint)
	if err != nil {
		return fmt.Errorf("write the endpoint's settings: %w", err)
	}
	under := shortSum(string(settings), m.cp.Mailbox.UserRoot)
	l, id := m.looking, m.cp.Mailbox.ID
	r, tag, err := LoadPreflight(m.ctx, m.Store, id)
	if err != nil && !errors.Is(err, ErrNotFound) && KindOf(err) != Corrupt {
		return err
	}
	if err != nil || r.Order != l.order || r.Under != under || r.Whole && time.Since(r.At) > trustLook {
		r = &PreflightReport{Version: PreflightVersion, Mailbox: id, Order: l.order, Under: under}
	}
	l.report, l.tag, l.kept = r, tag, time.Now()
	return nil
}

// lookAtSource looks at each folder that was not looked at yet. A mapping that collides is returned: the
// folders are looked at all the same.
func (m *mailboxRun) lookAtSource() (collision, err error) {
	listed, err := m.source.Folders(m.ctx)
	if err != nil {
		return nil, err
	}
	rules, err := m.endpoint.FolderRules.compile()
	if err != nil {
		return nil, &Error{Op: "read folder rules", Kind: Configuration, Err: err}
	}
	l, collision := layOut(listed, rules, nil)
	r := m.looking.report
	r.list(listed, l, rules)
	total, err := m.countFolders()
	if err != nil {
		return nil, err
	}
	if err := m.askSizes(); err != nil {
		return nil, err
	}
	return collision, m.lookIntoAll(total)
}

// lookIntoAll looks into the folders that come, as far as that was not done.
func (m *mailboxRun) lookIntoAll(total int) error {
	for i := range m.looking.report.Folders {
		f := &m.looking.report.Folders[i]
		if f.Looked {
			continue
		}
		m.mindRoom(nil)
		if m.soft.Err() != nil {
			return errBudget
		}
		if err := m.lookInto(f, total); err != nil {
			return err
		}
		f.Looked, m.looking.news = true, true
		if time.Since(m.looking.kept) >= keepLookEvery {
			if err := m.keepLook(); err != nil {
				return err
			}
			if err := m.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// keepLook stores what was found so far, if that is more than is stored.
func (m *mailboxRun) keepLook() error {
	l, c := m.looking, m.cp
	if !l.news || m.lost() {
		return nil
	}
	l.report.At = time.Now().UTC()
	content, err := json.Marshal(l.report)
	if err != nil {
		return fmt.Errorf("write pre-flight report: %w", err)
	}
	ctx, name := context.WithoutCancel(m.base), PreflightName(c.Mailbox.ID)
	tag, err := m.Store.Put(ctx, name, content, nil, Condition{Absent: l.tag == "", Match: l.tag})
	if errors.Is(err, ErrConflict) {
		// A write of ours whose answer got lost may stand there; any other is of a run that has not ended yet.
		stored, now, getErr := m.Store.Get(ctx, name)
		if getErr == nil && string(stored) == string(content) {
			tag, err = now, nil
		}
	}
	if err != nil {
		return fmt.Errorf("write pre-flight report: %w", err)
	}
	l.tag, l.news, l.kept = tag, false, time.Now()
	c.Deaths, c.Restores, c.Failures = 0, 0, 0
	return nil
}

// finishLook writes the report and its sum into the checkpoint, where the mailbox waits for the start.
func (m *mailboxRun) finishLook(collision error) error {
	r := m.looking.report
	var days []ReceivedDay
	for _, f := range r.Folders {
		days = append(days, f.Days...)
	}
	r.Whole, r.Spoilt, r.Problem = true, FindSpoiltDates(days), nil
	if collision != nil {
		r.Problem = problemOf(collision)
	}
	m.looking.news = true
	if err := m.keepLook(); err != nil {
		return err
	}
	m.finding, m.next = r.Problem, time.Now()
	m.cp.Preflight = r.sum()
	return nil
}

// sum is what the checkpoint has of a report.
func (r *PreflightReport) sum() *Preflight {
	p := &Preflight{At: r.At, Order: r.Order}
	for _, f := range r.Folders {
		switch f.Change {
		case Renamed:
			p.Renamed++
		case Merged:
			p.Merged++
		case FolderLeft:
			p.LeftOut++
			continue
		}
		p.Folders++
		if f.View {
			p.Shown += f.Messages
		} else {
			p.plus(f.Extent)
		}
	}
	for _, s := range r.Spoilt {
		p.Astray += s.Astray
	}
	return p
}
