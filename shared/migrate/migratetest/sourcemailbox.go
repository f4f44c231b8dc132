package migratetest

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"mailferry/shared/migrate"
)

// SourceMailbox is a mailbox of a source server in memory. Make it with NewSourceMailbox.
type SourceMailbox struct {
	// WrongPassword refuses every sign-in.
	WrongPassword bool
	// Before runs ahead of each message that Fetch yields, and ahead of every other call with UID 0.
	// Its error breaks the connection. It may change the mailbox. Its calls do not overlap.
	Before func(op, folder string, uid migrate.UID) error
	// Latency is the virtual or real time that each call and each fetched message takes.
	Latency time.Duration
	// NoStates leaves every folder out of States, and all states out of Folders.
	NoStates bool
	// PlainList leaves states out of Folders only.
	PlainList bool
	// StaleStates has States say what it said the last time.
	StaleStates bool
	// NoSizes leaves every folder out of Sizes.
	NoSizes bool
	// SizeTakes is how long the server takes for each message's size, which it has not at hand.
	SizeTakes time.Duration
	// Reversed has Fetch yield the newest message first.
	Reversed bool
	// NotConnected has every command behind the sign-in fail, as Exchange does.
	NotConnected bool
	// MaxConnections is how many connections the server takes at once; 0 is any number.
	MaxConnections int
	// Server is what it shares with other mailboxes; nil: nothing.
	Server *SourceServer
	// CrowdedKind is the error's kind when they are too many; empty is Throttled.
	CrowdedKind migrate.Kind
	// Behind is how many of each folder's newest messages a connection does not see, as at a replica that
	// lags; it is asked as the connection is made. nil: none.
	Behind func() int
	// Connected is told 1 for each connection and -1 for its end.
	Connected func(int)

	hooks   sync.Mutex
	refuses func(folder string, uid migrate.UID) string
	mu      sync.Mutex
	folders []*SourceFolder
	open    int // connections
	most    int // connections at once, ever
	refused int // connections too many
}

// SourceFolder is a folder of a SourceMailbox.
type SourceFolder struct {
	box      *SourceMailbox
	listed   migrate.SourceFolder
	validity uint32
	built    int // times its UIDs were given anew under the same UIDVALIDITY
	next     migrate.UID
	messages []*SourceMessage // in order of UID
	gone     bool
	refused  bool                // EXAMINE is answered NO
	stated   migrate.FolderState // what States said last
}

// SourceMessage is a message of a SourceFolder with the faults that a server may have about it.
type SourceMessage struct {
	UID      migrate.UID
	Flags    []migrate.Flag
	Received time.Time
	Content  []byte
	Size     int64         // RFC822.SIZE; 0: that of Content
	Omit     bool          // FETCH leaves it out
	Takes    time.Duration // to give its octets
	Unlisted bool          // it counts among the folder's messages, and is in no list
	Short    int           // so many times its body breaks off in the middle; below 0: always
	Changed  int           // so many times it does not go on as it began; below 0: always
	Refused  string        // what the server says instead of giving the message; its header does not come either
}

// NewSourceMailbox returns a mailbox with an empty INBOX.
func NewSourceMailbox() *SourceMailbox {
	b := new(SourceMailbox)
	b.AddFolder(migrate.UseInbox, "INBOX")
	return b
}

// AddFolder makes a folder.
func (b *SourceMailbox) AddFolder(use migrate.SpecialUse, path ...string) *SourceFolder {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := &SourceFolder{
		box: b, validity: uint32(1000 + len(b.folders)), next: 1,
		listed: migrate.SourceFolder{Name: strings.Join(path, "/"), Path: path, Use: use, Selectable: true},
	}
	b.folders = append(b.folders, f)
	return f
}

// List lets the server list something that is no folder to open, or another user's.
func (b *SourceMailbox) List(f migrate.SourceFolder) *SourceFolder {
	added := b.AddFolder(f.Use, f.Path...)
	f.Name = added.listed.Name
	added.listed = f
	return added
}

// Folder returns a folder by name, or nil.
func (b *SourceMailbox) Folder(name string) *SourceFolder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.folder(name)
}

func (b *SourceMailbox) folder(name string) *SourceFolder {
	for _, f := range b.folders {
		if f.listed.Name == name && !f.gone {
			return f
		}
	}
	return nil
}

// Folders returns the folders that exist.
func (b *SourceMailbox) Folders() []*SourceFolder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(b.folders), func(f *SourceFolder) bool { return f.gone })
}

