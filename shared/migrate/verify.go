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
	Closed   int       `json:"closed,omitempty"`  // folders that could not be opened or listed whole, or not made at the target
}

// Clean reports whether nothing is left to say.
func (v *Verification) Clean() bool {
	return v.Source == v.Recorded && v.Absent == 0 && v.Drafts == 0 && v.Doubles == 0 && v.Closed == 0
}

// complete verifies the mailbox, writes its report and ends its migration. Something new at the
// source is synced first, in another run.
func (m *mailboxRun) complete() error {
	v := &Verification{At: time.Now().UTC()}
	targets := make(map[string][]*FolderCursor) // several source folders may share one
	for _, f := range m.cp.Folders {
		if f.Target.ID != "" {
			targets[f.Target.ID] = append(targets[f.Target.ID], f)
		}
		if f.Gone {
			continue
		}
		existing, err := m.survey(f)
		if f.givenUp() && (err == nil || Judge(err, 0).Action == SkipFolder) {
			v.Closed++
			continue
		}
		if err != nil {
			return err
		}
		if !existing.Minus(f.Done).Empty() {
			f.Known, m.next = FolderState{}, time.Now() // the next run lists it, whatever its state
			return nil
		}
		v.Source += existing.Len()
		v.Recorded += existing.And(f.Done).Len()
	}
	missing := make(map[string]*twins)
	for _, folders := range targets {
		if err := m.compare(v, folders, missing); err != nil {
			return err
		}
	}
	if err := m.seek(v, missing); err != nil {
		return err
	}
	m.cp.Verified = v
	m.cp.State = Completed
	if !v.Clean() || m.cp.Counts().Failed > 0 {
		m.cp.State = CompletedWithWarnings
	}
	return m.report()
}

// brought is a message that the ledger says the target has.
type brought struct {
	folder *FolderCursor
	record Record
}

// compare matches what was brought into one target folder with what is there, and adds what is not
// to missing.
func (m *mailboxRun) compare(v *Verification, folders []*FolderCursor, missing map[string]*twins) error {
	want := make(map[string][]brought)
	for _, f := range folders {
		err := readLedger(m.ctx, m.Store, m.cp.Mailbox.ID, f, func(r Record) {
			if r.arrived() && r.Key != "" {
				want[r.Key] = append(want[r.Key], brought{f, r})
			}
		})
		if err != nil {
			return err
		}
	}
	if len(want) == 0 {
		return nil
	}
	var strangers []Found
	err := m.target.List(m.ctx, folders[0].Target, func(x Found) error {
		key := x.Fingerprint.Key()
		left, known := want[key]
		switch {
		case len(left) > 0:
			v.see(left[len(left)-1].record.Flags, x)
			want[key] = left[:len(left)-1]
		case known:
			v.Doubles++
		default:
			strangers = append(strangers, x)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.compareRest(v, want, strangers, missing)
}

func (v *Verification) see(flags []Flag, x Found) {
	v.Present++
	if x.Draft && !HasFlag(flags, Draft) {
		v.Drafts++
	}
}

// compareRest takes what had no equal by key. Messages without a Message-ID or a date, to which the
// target gave one, are among the strangers; the others were moved or deleted by users.
func (m *mailboxRun) compareRest(v *Verification, want map[string][]brought, strangers []Found, missing map[string]*twins) error {
	rest := make(map[*FolderCursor]UIDSet)
	flags := make(map[*FolderCursor]map[UID][]Flag)
	for _, list := range want {
		for _, b := range list {
			uids := rest[b.folder]
			uids.Add(b.record.UID)
			rest[b.folder] = uids
			if flags[b.folder] == nil {
				flags[b.folder] = make(map[UID][]Flag)
			}
			flags[b.folder][b.record.UID] = b.record.Flags
		}
	}
	for f, uids := range rest {
		groups, gone, err := m.readTwins(f, uids)
		if err != nil {
			return err
		}
		v.Absent += gone.Len() // nothing is left to compare with
		for _, g := range groups {
			strangers = v.place(g, flags[f], strangers)
			if len(g.messages) == 0 {
				continue
			}
			if all := missing[g.keys[0]]; all != nil {
				all.messages = append(all.messages, g.messages...)
			} else {
				missing[g.keys[0]] = g
			}
		}
	}
	return nil
}

// place takes those of these twins that are among the strangers from both.
func (v *Verification) place(g *twins, flags map[UID][]Flag, strangers []Found) []Found {
	rest := strangers[:0]
	for _, x := range strangers {
		if len(g.messages) == 0 || !g.matches(x.Fingerprint) {
			rest = append(rest, x)
			continue
		}
		v.see(flags[g.messages[0].UID], x)
		g.messages = g.messages[1:]
	}
	return rest
}

// seek finds what is not in its folder elsewhere in the mailbox. Copies that other records stand for
// do not count.
func (m *mailboxRun) seek(v *Verification, missing map[string]*twins) error {
	if len(missing) == 0 {
		return nil
	}
	free, byKey := make(map[*twins]int), make(map[string]*twins)
	for _, g := range missing {
		there := make(copies)
		if err := m.find(g, there); err != nil {
			return err
		}
		free[g] = len(g.messages)
		for _, key := range g.keys {
			byKey[key] = g
			for _, n := range there[key] {
				free[g] += n
			}
		}
	}
	err := m.eachArrived(func(_ *FolderCursor, r Record) {
		if g := byKey[r.Key]; g != nil {
			free[g]--
		}
	})
	if err != nil {
		return err
	}
	for _, g := range missing {
		moved := max(0, min(free[g], len(g.messages)))
		v.Moved += moved
		v.Absent += len(g.messages) - moved
	}
	return nil
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

func (m *mailboxRun) report() error {
	c := m.cp
	r := Report{Version: 1, Mailbox: c.Mailbox, State: c.State, Counts: c.Counts(), Started: c.Started, Ended: c.Ended, Active: c.Active, Verification: c.Verified, Notes: c.Notes}
	for _, f := range c.Folders {
		line := FolderReport{Source: f.Path, Target: f.Target.Path, Total: f.Total, Counts: f.Counts, LeftOut: make(map[string]int)}
		err := readLedger(m.ctx, m.Store, c.Mailbox.ID, f, func(rec Record) {
			switch {
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
