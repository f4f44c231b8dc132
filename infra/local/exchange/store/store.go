// Package store keeps the mailboxes of the Exchange Online stand-in: users,
// folders and messages. Bodies lie in one append-only file, everything else in
// memory and in an append-only journal from which Open rebuilds it, also after
// the process was killed.
package store

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Errors that say what the store refused.
var (
	ErrNoSuchFolder = errors.New("no such folder")
	ErrNoSuchItem   = errors.New("no such item")
	ErrFolderExists = errors.New("folder exists")
	ErrReadOnly     = errors.New("folder cannot be changed")
	// ErrQuota is the answer to what would make a mailbox larger than its quota.
	ErrQuota = errors.New("mailbox is full")
	// ErrFolderFull is the answer to an item too many in one folder.
	ErrFolderFull = errors.New("folder is full")
)

// User is a directory entry and, if licensed or shared, its mailbox.
type User struct {
	ID                string   // GUID; made up if empty
	UserPrincipalName string   // unique regardless of case
	DisplayName       string   // default: the local part of the UPN
	Mail              string   // default: the UPN
	ProxyAddresses    []string // "SMTP:primary", "smtp:alias"; default: Mail as primary
	AccountEnabled    bool
	Licensed          bool
	Shared            bool   // a shared mailbox, which needs no licence
	MailboxGUID       string // made up if empty
	MaxReceiveSize    int64  // bytes a message may have; 0 means the server's limit
	Language          string // "en" (default) or "de": names of the well-known folders
	Quota             int64  // bytes of all messages but recoverable ones; 0 means none
	// NoIMAP bars IMAP, as Set-CASMailbox -ImapEnabled $false does, and a missing
	// Add-MailboxPermission for the application.
	NoIMAP bool
	// AppendLosesDate makes APPEND ignore its date-time: received is when it
	// came. Whether Exchange Online keeps it is disputed.
	AppendLosesDate bool
}

// HasMailbox tells whether Exchange keeps a mailbox for the user.
func (u User) HasMailbox() bool { return u.Licensed || u.Shared }

// Options say where a Store keeps its files.
type Options struct {
	Dir string
	Now func() time.Time // default time.Now
	// MaxItemsPerFolder is how many items a folder takes; default
	// DefaultMaxItemsPerFolder.
	MaxItemsPerFolder int
}

// DefaultMaxItemsPerFolder is the limit of Exchange Online
// (https://support.cloudm.io/hc/en-us/articles/9116343142684).
const DefaultMaxItemsPerFolder = 1_000_000

// Store holds the mailboxes of one tenant. It is safe for concurrent use.
type Store struct {
	now     func() time.Time
	limit   int // items per folder
	journal *journal
	bodies  *bodies

	mu      sync.RWMutex
	order   []*Mailbox          // by number
	address map[string]*Mailbox // by lower-case UPN, id, mail and proxy address

	outboxMu sync.Mutex
	outbox   []Departure
}

// Open opens the store in o.Dir, creating what is missing.
func Open(o Options) (*Store, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{now: o.Now, limit: cmp.Or(o.MaxItemsPerFolder, DefaultMaxItemsPerFolder), address: map[string]*Mailbox{}}
	var err error
	if s.bodies, err = openBodies(filepath.Join(o.Dir, "bodies")); err != nil {
		return nil, fmt.Errorf("open bodies: %w", err)
	}
	if s.journal, err = openJournal(filepath.Join(o.Dir, "journal"), s.replay); err != nil {
		s.bodies.close()
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return s, nil
}

// Close closes the files. Readers of bodies fail from then on.
func (s *Store) Close() error { return errors.Join(s.journal.close(), s.bodies.close()) }

// AddUser adds a user with an empty mailbox. A user whose UPN is known keeps
// ids, folders and messages; the other fields are replaced.
func (s *Store) AddUser(u User) error {
	if u.UserPrincipalName == "" {
		return errors.New("add user: no UserPrincipalName")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.address[strings.ToLower(u.UserPrincipalName)]
	number := len(s.order)
	if m != nil {
		old := m.User()
		u.ID, u.MailboxGUID, number = old.ID, old.MailboxGUID, m.number
	}
	u = withDefaults(u)
	if err := s.checkAddresses(u, m); err != nil {
		return fmt.Errorf("add user: %w", err)
	}
	if err := s.journal.write(record{Op: opUser, Mailbox: number, User: &u}); err != nil {
		return fmt.Errorf("add user: %w", err)
	}
	s.putUser(number, u)
	return nil
}

func withDefaults(u User) User {
	u.ID = cmp.Or(u.ID, newGUID())
	u.MailboxGUID = cmp.Or(u.MailboxGUID, newGUID())
	u.Mail = cmp.Or(u.Mail, u.UserPrincipalName)
	u.Language = cmp.Or(u.Language, "en")
	local, _, _ := strings.Cut(u.UserPrincipalName, "@")
	u.DisplayName = cmp.Or(u.DisplayName, local)
	if len(u.ProxyAddresses) == 0 {
		u.ProxyAddresses = []string{"SMTP:" + u.Mail}
	}
	return u
}

// checkAddresses refuses addresses that belong to another user: in a tenant
// every proxy address is unique.
func (s *Store) checkAddresses(u User, self *Mailbox) error {
	for _, a := range addresses(u) {
		if m := s.address[a]; m != nil && m != self {
			return fmt.Errorf("address %s is taken", a)
		}
	}
	return nil
}

// putUser makes u known under mailbox number n. The caller holds s.mu or is
// the only user of the store.
func (s *Store) putUser(n int, u User) {
	for len(s.order) <= n {
		s.order = append(s.order, newMailbox(s, len(s.order)))
	}
	m := s.order[n]
	for _, a := range addresses(m.User()) {
		delete(s.address, a)
	}
	m.setUser(u)
	for _, a := range addresses(u) {
		s.address[a] = m
	}
}

// addresses lists, in lower case, what u can be looked up by.
func addresses(u User) []string {
	all := []string{u.ID, u.UserPrincipalName, u.Mail}
	for _, p := range u.ProxyAddresses {
		if kind, a, ok := strings.Cut(p, ":"); ok && strings.EqualFold(kind, "smtp") {
			all = append(all, a)
		}
	}
	var out []string
	for _, a := range all {
		if a != "" {
			out = append(out, strings.ToLower(a))
		}
	}
	return out
}

// Mailbox looks a mailbox up by UPN, id, mail or proxy address.
func (s *Store) Mailbox(address string) (*Mailbox, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	m, ok := s.address[strings.ToLower(address)]
	return m, ok
}

// Mailboxes lists all users in the order they were added, those without a
// mailbox included.
func (s *Store) Mailboxes() []*Mailbox {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return append([]*Mailbox(nil), s.order...)
}

// replay applies one record of the journal.
func (s *Store) replay(r record) error {
	if r.Op == opUser {
		if r.User == nil || r.Mailbox > len(s.order) || r.Mailbox < 0 {
			return errors.New("user record out of order")
		}
		s.putUser(r.Mailbox, *r.User)
		return nil
	}
	if r.Mailbox < 0 || r.Mailbox >= len(s.order) {
		return fmt.Errorf("record for unknown mailbox %d", r.Mailbox)
	}
	if r.Op == opDeparture && r.Departure != nil {
		s.outbox = append(s.outbox, *r.Departure)
		return nil
	}
	return s.order[r.Mailbox].replay(r)
}

// newGUID returns a random UUID (RFC 9562, version 4).
func newGUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

const fileMode os.FileMode = 0o600
