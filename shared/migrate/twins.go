package migrate

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
)

// twins are messages of one folder with equal fingerprints: one for each order of received dates by which
// they may have been written, the present one first.
type twins struct {
	prints   []Fingerprint
	keys     []string // of the prints
	messages []MessageInfo
	found    []string // keys of copies at the target that no ledger record stands for, one for each message that has one
	anywhere bool     // a copy is somewhere, and that is enough
}

// prints are the fingerprints that a message may have at the target.
func (m *mailboxRun) prints(info MessageInfo, header []byte) []Fingerprint {
	first := ReadFingerprint(header, m.endpoint.Received.Of(info.Received, header), m.Words)
	all := []Fingerprint{first}
	for _, order := range m.cp.Received {
		print := first
		print.Received = order.Of(info.Received, header)
		if print = print.Normal(); !hasKey(all, print.Key()) {
			all = append(all, print)
		}
	}
	return all
}

func hasKey(prints []Fingerprint, key string) bool {
	for _, p := range prints {
		if p.Key() == key {
			return true
		}
	}
	return false
}

// matches reports whether a message of the target can be one of these.
func (g *twins) matches(x Fingerprint) bool {
	for _, p := range g.prints {
		if p.Matches(x) {
			return true
		}
	}
	return false
}

// findable reports whether anything of the messages tells where to look for them.
func (g *twins) findable() bool { return slices.ContainsFunc(g.prints, Fingerprint.findable) }

// readTwins groups messages of a folder by fingerprint. Those that do not come are told apart.
func (m *mailboxRun) readTwins(f *FolderCursor, uids UIDSet) (groups []*twins, missing UIDSet, err error) {
	if f.Gone {
		return nil, uids, nil
	}
	if err := m.reopen(f); err != nil {
		return nil, UIDSet{}, err
	}
	byKeys := make(map[string]*twins)
	missing = uids
	asked, anew := f.anchored(), false
	asked.Union(uids)
	err = m.source.Headers(m.ctx, asked, func(info MessageInfo, header []byte) error {
		if mark := f.Anchors[info.UID]; mark != "" && mark != info.mark() {
			anew = true
		}
		if !uids.Contains(info.UID) {
			return nil
		}
		missing = missing.Minus(UIDsOf(info.UID))
		info.Flags = without(info.Flags, Deleted)
		prints := m.prints(info, header)
		keys := make([]string, len(prints))
		for n, p := range prints {
			keys[n] = p.Key()
		}
		g := byKeys[strings.Join(keys, " ")]
		if g == nil {
			g = &twins{prints: prints, keys: keys}
			byKeys[strings.Join(keys, " ")] = g
			groups = append(groups, g)
		}
		g.messages = append(g.messages, info)
		return nil
	})
	if err == nil && anew {
		err = m.stillMeans(f)
	}
	return groups, missing, err
}

// copies counts copies at the target, by key and folder.
type copies map[string]map[string]int

// match finds the target's copies of each group: those that no ledger record stands for, or any for a
// folder that shows what other folders hold. A copy in a folder that is in doubt itself is left to that
// folder's own look-up. Records of a folder that the source does not list any more stand for nothing
// there: it may have been renamed, and its copies are those of its new name.
func (m *mailboxRun) match(groups []*twins, intent *Intent) error {
	if intent.Anywhere { // mostly its own folder has brought it
		arrived, err := m.allArrived()
		if err != nil {
			return err
		}
		for _, g := range groups {
			g.anywhere = slices.ContainsFunc(g.keys, func(key string) bool { return len(arrived.of(key)) > 0 })
		}
	}
	there, err := m.findAll(slices.DeleteFunc(slices.Clone(groups), func(g *twins) bool { return g.anywhere }))
	if err != nil {
		return err
	}
	sharers := make(map[string]int)
	for _, g := range groups {
		for _, key := range g.keys {
			sharers[key]++
			g.anywhere = g.anywhere || intent.Anywhere && len(there[key]) > 0
		}
	}
	if intent.Anywhere || len(there) == 0 {
		return nil
	}
	free, err := m.free(there, intent)
	if err != nil {
		return err
	}
	for _, shared := range []bool{false, true} { // first what nobody else can be
		for _, g := range groups {
			for _, key := range g.keys {
				for (sharers[key] > 1) == shared && free[key] > 0 && len(g.found) < len(g.messages) {
					g.found = append(g.found, key)
					free[key]--
				}
			}
		}
	}
	return nil
}

// free takes the copies that ledger records stand for from those that are there, and adds up the rest.
func (m *mailboxRun) free(there copies, intent *Intent) (map[string]int, error) {
	arrived, err := m.allArrived()
	if err != nil {
		return nil, err
	}
	others, free := m.othersInDoubt(intent), make(map[string]int)
	for key, at := range there {
		for _, x := range arrived.of(key) {
			if !x.folder.Unlisted {
				at[x.folder.Target.ID]--
			}
		}
		for folder, n := range at {
			if n < 0 || !others[folder] {
				free[key] += n
			}
		}
	}
	return free, nil
}

// othersInDoubt returns the target folders of other intents, and those of cursors that started over and whose
// messages may come back: no record stands for what they brought.
func (m *mailboxRun) othersInDoubt(intent *Intent) map[string]bool {
	own := m.cp.folder(intent.Folder).Target.ID
	others := make(map[string]bool)
	for _, i := range m.cp.Doubtful {
		if f := m.cp.folder(i.Folder); f != nil && f.Target.ID != own {
			others[f.Target.ID] = true
		}
	}
	for _, f := range m.cp.Folders {
		if f.Target.ID != own && f.Ledger.Generation > 0 && !f.Freed.Minus(f.Done).Empty() {
			others[f.Target.ID] = true
		}
	}
	return others
}

// lookUps is how many look-ups at the target are made at once: as many requests as Graph takes of one
// application for one mailbox.
const lookUps = 4

// findAll counts the copies of groups at the target.
func (m *mailboxRun) findAll(groups []*twins) (copies, error) {
	var mu sync.Mutex
	var first error
	all, next := make(copies), 0
	take := func() *twins {
		mu.Lock()
		defer mu.Unlock()
		if first != nil || next == len(groups) {
			return nil
		}
		next++
		return groups[next-1]
	}
	var workers sync.WaitGroup
	for range min(lookUps, len(groups)) {
		workers.Go(func() {
			for g := take(); g != nil; g = take() {
				there := make(copies)
				err := m.find(g, there)
				mu.Lock()
				maps.Copy(all, there)
				first = cmp.Or(first, err)
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	return all, first
}

// find counts the copies of a group at the target.
func (m *mailboxRun) find(g *twins, there copies) error {
	counted := make(map[string]bool) // a Message-ID finds what has it, whatever the date
	for n, print := range g.prints {
		if !print.findable() {
			continue
		}
		at := make(map[string]int)
		err := m.target.Find(m.ctx, print, func(x Found) error {
			if print.Matches(x.Fingerprint) && !counted[x.ID] {
				counted[x.ID] = true
				at[x.FolderID]++
			}
			return nil
		})
		if err != nil {
			return err
		}
		if len(at) > 0 {
			there[g.keys[n]] = at
		}
	}
	return nil
}
