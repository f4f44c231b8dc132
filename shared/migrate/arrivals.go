package migrate

import (
	"slices"
	"sort"
	"strconv"
)

// arrivals are what the ledgers say the target has, by fingerprint. They are read once in a run; a
// message of before the run takes 16 octets, so that a million take 16 MB.
type arrivals struct {
	cursors []*FolderCursor
	keys    []uint64 // in order
	folders []uint32 // of each key, its place in cursors
	uids    []UID    // likewise
	fresh   map[uint64][]arrival
}

// arrival is a message that the target has.
type arrival struct {
	folder *FolderCursor
	uid    UID
}

func (a *arrivals) Len() int           { return len(a.keys) }
func (a *arrivals) Less(i, j int) bool { return a.keys[i] < a.keys[j] }
func (a *arrivals) Swap(i, j int) {
	a.keys[i], a.keys[j] = a.keys[j], a.keys[i]
	a.folders[i], a.folders[j] = a.folders[j], a.folders[i]
	a.uids[i], a.uids[j] = a.uids[j], a.uids[i]
}

// add takes in what the run has brought since.
func (a *arrivals) add(f *FolderCursor, records []Record) {
	for _, r := range records {
		if key, ok := r.arrivedAs(); ok {
			a.fresh[key] = append(a.fresh[key], arrival{f, r.UID})
		}
	}
}

// of returns the messages with the fingerprint of this key.
func (a *arrivals) of(text string) []arrival {
	key, _ := strconv.ParseUint(text, 16, 64)
	all := slices.Clone(a.fresh[key])
	for i, _ := slices.BinarySearch(a.keys, key); i < len(a.keys) && a.keys[i] == key; i++ {
		all = append(all, arrival{a.cursors[a.folders[i]], a.uids[i]})
	}
	return all
}

// arrivedAs gives the key of a message that the target has.
func (r Record) arrivedAs() (key uint64, ok bool) {
	if !r.arrived() {
		return 0, false
	}
	key, err := strconv.ParseUint(r.Key, 16, 64)
	return key, err == nil
}

// allArrived reads the ledgers, once in a run.
func (m *mailboxRun) allArrived() (*arrivals, error) {
	if m.arrived != nil {
		return m.arrived, nil
	}
	a := &arrivals{cursors: slices.Clone(m.cp.Folders), fresh: make(map[uint64][]arrival)}
	n := m.cp.Counts()
	size := n.Migrated + n.Found
	a.keys, a.folders, a.uids = make([]uint64, 0, size), make([]uint32, 0, size), make([]UID, 0, size)
	for i, f := range a.cursors {
		err := readLedger(m.ctx, m.Store, m.cp.Mailbox.ID, f, func(r Record) {
			if key, ok := r.arrivedAs(); ok {
				a.keys, a.folders, a.uids = append(a.keys, key), append(a.folders, uint32(i)), append(a.uids, r.UID)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	sort.Sort(a)
	m.arrived = a
	return a, nil
}
