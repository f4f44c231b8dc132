package migrate

import "strconv"

// arrivedKeys are the fingerprints of what the ledgers say the target has, 8 octets each.
type arrivedKeys map[uint64]struct{}

func (k arrivedKeys) add(records []Record) {
	for _, r := range records {
		if key, err := strconv.ParseUint(r.Key, 16, 64); err == nil && r.arrived() {
			k[key] = struct{}{}
		}
	}
}

// brought reports whether some folder's ledger says that the target has this message. What a view
// shows has mostly come with its own folder: no look-up at the target is needed then. The ledgers are
// read once in a run.
func (m *mailboxRun) brought(print Fingerprint) (bool, error) {
	if m.arrived == nil {
		m.arrived = make(arrivedKeys)
		err := m.eachArrived(func(_ *FolderCursor, r Record) { m.arrived.add([]Record{r}) })
		if err != nil {
			m.arrived = nil
			return false, err
		}
	}
	key, err := strconv.ParseUint(print.Key(), 16, 64)
	_, ok := m.arrived[key]
	return ok && err == nil, nil
}
