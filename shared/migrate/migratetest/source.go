package migratetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
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
	// Reversed has Fetch yield the newest message first.
	Reversed bool
	// MaxConnections is how many connections the server takes at once; 0 is any number.
	MaxConnections int
	// Server is what it shares with other mailboxes; nil: nothing.
	Server *SourceServer
	// CrowdedKind is the error's kind when they are too many; empty is Throttled.
	CrowdedKind migrate.Kind
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
	Omit     bool   // FETCH leaves it out
	Short    int    // so many times its body breaks off in the middle; below 0: always
	Changed  int    // so many times it does not go on as it began; below 0: always
	Refused  string // what the server says instead of giving the message; its header does not come either
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

// Rebuild gives every message a UID anew, from 1 on, under the same UIDVALIDITY, as a server does that
// has lost its index: against RFC 9051 section 2.3.1.1.
func (f *SourceFolder) Rebuild() {
	f.box.mu.Lock()
	defer f.box.mu.Unlock()
	f.next = 1
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
	s.connected = true
	b.open++
	b.most = max(b.most, b.open)
	if b.Connected != nil {
		b.Connected(1)
	}
	return s, nil
}

// source is one connection.
type source struct {
	box       *SourceMailbox
	current   *SourceFolder
	validity  uint32
	aim       string // the folder that the next call opens; "": none
	connected bool
	broken    bool
}

var _ migrate.Source = (*source)(nil)

func broken(op string, err error) error {
	return &migrate.Error{Op: op, Kind: migrate.Unreachable, Err: err}
}

