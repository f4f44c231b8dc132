package store

import (
	"fmt"
	"slices"
	"strings"
)

// Folder classes (PidTagContainerClass, MS-OXOSFLD 2.2.1).
const (
	ClassNote = "IPF.Note"
	ClassIMAP = "IPF.Imap" // what CREATE over IMAP makes; Outlook and Graph do not show it
)

// Folder is a mail folder. Values are snapshots.
type Folder struct {
	ID          uint64 `json:"id"`
	Parent      uint64 `json:"parent"`         // 0 for the root
	Name        string `json:"name"`           // display name, in the language of the user if well-known
	WellKnown   string `json:"well,omitempty"` // Graph's name, such as "sentitems"
	Class       string `json:"class"`
	UIDValidity uint32 `json:"uv"`
	Hidden      bool   `json:"hidden,omitempty"` // outside of the visible tree (recoverable items)
	Concealed   bool   `json:"conc,omitempty"`   // a client asked not to show it (PidTagAttributeHidden)

	UIDNext  uint32 `json:"-"`
	Total    int    `json:"-"`
	Unread   int    `json:"-"`
	Bytes    int64  `json:"-"`
	Children int    `json:"-"` // child folders, those of class IPF.Imap included
}

// folder is the state behind a Folder; its mailbox's lock guards it.
type folder struct {
	Folder
	items    []*Item // by UID
	unread   int
	bytes    int64
	removals int // how often an item left, for readers that keep a view

	byReceived []*Item  // newest first; nil when it has to be sorted again
	uids       []uint32 // of items; nil when it has to be listed again
}

func (f *folder) find(uid uint32) (int, bool) {
	return slices.BinarySearchFunc(f.items, uid, func(it *Item, uid uint32) int {
		return int(int64(it.UID) - int64(uid))
	})
}

// put adds it or replaces the item with its UID.
func (f *folder) put(it *Item) {
	i, replace := f.find(it.UID)
	if replace {
		f.count(f.items[i], -1)
		f.items[i] = it
	} else {
		f.insert(i, it)
	}
	f.count(it, 1)
	f.UIDNext = max(f.UIDNext, it.UID+1)
}

// insert keeps uids in step: what was handed out before is never written to.
func (f *folder) insert(i int, it *Item) {
	switch {
	case i < len(f.items):
		f.uids = nil
	case f.uids != nil:
		f.uids = append(f.uids, it.UID)
	}
	f.items = slices.Insert(f.items, i, it)
}

// listUIDs returns the UIDs; the slice is shared and must not be changed.
func (f *folder) listUIDs() []uint32 {
	if f.uids == nil {
		f.uids = make([]uint32, 0, len(f.items)+1)
		for _, it := range f.items {
			f.uids = append(f.uids, it.UID)
		}
	}
	return slices.Clip(f.uids)
}

func (f *folder) remove(uid uint32) {
	if i, ok := f.find(uid); ok {
		f.count(f.items[i], -1)
		f.items = slices.Delete(f.items, i, i+1)
		f.removals++
		f.uids = nil
	}
}

func (f *folder) count(it *Item, sign int) {
	f.byReceived = nil
	f.bytes += int64(sign) * it.Body.Size
	if it.Flags&Seen == 0 {
		f.unread += sign
	}
}

// newestFirst returns the items by time received; the slice is shared and must
// not be changed.
func (f *folder) newestFirst() []*Item {
	if f.byReceived == nil {
		f.byReceived = slices.Clone(f.items)
		slices.SortStableFunc(f.byReceived, func(a, b *Item) int { return b.Received.Compare(a.Received) })
	}
	return f.byReceived
}

func (m *Mailbox) snapshot(f *folder) Folder {
	out := f.Folder
	out.Total, out.Unread, out.Bytes = len(f.items), f.unread, f.bytes
	for _, c := range m.folders {
		if c.Parent == f.ID {
			out.Children++
		}
	}
	return out
}

// Folders lists the folders but the root and hidden ones, in the order they
// were made.
func (m *Mailbox) Folders() []Folder {
	m.mu.Lock()
	defer m.mu.Unlock()
	children := map[uint64]int{}
	for _, f := range m.folders {
		children[f.Parent]++
	}
	out := make([]Folder, 0, len(m.folders))
	for _, f := range m.folders {
		if f.Hidden || f.ID == RootID {
			continue
		}
		s := f.Folder
		s.Total, s.Unread, s.Bytes, s.Children = len(f.items), f.unread, f.bytes, children[f.ID]
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Folder) int { return int(int64(a.ID) - int64(b.ID)) })
	return out
}

