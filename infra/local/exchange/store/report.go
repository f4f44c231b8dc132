package store

import (
	"maps"
	"slices"
)

// Messages lists all messages but recoverable ones, folder by folder in the
// order of their UIDs.
func (m *Mailbox) Messages() []Message {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Message
	for _, id := range slices.Sorted(maps.Keys(m.folders)) {
		f := m.folders[id]
		if f.Hidden {
			continue
		}
		path := m.englishPath(f)
		for _, it := range f.items {
			out = append(out, Message{
				FolderPath: path, Folder: f.WellKnown, FolderClass: f.Class,
				UID: it.UID, UIDValidity: f.UIDValidity, Flags: it.Flags.Names(), Received: it.Received,
				Subject: it.Subject, MessageID: it.MessageID, SHA256: it.Body.SHA256, Size: it.Body.Size,
				IsDraft: it.Flags&Draft != 0, IsRead: it.Flags&Seen != 0,
				Categories: slices.Clone(it.Categories), Properties: maps.Clone(it.Properties),
			})
		}
	}
	return out
}

func (m *Mailbox) englishPath(f *folder) []string {
	var path []string
	for ; f != nil && f.ID != RootID; f = m.folders[f.Parent] {
		name := f.Name
		for _, w := range wellKnown {
			if w.id == f.ID {
				name = w.en
			}
		}
		path = append([]string{name}, path...)
	}
	return path
}

// Stats sums up the mailbox, recoverable items left out.
func (m *Mailbox) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := Stats{Appends: m.appends}
	for _, f := range m.folders {
		if !f.Hidden {
			s.Messages += len(f.items)
			s.Bytes += f.bytes
		}
	}
	return s
}