func (s *source) call(ctx context.Context, op string, uid migrate.UID) error {
	if err := s.arrive(); err != nil {
		return err
	}
	if err := pause(ctx, s.box.Latency); err != nil {
		return err
	}
	folder := ""
	if s.current != nil {
		folder = s.current.listed.Name
	}
	if s.box.Before != nil {
		if err := s.box.before(op, folder, uid); err != nil {
			s.broken = true
			return broken(op, err)
		}
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.broken || s.current != nil && s.validity != s.current.validity {
		s.broken = true // a server that renumbers a folder ends the sessions that have it open
		return broken(op, io.ErrUnexpectedEOF)
	}
	return nil
}

func (b *SourceMailbox) before(op, folder string, uid migrate.UID) error {
	b.hooks.Lock()
	defer b.hooks.Unlock()
	return b.Before(op, folder, uid)
}

func (s *source) Folders(ctx context.Context) ([]migrate.SourceFolder, error) {
	if err := s.call(ctx, "list folders", 0); err != nil {
		return nil, err
	}
	var list []migrate.SourceFolder
	for _, f := range s.box.Folders() {
		shown := f.listed
		if !s.box.PlainList {
			shown.State = s.box.stateOf(f)
		}
		list = append(list, shown)
	}
	return list, nil
}

func (s *source) States(ctx context.Context, names []string) (map[string]migrate.FolderState, error) {
	s.current, s.aim = nil, ""
	if err := s.call(ctx, "ask for states", 0); err != nil {
		return nil, err
	}
	states := make(map[string]migrate.FolderState)
	for _, name := range names {
		if f := s.box.Folder(name); f != nil && !s.box.NoStates {
			states[name] = s.box.stateOf(f)
		}
	}
	return states, nil
}

// stateOf is what the server says of a folder that it does not open.
func (b *SourceMailbox) stateOf(f *SourceFolder) migrate.FolderState {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.NoStates {
		return migrate.FolderState{}
	}
	if !b.StaleStates {
		f.stated = f.state()
	}
	return f.stated
}

// state is what the server says of the folder.
func (f *SourceFolder) state() migrate.FolderState {
	return migrate.FolderState{UIDValidity: f.validity, UIDNext: f.next, Messages: len(f.messages)}
}

func (s *source) Open(ctx context.Context, name string) (migrate.FolderState, error) {
	s.current, s.aim = nil, ""
	if err := s.call(ctx, "open folder", 0); err != nil {
		return migrate.FolderState{}, err
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	f := s.box.folder(name)
	if f == nil || f.refused {
		return migrate.FolderState{}, &migrate.Error{Op: "open folder", Folder: name, Kind: migrate.NoFolder}
	}
	s.current, s.validity = f, f.validity
	return f.state(), nil
}

func (s *source) Survey(ctx context.Context, name string, few migrate.UIDSet) (state migrate.FolderState, uids migrate.UIDSet, described []migrate.MessageInfo, err error) {
	if state, err = s.Open(ctx, name); err == nil {
		uids, err = s.UIDs(ctx, 1, ^migrate.UID(0))
	}
	if err != nil {
		return state, uids, nil, err
	}
	if few.Contains(^migrate.UID(0)) && s.box.Before != nil && s.box.before("describe with the list", name, 0) != nil {
		s.broken = true
		return state, uids, nil, broken("list messages", io.ErrUnexpectedEOF)
	}
	for _, m := range s.current.Messages() {
		if few.Contains(m.UID) {
			described = append(described, m.info())
		}
	}
	return state, uids, described, nil
}

func (s *source) SurveyNew(ctx context.Context, names []string) (found []migrate.Surveyed, err error) {
	for _, name := range names {
		state, uids, described, err := s.Survey(ctx, name, migrate.EveryUID())
		if migrate.KindOf(err) == migrate.NoFolder {
			return found, nil
		}
		if err != nil {
			return found, err
		}
		found = append(found, migrate.Surveyed{State: state, UIDs: uids, Described: described})
	}
	return found, nil
}

func (s *source) Aim(name string, validity uint32, _ []migrate.MessageInfo) {
	if s.current == nil || s.current.listed.Name != name || s.validity != validity {
		s.aim, s.validity = name, validity
	}
}

// arrive opens the folder that is aimed at. It takes no time.
func (s *source) arrive() error {
	if s.aim == "" {
		return nil
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	f := s.box.folder(s.aim)
	s.aim, s.current = "", nil
	switch {
	case s.broken:
		return broken("open folder", io.ErrUnexpectedEOF)
	case f == nil || f.refused:
		return &migrate.Error{Op: "open folder", Kind: migrate.NoFolder}
	case f.validity != s.validity:
		return broken("open folder", errors.New("its UIDVALIDITY has changed"))
	}
	s.current = f
	return nil
}

func (s *source) UIDs(ctx context.Context, first, last migrate.UID) (migrate.UIDSet, error) {
	if err := s.call(ctx, "list messages", 0); err != nil {
		return migrate.UIDSet{}, err
	}
	var set migrate.UIDSet
	for _, m := range s.current.Messages() {
		if first <= m.UID && m.UID <= last {
			set.Add(m.UID)
		}
	}
	return set, nil
}

func (s *source) Describe(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo) error) error {
	if err := s.call(ctx, "describe", 0); err != nil {
		return err
	}
	for _, m := range s.current.Messages() {
		if !uids.Contains(m.UID) {
			continue
		}
		if err := yield(m.info()); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) Headers(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo, []byte) error) error {
	if err := s.call(ctx, "fetch headers", 0); err != nil {
		return err
	}
	for _, m := range s.current.Messages() {
		if !uids.Contains(m.UID) || s.refusal(m) != "" {
			continue
		}
		header, _, _ := bytes.Cut(m.Content, []byte("\r\n\r\n"))
		if err := yield(m.info(), header); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) Fetch(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo, int64, io.Reader) error) error {
	if err := s.call(ctx, "fetch", 0); err != nil {
		return err
	}
	messages := s.current.Messages()
	if s.box.Reversed {
		slices.Reverse(messages)
	}
	for _, m := range messages {
		if !uids.Contains(m.UID) || m.Omit {
			continue
		}
		if err := s.call(ctx, "fetch", m.UID); err != nil {
			return err
		}
		if !slices.ContainsFunc(s.current.Messages(), func(now SourceMessage) bool { return now.UID == m.UID }) {
			continue // removed meanwhile
		}
		octets, body := int64(len(m.Content)), s.body(m)
		if words := s.refusal(m); words != "" {
			octets, body = 0, failingReader{&migrate.Error{Op: "fetch message", Folder: s.current.listed.Name, UID: m.UID,
				Kind: migrate.Unreadable, Err: errors.New(words)}}
		}
		if err := yield(m.info(), octets, body); err != nil {
			return err
		}
	}
	return nil
}

// refusal is what the server says instead of giving the message.
func (s *source) refusal(m SourceMessage) string {
	s.box.hooks.Lock()
	defer s.box.hooks.Unlock()
	if m.Refused != "" || s.box.refuses == nil {
		return m.Refused
	}
	return s.box.refuses(s.current.listed.Name, m.UID)
}

func (m *SourceMessage) info() migrate.MessageInfo {
	return migrate.MessageInfo{UID: m.UID, Flags: m.Flags, Received: m.Received, Size: int64(len(m.Content))}
}

// body breaks off in the middle as often as the message says.
func (s *source) body(m SourceMessage) io.Reader {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if m.Short == 0 && m.Changed == 0 {
		return bytes.NewReader(m.Content)
	}
	for _, stored := range s.current.messages {
		if stored.UID == m.UID {
			stored.Short -= min(1, max(0, stored.Short))
			stored.Changed -= min(1, max(0, stored.Changed))
		}
	}
	err := broken("fetch", io.ErrUnexpectedEOF)
	if s.broken = m.Changed == 0; !s.broken {
		err = &migrate.Error{Op: "read message", UID: m.UID, Kind: migrate.Unreachable, Reason: migrate.Changed, Err: errors.New("it does not go on as it began")}
	}
	return io.MultiReader(bytes.NewReader(m.Content[:len(m.Content)/2]), failingReader{err})
}

type failingReader struct{ err error }

func (r failingReader) Read([]byte) (int, error) { return 0, r.err }

func (s *source) Close() error {
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.connected {
		s.connected = false
		s.box.open--
		s.box.Server.give()
		if s.box.Connected != nil {
			s.box.Connected(-1)
		}
	}
	return nil
}

// pause lets time go by.
func pause(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the server: %w", context.Cause(ctx))
	}
}
