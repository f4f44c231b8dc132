package store

import "fmt"

// hasRoom tells whether size bytes more and one item more fit into a folder;
// m.mu is held.
func (m *Mailbox) hasRoom(folderID uint64, size int64) error {
	if len(m.folders[folderID].items) >= m.store.limit {
		return ErrFolderFull
	}
	if m.user.Quota > 0 && !m.folders[folderID].Hidden && m.used()+size > m.user.Quota {
		return ErrQuota
	}
	return nil
}

// used sums up all items but recoverable ones, which have a quota of their own
// (https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits);
// m.mu is held.
func (m *Mailbox) used() (bytes int64) {
	for _, f := range m.folders {
		if !f.Hidden {
			bytes += f.bytes
		}
	}
	return bytes
}

// FillQuota sets the quota so that free bytes more fit; with free < 0 the
// mailbox has none any more.
func (m *Mailbox) FillQuota(free int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := m.user
	if u.Quota = 0; free >= 0 {
		// 0 would mean none.
		u.Quota = max(m.used()+free, 1)
	}
	if err := m.store.journal.write(record{Op: opUser, Mailbox: m.number, User: &u}); err != nil {
		return fmt.Errorf("fill quota: %w", err)
	}
	m.user = u
	return nil
}