// Folder returns the folder with the id.
func (m *Mailbox) Folder(id uint64) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.folders[id]
	if f == nil {
		return Folder{}, ErrNoSuchFolder
	}
	return m.snapshot(f), nil
}

// CreateFolder makes a folder. Names of siblings differ by more than case,
// else the error is ErrFolderExists.
func (m *Mailbox) CreateFolder(parent uint64, name, class string) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.folders[parent]
	if p == nil || p.Hidden {
		return Folder{}, fmt.Errorf("create folder: %w", ErrNoSuchFolder)
	}
	if m.child(parent, name) != nil {
		return Folder{}, fmt.Errorf("create folder: %w", ErrFolderExists)
	}
	f := Folder{ID: m.nextFolder, Parent: parent, Name: name, Class: class, UIDValidity: uint32(m.nextFolder)}
	if err := m.putFolder(f); err != nil {
		return Folder{}, fmt.Errorf("create folder: %w", err)
	}
	return m.snapshot(m.folders[f.ID]), nil
}

// RenameFolder gives a folder a new name and parent.
func (m *Mailbox) RenameFolder(id, parent uint64, name string) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.folders[id]
	if f == nil || m.folders[parent] == nil {
		return Folder{}, fmt.Errorf("rename folder: %w", ErrNoSuchFolder)
	}
	if f.WellKnown != "" || m.within(parent, id) {
		return Folder{}, fmt.Errorf("rename folder: %w", ErrReadOnly)
	}
	if c := m.child(parent, name); c != nil && c != f {
		return Folder{}, fmt.Errorf("rename folder: %w", ErrFolderExists)
	}
	changed := f.Folder
	changed.Parent, changed.Name = parent, name
	if err := m.putFolder(changed); err != nil {
		return Folder{}, fmt.Errorf("rename folder: %w", err)
	}
	return m.snapshot(f), nil
}

// DeleteFolder removes a folder with everything below it.
func (m *Mailbox) DeleteFolder(id uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.folders[id]
	if f == nil {
		return fmt.Errorf("delete folder: %w", ErrNoSuchFolder)
	}
	if f.WellKnown != "" {
		return fmt.Errorf("delete folder: %w", ErrReadOnly)
	}
	if err := m.store.journal.write(record{Op: opDeleteFolder, Mailbox: m.number, ID: id}); err != nil {
		return fmt.Errorf("delete folder: %w", err)
	}
	m.dropFolder(id)
	m.announce()
	return nil
}

// FolderByPath returns the folder with these names from the root on, regardless
// of case.
func (m *Mailbox) FolderByPath(names []string) (Folder, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.folders[RootID]
	for _, name := range names {
		if f = m.child(f.ID, name); f == nil {
			return Folder{}, ErrNoSuchFolder
		}
	}
	return m.snapshot(f), nil
}

func (m *Mailbox) child(parent uint64, name string) *folder {
	for _, f := range m.folders {
		if f.Parent == parent && !f.Hidden && strings.EqualFold(f.Name, name) {
			return f
		}
	}
	return nil
}

// within tells whether id is ancestor or somewhere below it.
func (m *Mailbox) within(id, ancestor uint64) bool {
	for f := m.folders[id]; f != nil; f = m.folders[f.Parent] {
		if f.ID == ancestor {
			return true
		}
	}
	return false
}

func (m *Mailbox) putFolder(f Folder) error {
	if err := m.store.journal.write(record{Op: opFolder, Mailbox: m.number, Folder: &f}); err != nil {
		return err
	}
	m.applyFolder(f)
	m.announce()
	return nil
}

func (m *Mailbox) applyFolder(f Folder) {
	f.UIDNext, f.Total, f.Unread, f.Bytes, f.Children = 1, 0, 0, 0, 0
	if old := m.folders[f.ID]; old != nil {
		f.UIDNext = old.UIDNext
		old.Folder = f
	} else {
		m.folders[f.ID] = &folder{Folder: f}
	}
	m.nextFolder = max(m.nextFolder, f.ID+1)
}

func (m *Mailbox) dropFolder(id uint64) {
	for _, f := range m.folders {
		if f.Parent == id {
			m.dropFolder(f.ID)
		}
	}
	for _, it := range m.folders[id].items {
		m.forget(it)
	}
	delete(m.folders, id)
}
