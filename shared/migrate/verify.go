package migrate

import "time"

// Verification compares source, ledger and target, message by message.
type Verification struct {
	At       time.Time `json:"at"`                // when it began
	Source   int       `json:"source"`            // messages at the source then
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

// add sums up.
func (v *Verification) add(o Verification) {
	v.Source, v.Recorded, v.Closed = v.Source+o.Source, v.Recorded+o.Recorded, v.Closed+o.Closed
	v.Present, v.Moved, v.Absent = v.Present+o.Present, v.Moved+o.Moved, v.Absent+o.Absent
	v.Drafts, v.Doubles = v.Drafts+o.Drafts, v.Doubles+o.Doubles
}

// complete verifies the mailbox folder by folder, in as many runs as that takes, writes its report and ends its
// migration. Something new at the source is synced first, in another run.
func (m *mailboxRun) complete() error {
	m.cp.beginVerification()
	for _, folders := range m.cp.unverified() {
		whole, err := m.verify(folders)
		if err != nil {
			return err
		}
		if !whole {
			m.next = time.Now() // the next run lists what is new
			return nil
		}
		if err := m.afterStep(); err != nil {
			return err
		}
	}
	if err := m.seekAll(); err != nil {
		return err
	}
	return m.endVerification()
}

// beginVerification begins a verification, or goes on with the one that is under way.
func (c *Checkpoint) beginVerification() {
	verified := make(map[string]bool) // by target folder
	mixed := false
	for _, f := range c.Folders {
		before, known := verified[f.Target.ID]
		mixed = mixed || known && before != f.Verified && f.Target.ID != ""
		verified[f.Target.ID] = f.Verified
	}
	if c.Verifying != nil && !mixed {
		return
	}
	c.Verifying = &Verification{At: time.Now().UTC()}
	for _, f := range c.Folders {
		f.Verified, f.Missing = false, UIDSet{}
	}
}

// unverified returns the folders that are to be verified yet, those that share a folder of the target together.
func (c *Checkpoint) unverified() (groups [][]*FolderCursor) {
	byTarget := make(map[string]int)
	for _, f := range c.Folders {
		if f.Verified {
			continue
		}
		n, shared := byTarget[f.Target.ID]
		if !shared || f.Target.ID == "" {
			n, groups = len(groups), append(groups, nil)
			byTarget[f.Target.ID] = n
		}
		groups[n] = append(groups[n], f)
	}
	return groups
}

// verify compares the source's folders that come into one of the target with that. It reports whether there was
// nothing new.
func (m *mailboxRun) verify(folders []*FolderCursor) (whole bool, err error) {
	var v Verification
	for _, f := range folders {
		if f.Gone {
			continue
		}
		existing, err := m.survey(f)
		shut := err != nil && Judge(err, 0).Action == SkipFolder
		switch {
		case f.givenUp() && (err == nil || shut):
			v.Closed++
			continue
		case shut || err == nil && (m.cp.Verifying == nil || !existing.Minus(f.Done).Empty()):
			f.Known = FolderState{} // the next sync lists it, whatever its state
			return false, err
		case err != nil:
			return false, err
		}
		v.Source += existing.Len()
		v.Recorded += existing.And(f.Done).Len()
	}
	missing, err := m.compare(&v, folders)
	if err != nil {
		return false, err
	}
	for _, f := range folders {
		f.Verified, f.Missing = true, missing[f]
	}
	m.cp.Verifying.add(v)
	return true, nil
}

// endVerification writes the report and ends the migration.
func (m *mailboxRun) endVerification() error {
	c := m.cp
	state := Completed
	if !c.Verifying.Clean() || c.Counts().Failed > 0 {
		state = CompletedWithWarnings
	}
	if err := m.report(state, c.Verifying); err != nil {
		return err
	}
	c.State, c.Verified, c.Verifying = state, c.Verifying, nil
	for _, f := range c.Folders {
		f.Verified = false
	}
	return nil
}

// saveEvery is how often a verification is saved.
const saveEvery = 30 * time.Second

// afterStep ends the run where its budget is used up; each makes one step at least. A death costs no more than the
// last steps.
func (m *mailboxRun) afterStep() error {
	if m.soft.Err() != nil {
		return errBudget
	}
	if time.Since(m.cp.Since) < saveEvery {
		return nil
	}
	return m.save()
}
