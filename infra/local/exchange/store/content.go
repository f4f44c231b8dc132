package store

import "fmt"

// SetBody gives an item other octets, as a new attachment does. If the mailbox
// would grow beyond its quota the error is ErrQuota.
func (m *Mailbox) SetBody(id uint64, body Body) (*Item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.items[id]
	if old == nil {
		return nil, fmt.Errorf("set body: %w", ErrNoSuchItem)
	}
	if growth := body.Size - old.Body.Size; growth > 0 && m.user.Quota > 0 && m.used()+growth > m.user.Quota {
		return nil, fmt.Errorf("set body: %w", ErrQuota)
	}
	it := m.clone(old)
	it.Body = body
	if err := m.putItem(it); err != nil {
		return nil, fmt.Errorf("set body: %w", err)
	}
	return it, nil
}
