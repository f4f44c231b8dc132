package migrate

// brought is a message that the ledger says the target has.
type brought struct {
	folder *FolderCursor
	uid    UID
	draft  bool
}

// strangers are messages of a target folder that no record names by its key, by the received second.
type strangers map[int64][]Found

func (s strangers) add(x Found) {
	second := x.Fingerprint.Received.Unix()
	s[second] = append(s[second], x)
}

// take takes out one that can be one of these twins.
func (s strangers) take(g *twins) (x Found, ok bool) {
	for _, p := range g.prints {
		if !p.Received.IsZero() {
			if x, ok = s.takeAt(p.Received.Unix(), g); ok {
				return x, ok
			}
			continue
		}
		for second := range s {
			if x, ok = s.takeAt(second, g); ok {
				return x, ok
			}
		}
	}
	return x, false
}

func (s strangers) takeAt(second int64, g *twins) (x Found, ok bool) {
	for i, x := range s[second] {
		if g.matches(x.Fingerprint) {
			s[second] = append(s[second][:i:i], s[second][i+1:]...)
			return x, true
		}
	}
	return x, false
}

// compare matches what was brought into one target folder with what is there, and returns what is missing.
func (m *mailboxRun) compare(v *Verification, folders []*FolderCursor) (missing map[*FolderCursor]UIDSet, err error) {
	want := make(map[string][]brought)
	for _, f := range folders {
		if f.Target.ID == "" {
			continue
		}
		err := readLedger(m.ctx, m.Store, m.cp.Mailbox.ID, f, func(r Record) {
			if r.arrived() && r.Key != "" {
				want[r.Key] = append(want[r.Key], brought{f, r.UID, HasFlag(r.Flags, Draft)})
			}
		})
		if err != nil {
			return nil, err
		}
	}
	if len(want) == 0 {
		return nil, nil
	}
	others := make(strangers)
	err = m.target.List(m.ctx, folders[0].Target, func(x Found) error {
		key := x.Fingerprint.Key()
		left, known := want[key]
		switch {
		case len(left) > 0:
			v.see(left[len(left)-1].draft, x)
			want[key] = left[:len(left)-1]
		case known:
			v.Doubles++
		default:
			others.add(x)
		}
		return nil
	})
	if err != nil && KindOf(err) != NoFolder { // users may have deleted it
		return nil, err
	}
	return m.compareRest(v, want, others)
}

func (v *Verification) see(draft bool, x Found) {
	v.Present++
	if x.Draft && !draft {
		v.Drafts++
	}
}

// compareRest takes what had no equal by key. Messages without a Message-ID or a date, to which the
// target gave one, are among the strangers; the others were moved or deleted by users.
func (m *mailboxRun) compareRest(v *Verification, want map[string][]brought, others strangers) (map[*FolderCursor]UIDSet, error) {
	rest, drafts := make(map[*FolderCursor][]UID), make(map[*FolderCursor][]UID)
	for _, list := range want {
		for _, b := range list {
			rest[b.folder] = append(rest[b.folder], b.uid)
			if b.draft {
				drafts[b.folder] = append(drafts[b.folder], b.uid)
			}
		}
	}
	missing := make(map[*FolderCursor]UIDSet)
	for f, list := range rest {
		uids, draft := UIDsOf(list...), UIDsOf(drafts[f]...)
		for !uids.Empty() {
			part := uids.Newest(measuredAtOnce * m.Limits.WindowMessages)
			groups, gone, err := m.readTwinsIfOpen(f, part)
			if err != nil {
				return nil, err
			}
			v.Absent += gone.Len() // nothing is left to compare with
			for _, g := range groups {
				left := missing[f]
				left.Union(v.place(g, draft, others))
				missing[f] = left
			}
			uids = uids.Minus(part)
		}
	}
	return missing, nil
}

// readTwinsIfOpen is readTwins. Of a folder that is given up nothing comes.
func (m *mailboxRun) readTwinsIfOpen(f *FolderCursor, uids UIDSet) (groups []*twins, missing UIDSet, err error) {
	groups, missing, err = m.readTwins(f, uids)
	if err != nil && f.givenUp() && Judge(err, 0).Action == SkipFolder {
		return nil, uids, nil
	}
	return groups, missing, err
}

// place takes these twins out of the strangers and returns those that are not among them.
func (v *Verification) place(g *twins, drafts UIDSet, others strangers) (missing UIDSet) {
	for _, i := range g.messages {
		if x, ok := others.take(g); ok {
			v.see(drafts.Contains(i.UID), x)
		} else {
			missing.Add(i.UID)
		}
	}
	return missing
}
