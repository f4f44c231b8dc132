package store

import (
	"errors"
	"fmt"
	"strings"
)

// ErrNamedProperties is the answer to a named property too many.
var ErrNamedProperties = errors.New("mailbox has too many named properties")

// RegisterNames maps the names of properties to ids, as a mailbox does when a
// name is first used, for good. A mailbox has at most most of them
// (MS-OXCDATA 2.6.1; microsoft-graph-docs-contrib issue 3504).
func (m *Mailbox) RegisterNames(names []string, most int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range names {
		if m.names[name] {
			continue
		}
		if most >= 0 && len(m.names) >= most {
			return ErrNamedProperties
		}
		if err := m.store.journal.write(record{Op: opName, Mailbox: m.number, Name: name}); err != nil {
			return fmt.Errorf("register property name: %w", err)
		}
		m.applyName(name)
	}
	return nil
}

func (m *Mailbox) applyName(name string) {
	if m.names == nil {
		m.names = map[string]bool{}
	}
	m.names[name] = true
}

// NamedProperties counts the names that are registered.
func (m *Mailbox) NamedProperties() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.names)
}

// FindFolder looks a folder up by Graph's well-known name, or by the display
// names on the way to it, with "/" between them, regardless of case.
func (m *Mailbox) FindFolder(name string) (Folder, error) {
	if id, ok := WellKnownID(name); ok && id != unmadeID {
		return m.Folder(id)
	}
	return m.FolderByPath(strings.Split(name, "/"))
}