// MostConnections is how many connections were open at once, ever.
func (b *SourceMailbox) MostConnections() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.most
}

// Refuses has the server answer what says returns instead of giving a message; empty is that it gives it.
// Its calls do not overlap.
func (b *SourceMailbox) Refuses(says func(folder string, uid migrate.UID) string) {
	b.hooks.Lock()
	defer b.hooks.Unlock()
	b.refuses = says
}

// Refused is how many connections were too many.
func (b *SourceMailbox) Refused() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.refused
}

// Add delivers a message. What it returns may be changed before the mailbox is read.
func (f *SourceFolder) Add(content []byte, received time.Time, flags ...migrate.Flag) *SourceMessage {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	m := &SourceMessage{UID: f.next, Flags: flags, Received: received, Content: content}
	f.next++
	f.messages = append(f.messages, m)
	return m
}

// Each may change every message.
func (f *SourceFolder) Each(change func(*SourceMessage)) {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	for _, m := range f.messages {
		change(m)
	}
}

// Remove expunges a message.
func (f *SourceFolder) Remove(uid migrate.UID) {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.messages = slices.DeleteFunc(f.messages, func(m *SourceMessage) bool { return m.UID == uid })
}

// Refuse has the server list the folder and not open it, or open it again.
func (f *SourceFolder) Refuse(refuse bool) {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.refused = refuse
}

// Rename gives the folder another path. UIDVALIDITY and UIDs stay.
func (f *SourceFolder) Rename(path ...string) {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.listed.Name, f.listed.Path = strings.Join(path, "/"), path
}

// Delete removes the folder.
func (f *SourceFolder) Delete() {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.gone = true
}

// Renumber gives the folder a new UIDVALIDITY and every message a new UID.
func (f *SourceFolder) Renumber() {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.validity += 100
	for i, m := range f.messages {
		renumbered := *m
		renumbered.UID = f.next + migrate.UID(3*i)
		f.messages[i] = &renumbered
	}
	f.next += migrate.UID(3 * len(f.messages))
}

// SetValidity gives the folder that UIDVALIDITY; some servers give all folders the same.
func (f *SourceFolder) SetValidity(n uint32) {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.validity = n
}

// Rebuild gives every message a UID anew, from 1 on, under the same UIDVALIDITY, as a server does that
// has lost its index: against RFC 9051 section 2.3.1.1. Sessions that have it open end.
func (f *SourceFolder) Rebuild() {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.next = 1
	f.built++
	for i, m := range f.messages {
		renumbered := *m
		renumbered.UID = f.next
		f.messages[i] = &renumbered
		f.next++
	}
}

// Restore puts a backup back that lacks the newest n messages: UIDNEXT falls to behind the last that is
// left, under the same UIDVALIDITY.
func (f *SourceFolder) Restore(n int) {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.messages = f.messages[:max(0, len(f.messages)-n)]
	if f.next = 1; len(f.messages) > 0 {
		f.next = f.messages[len(f.messages)-1].UID + 1
	}
}

// Messages returns the messages in order of UID.
func (f *SourceFolder) Messages() []SourceMessage {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	var list []SourceMessage
	for _, m := range f.messages {
		list = append(list, *m)
	}
	return list
}

// Listed is the folder as Source.Folders shows it.
func (f *SourceFolder) Listed() migrate.SourceFolder { return f.listed }

// Dial signs in.
func (b *SourceMailbox) Dial(ctx context.Context) (migrate.Source, error) {
	s := &source{box: b}
	if err := s.call(ctx, "dial", 0); err != nil {
		return nil, err
	}
	if b.WrongPassword {
		return nil, &migrate.Error{Op: "sign in", Kind: migrate.SignIn, Reason: migrate.WrongPassword, Err: errors.New("the server refuses this password")}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.MaxConnections > 0 && b.open >= b.MaxConnections {
		b.refused++
		return nil, &migrate.Error{Op: "sign in", Kind: cmp.Or(b.CrowdedKind, migrate.Throttled), Reason: migrate.AccountCrowded, Err: errors.New("too many connections")}
	}
	if err := b.Server.take(); err != nil {
		return nil, err
	}
	if b.Behind != nil {
		s.behind = b.Behind()
	}
	s.connected = true
	b.open++
	b.most = max(b.most, b.open)
	if b.Connected != nil {
		b.Connected(1)
	}
	return s, nil
}
