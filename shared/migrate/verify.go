package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// Verification compares source, ledger and target, message by message.
type Verification struct {
	At       time.Time `json:"at"`
	Source   int       `json:"source"`            // messages at the source now
	Recorded int       `json:"recorded"`          // of them, with an outcome
	Present  int       `json:"present"`           // brought over and in their folder
	Moved    int       `json:"moved,omitempty"`   // brought over and now elsewhere in the mailbox
	Absent   int       `json:"absent,omitempty"`  // brought over and not found any more
	Drafts   int       `json:"drafts,omitempty"`  // shown as drafts although they are none
	Doubles  int       `json:"doubles,omitempty"` // more copies than were brought over
}

// Clean reports whether nothing is left to say.
func (v *Verification) Clean() bool {
	return v.Source == v.Recorded && v.Absent == 0 && v.Drafts == 0 && v.Doubles == 0
}

// complete verifies the mailbox, writes its report and ends its migration.
func (m *mailboxRun) complete() error {
	v := &Verification{At: time.Now().UTC()}
	targets := make(map[string][]*FolderCursor) // several source folders may share one
	for _, f := range m.cp.Folders {
		v.Source += f.Total
		existing, err := m.survey(f)
		if err != nil {
			return err
		}
		v.Recorded += existing.And(f.Done).Len()
		if f.Target.ID != "" {
			targets[f.Target.ID] = append(targets[f.Target.ID], f)
		}
	}
	for _, folders := range targets {
		if err := m.compare(v, folders); err != nil {
			return err
		}
	}
	m.cp.Verified = v
	counts := m.cp.Counts()
	m.cp.State = Completed
	if !v.Clean() || counts.Failed > 0 {
		m.cp.State = CompletedWithWarnings
	}
	return m.report()
}

// brought is a message that the ledger says the target has.
type brought struct {
	folder *FolderCursor
	record Record
}

// compare matches what was brought into one target folder with what is there.
func (m *mailboxRun) compare(v *Verification, folders []*FolderCursor) error {
	want, known := make(map[string][]brought), make(map[string]bool)
	for _, f := range folders {
		err := readLedger(m.ctx, m.Store, m.cp.Mailbox.ID, f.Key, f.Ledger, func(r Record) {
			if r.arrived() {
				want[r.Key] = append(want[r.Key], brought{f, r})
				known[r.Key] = true
			}
		})
		if err != nil {
			return err
		}
	}
	var strangers []Found
	err := m.target.List(m.ctx, folders[0].Target, func(x Found) error {
		key := x.Fingerprint.Key()
		switch left := want[key]; {
		case len(left) > 0:
			v.see(left[len(left)-1].record, x)
			want[key] = left[:len(left)-1]
		case known[key]:
			v.Doubles++
		default:
			strangers = append(strangers, x)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.compareRest(v, want, strangers)
}

func (v *Verification) see(r Record, x Found) {
	v.Present++
	if x.Draft && !HasFlag(r.Flags, Draft) {
		v.Drafts++
	}
}

// compareRest looks for what had no equal by key: messages without a Message-ID or a date, to which
// the target gave one, and messages that users moved or deleted meanwhile.
func (m *mailboxRun) compareRest(v *Verification, want map[string][]brought, strangers []Found) error {
	rest := make(map[*FolderCursor]map[UID]Record)
	for _, list := range want {
		for _, b := range list {
			if rest[b.folder] == nil {
				rest[b.folder] = make(map[UID]Record)
			}
			rest[b.folder][b.record.UID] = b.record
		}
	}
	for f, records := range rest {
		var uids UIDSet
		for u := range records {
			uids.Add(u)
		}
		if _, err := m.source.Open(m.ctx, f.Name); err != nil {
			return err
		}
		groups, gone, err := m.fingerprints(uids)
		if err != nil {
			return err
		}
		v.Absent += gone.Len() // nothing is left to compare with
		for _, g := range groups {
			if strangers, err = m.place(v, g, records, strangers); err != nil {
				return err
			}
		}
	}
	return nil
}

// place finds each of these twins in its folder, else anywhere in the mailbox.
func (m *mailboxRun) place(v *Verification, g *twins, records map[UID]Record, strangers []Found) ([]Found, error) {
	left := g.uids
	for i := 0; i < len(strangers) && len(left) > 0; {
		if !g.print.Matches(strangers[i].Fingerprint) {
			i++
			continue
		}
		v.see(records[left[0]], strangers[i])
		left = left[1:]
		strangers = append(strangers[:i], strangers[i+1:]...)
	}
	if len(left) == 0 {
		return strangers, nil
	}
	found := 0
	err := m.target.Find(m.ctx, g.print, func(x Found) error {
		if g.print.Matches(x.Fingerprint) {
			found++
		}
		return nil
	})
	moved := min(found, len(left))
	v.Moved, v.Absent = v.Moved+moved, v.Absent+len(left)-moved
	return strangers, err
}

// Report is what remains of a mailbox's migration for the administrator.
type Report struct {
	Version      int            `json:"v"`
	Mailbox      Mailbox        `json:"mailbox"`
	State        State          `json:"state"`
	Counts       Counts         `json:"counts"`
	Started      time.Time      `json:"started"`
	Ended        time.Time      `json:"ended"`
	Active       Duration       `json:"active"`
	Verification *Verification  `json:"verification"`
	Folders      []FolderReport `json:"folders"`
	Exceptions   []Exception    `json:"exceptions"`
}

// FolderReport is one folder's line.
type FolderReport struct {
	Source []string `json:"source"`
	Target []string `json:"target"`
	Total  int      `json:"total"`
	Counts Counts   `json:"counts"`
}

// Exception is a message that was not brought over, with the reason.
type Exception struct {
	Folder  string  `json:"folder"`
	UID     UID     `json:"uid"`
	Outcome Outcome `json:"outcome"`
	Reason  string  `json:"reason"`
}

// ReportName is the blob of a mailbox's report.
func ReportName(id MailboxID) string { return "reports/" + string(id) + ".json" }

func (m *mailboxRun) report() error {
	c := m.cp
	r := Report{Version: 1, Mailbox: c.Mailbox, State: c.State, Counts: c.Counts(), Started: c.Started, Ended: c.Ended, Active: c.Active, Verification: c.Verified}
	for _, f := range c.Folders {
		r.Folders = append(r.Folders, FolderReport{Source: f.Path, Target: f.Target.Path, Total: f.Total, Counts: f.Counts})
		err := readLedger(m.ctx, m.Store, c.Mailbox.ID, f.Key, f.Ledger, func(rec Record) {
			if !rec.arrived() {
				r.Exceptions = append(r.Exceptions, Exception{f.Name, rec.UID, rec.Outcome, rec.Reason})
			}
		})
		if err != nil {
			return err
		}
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err == nil {
		_, err = m.Store.Put(context.WithoutCancel(m.base), ReportName(c.Mailbox.ID), content, nil, Condition{})
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
