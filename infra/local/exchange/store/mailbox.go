package store

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mailbox is a user with folders and messages. It is safe for concurrent use.
type Mailbox struct {
	store  *Store
	number int

	mu         sync.Mutex
	user       User
	folders    map[uint64]*folder
	items      map[uint64]*Item
	byID       map[string][]uint64 // item ids by lower-case Message-ID
	nextFolder uint64
	nextItem   uint64
	appends    int
	changed    chan struct{}   // closed and replaced at every change
	names      map[string]bool // of named properties
}

func newMailbox(s *Store, number int) *Mailbox {
	m := &Mailbox{
		store: s, number: number,
		folders: map[uint64]*folder{}, items: map[uint64]*Item{}, byID: map[string][]uint64{},
		nextFolder: firstFolderID, nextItem: 1, changed: make(chan struct{}),
	}
	for _, w := range wellKnown {
		m.applyFolder(Folder{
			ID: w.id, Parent: RootID, WellKnown: w.key, Class: cmp.Or(w.class, ClassNote),
			UIDValidity: uint32(w.id), Hidden: w.id == RecoverableID,
		})
	}
	m.folders[RootID].Parent = 0
	m.nextFolder = firstFolderID
	return m
}

// User returns the directory entry.
func (m *Mailbox) User() User {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.user
}

func (m *Mailbox) setUser(u User) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.user = u
	for _, w := range wellKnown {
		m.folders[w.id].Name = w.name(u.Language)
	}
}

// Store returns the store the mailbox is in.
func (m *Mailbox) Store() *Store { return m.store }

// Changed returns a channel that is closed at the next change.
func (m *Mailbox) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

func (m *Mailbox) announce() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Add puts a message into a folder.
func (m *Mailbox) Add(folderID uint64, n NewItem) (*Item, error) {
	it, err := m.describe(n)
	if err != nil {
		return nil, fmt.Errorf("add item: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.folders[folderID] == nil {
		return nil, fmt.Errorf("add item: %w", ErrNoSuchFolder)
	}
	if err := m.insert(it, folderID); err != nil {
		return nil, fmt.Errorf("add item: %w", err)
	}
	m.appends++
	return it, nil
}

// describe fills what n leaves open from the clock and the header.
func (m *Mailbox) describe(n NewItem) (*Item, error) {
	raw, err := m.store.Header(n.Body)
	if err != nil {
		return nil, err
	}
	h := ParseHeader(raw)
	now := m.store.now().UTC()
	it := &Item{
		Body: n.Body, Received: n.Received.UTC().Truncate(time.Second), Sent: n.Sent.UTC().Truncate(time.Second),
		Created: now, Modified: now, Flags: n.Flags, Subject: n.Subject, MessageID: n.MessageID,
		Categories: n.Categories, Importance: n.Importance, Properties: n.Properties,
	}
	if n.Received.IsZero() {
		it.Received = now.Truncate(time.Second)
	}
	if n.Sent.IsZero() {
		it.Sent = h.Date()
	}
	if it.Subject == "" {
		it.Subject = h.Text("Subject")
	}
	if it.MessageID == "" {
		it.MessageID = h.Get("Message-Id")
	}
	for _, a := range h.Addresses(receiptHeader) {
		it.ReceiptTo = cmp.Or(it.ReceiptTo, a.Address)
	}
	return it, nil
}

// insert gives it an id and the next UID of the folder if there is room; m.mu
// is held.
func (m *Mailbox) insert(it *Item, folderID uint64) error {
	if err := m.hasRoom(folderID, it.Body.Size); err != nil {
		return err
	}
	it.ID, it.Folder, it.UID = m.nextItem, folderID, m.folders[folderID].UIDNext
	return m.putItem(it)
}

// putItem journals and applies it; m.mu is held.
func (m *Mailbox) putItem(it *Item) error {
	it.Change++
	if err := m.sendReceipt(it); err != nil {
		return err
	}
	if err := m.store.journal.write(record{Op: opItem, Mailbox: m.number, Item: it}); err != nil {
		return err
	}
	m.applyItem(it)
	m.announce()
	return nil
}

func (m *Mailbox) applyItem(it *Item) {
	old := m.items[it.ID]
	if old != nil && (old.Folder != it.Folder || old.UID != it.UID) {
		m.folders[old.Folder].remove(old.UID)
	}
	if key := strings.ToLower(it.MessageID); old == nil && key != "" {
		m.byID[key] = append(m.byID[key], it.ID)
	}
	m.items[it.ID] = it
	m.folders[it.Folder].put(it)
	m.nextItem = max(m.nextItem, it.ID+1)
}

// forget drops it from the mailbox but not from its folder; m.mu is held.
func (m *Mailbox) forget(it *Item) {
	delete(m.items, it.ID)
	key := strings.ToLower(it.MessageID)
	ids := slices.DeleteFunc(m.byID[key], func(id uint64) bool { return id == it.ID })
	if len(ids) == 0 {
		delete(m.byID, key)
	} else {
		m.byID[key] = ids
	}
}

// Item returns the item with the id.
func (m *Mailbox) Item(id uint64) (*Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if it := m.items[id]; it != nil {
		return it, nil
	}
	return nil, ErrNoSuchItem
}

// ItemByUID returns the item with the UID in a folder.
func (m *Mailbox) ItemByUID(folderID uint64, uid uint32) (*Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.folders[folderID]; f != nil {
		if i, ok := f.find(uid); ok {
			return f.items[i], nil
		}
	}
	return nil, ErrNoSuchItem
}

// ItemsByMessageID lists the items with that Message-ID regardless of case,
// hidden folders left out.
func (m *Mailbox) ItemsByMessageID(messageID string) []*Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*Item
	for _, id := range m.byID[strings.ToLower(messageID)] {
		if it := m.items[id]; !m.folders[it.Folder].Hidden {
			out = append(out, it)
		}
	}
	return out
}

