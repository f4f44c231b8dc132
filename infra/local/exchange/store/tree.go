package store

import "fmt"

// ChangeFolder sets the class of a folder, or hides it (Concealed).
func (m *Mailbox) ChangeFolder(id uint64, class string, concealed bool) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.folders[id]
	if f == nil {
		return Folder{}, fmt.Errorf("change folder: %w", ErrNoSuchFolder)
	}
	if f.WellKnown != "" {
		return Folder{}, fmt.Errorf("change folder: %w", ErrReadOnly)
	}
	changed := f.Folder
	changed.Class, changed.Concealed = class, concealed
	if err := m.putFolder(changed); err != nil {
		return Folder{}, fmt.Errorf("change folder: %w", err)
	}
	return m.snapshot(f), nil
}

// Depth is how many levels a folder is below the root, which has 0.
func (m *Mailbox) Depth(id uint64) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for f := m.folders[id]; f != nil && f.ID != RootID; f = m.folders[f.Parent] {
		n++
	}
	return n
}
