package migrate

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

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
	Notes        []FolderNote   `json:"notes,omitempty"`
	Exceptions   []Exception    `json:"exceptions"`
}

// FolderReport is one folder's line.
type FolderReport struct {
	Source []string `json:"source"`
	Target []string `json:"target"`
	Total  int      `json:"total"`
	Counts Counts   `json:"counts"`
	// LeftOut counts what the endpoint's filter left out, by reason.
	LeftOut map[string]int `json:"leftOut,omitempty"`
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

// report writes the report of a mailbox that is in that state from now on.
func (m *mailboxRun) report(state State, v *Verification) error {
	c := m.cp
	r := Report{Version: 1, Mailbox: c.Mailbox, State: state, Counts: c.Counts(), Started: c.Started, Ended: c.Ended, Active: c.Active, Verification: v, Notes: c.Notes}
	for _, f := range c.Folders {
		line := FolderReport{Source: f.Path, Target: f.Target.Path, Total: f.Total, Counts: f.Counts, LeftOut: make(map[string]int)}
		skipped := f.skipped()
		err := readLedger(m.ctx, m.Store, c.Mailbox.ID, f, func(rec Record) {
			switch {
			case (rec.Outcome == LeftOut || rec.Outcome == Skipped) && f.Freed.Contains(rec.UID) && !skipped.Contains(rec.UID):
				// another message has the UID, or nobody
			case rec.Outcome == LeftOut:
				line.LeftOut[rec.Reason]++
			case !rec.arrived():
				r.Exceptions = append(r.Exceptions, Exception{f.Name, rec.UID, rec.Outcome, rec.Reason})
			}
		})
		if err != nil {
			return err
		}
		for uid := range f.Doubled.Descending {
			r.Exceptions = append(r.Exceptions, Exception{f.Name, uid, Migrated, "the target has it twice: the answer to a first request got lost, and it acted after the longest request time"})
		}
		r.Folders = append(r.Folders, line)
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