// NewestFirst lists the items of a folder by time received. The slice is
// shared: callers don't change it.
func (m *Mailbox) NewestFirst(folderID uint64) []*Item {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.folders[folderID]; f != nil {
		return f.newestFirst()
	}
	return nil
}

// UIDs lists the UIDs of a folder, ascending, and how often an item has left it
// so far. The slice is shared and never changes: while no item leaves, an older
// one is the beginning of a newer one.
func (m *Mailbox) UIDs(folderID uint64) (uids []uint32, removals int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.folders[folderID]
	if f == nil {
		return nil, 0, ErrNoSuchFolder
	}
	return f.listUIDs(), f.removals, nil
}

// Update replaces an item by a changed copy; change may set flags,
// categories, importance, read state and properties.
func (m *Mailbox) Update(id uint64, change func(*Item)) (*Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.items[id]
	if old == nil {
		return nil, fmt.Errorf("update item: %w", ErrNoSuchItem)
	}
	it := m.clone(old)
	change(it)
	it.ID, it.Folder, it.UID, it.MessageID, it.ReceiptTo = old.ID, old.Folder, old.UID, old.MessageID, old.ReceiptTo
	if err := m.putItem(it); err != nil {
		return nil, fmt.Errorf("update item: %w", err)
	}
	return it, nil
}

func (m *Mailbox) clone(it *Item) *Item {
	c := *it
	c.Categories, c.Properties = slices.Clone(it.Categories), maps.Clone(it.Properties)
	c.Modified = m.store.now().UTC()
	return &c
}

// Move gives an item a new place and UID.
func (m *Mailbox) Move(id, folderID uint64) (*Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, to := m.items[id], m.folders[folderID]
	if old == nil {
		return nil, fmt.Errorf("move item: %w", ErrNoSuchItem)
	}
	if to == nil {
		return nil, fmt.Errorf("move item: %w", ErrNoSuchFolder)
	}
	if len(to.items) >= m.store.limit {
		return nil, fmt.Errorf("move item: %w", ErrFolderFull)
	}
	it := m.clone(old)
	it.Folder, it.UID = folderID, to.UIDNext
	if err := m.putItem(it); err != nil {
		return nil, fmt.Errorf("move item: %w", err)
	}
	return it, nil
}

// Copy makes a second item of the same body.
func (m *Mailbox) Copy(id, folderID uint64) (*Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.items[id]
	if old == nil {
		return nil, fmt.Errorf("copy item: %w", ErrNoSuchItem)
	}
	if m.folders[folderID] == nil {
		return nil, fmt.Errorf("copy item: %w", ErrNoSuchFolder)
	}
	it := m.clone(old)
	if err := m.insert(it, folderID); err != nil {
		return nil, fmt.Errorf("copy item: %w", err)
	}
	return it, nil
}

// Delete moves an item to the recoverable items, where no client sees it.
func (m *Mailbox) Delete(id uint64) error {
	_, err := m.Move(id, RecoverableID)
	return err
}

// replay applies one record of the journal.
func (m *Mailbox) replay(r record) error {
	switch {
	case r.Op == opFolder && r.Folder != nil:
		m.applyFolder(*r.Folder)
	case r.Op == opName:
		m.applyName(r.Name)
	case r.Op == opDeleteFolder && m.folders[r.ID] != nil:
		m.dropFolder(r.ID)
	case r.Op == opItem && r.Item != nil && m.folders[r.Item.Folder] != nil:
		m.applyItem(r.Item)
	default:
		return errors.New("unusable record " + r.Op)
	}
	return nil
}
