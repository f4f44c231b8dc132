package migratetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"mailferry/shared/migrate"
)

// source is one connection.
type source struct {
	box       *SourceMailbox
	current   *SourceFolder
	validity  uint32
	built     int    // SourceFolder.built when it was opened
	aim       string // the folder that the next call opens; "": none
	connected bool
	broken    bool
	behind    int // see SourceMailbox.Behind
}

// messages are those of the current folder that the connection sees.
func (s *source) messages() []SourceMessage {
	all := s.current.Messages()
	return all[:max(0, len(all)-s.behind)]
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
	if s.box.NotConnected && op != "dial" {
		return &migrate.Error{Op: op, Kind: migrate.Throttled, Reason: migrate.NotConnected, Err: errors.New("user is authenticated but not connected")}
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.broken || s.current != nil && (s.validity != s.current.validity || s.built != s.current.built) {
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
			shown.State = s.stateOf(f)
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
			states[name] = s.stateOf(f)
		}
	}
	return states, nil
}

func (s *source) Sizes(ctx context.Context, names []string) (map[string]int64, error) {
	sizes := make(map[string]int64)
	if s.box.NoSizes {
		return sizes, nil
	}
	s.current, s.aim = nil, ""
	if err := s.call(ctx, "ask for sizes", 0); err != nil {
		return sizes, err
	}
	for _, name := range names {
		f := s.box.Folder(name)
		if f == nil {
			continue
		}
		size := int64(0)
		for _, m := range f.Messages() {
			if err := pause(ctx, s.box.SizeTakes); err != nil {
				s.broken = true
				return sizes, err
			}
			size += m.info().Size
		}
		sizes[name] = size
	}
	return sizes, nil
}

// stateOf is what the server says of a folder that it does not open.
func (s *source) stateOf(f *SourceFolder) migrate.FolderState {
	b := s.box
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.NoStates {
		return migrate.FolderState{}
	}
	if !b.StaleStates {
		f.stated = f.state(s.behind)
	}
	return f.stated
}

// state is what the server says of the folder to a connection that does not see so many messages.
func (f *SourceFolder) state(behind int) migrate.FolderState {
	next, seen := f.next, max(0, len(f.messages)-behind)
	if seen < len(f.messages) {
		next = f.messages[seen].UID
	}
	return migrate.FolderState{UIDValidity: f.validity, UIDNext: next, Messages: seen}
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
	s.current, s.validity, s.built = f, f.validity, f.built
	return f.state(s.behind), nil
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
	for _, m := range s.messages() {
		if few.Contains(m.UID) {
			described = append(described, m.info())
		}
	}
	return state, uids, described, nil
}

func (s *source) SurveyNew(ctx context.Context, names []string) (found []migrate.Surveyed, err error) {
	for _, name := range names {
		state, uids, described, err := s.Survey(ctx, name, migrate.EveryUID())
		if migrate.KindOf(err) == migrate.NoFolder || err == nil && uids.Len() != state.Messages {
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
	s.current, s.built = f, f.built
	return nil
}

func (s *source) UIDs(ctx context.Context, first, last migrate.UID) (migrate.UIDSet, error) {
	if err := s.call(ctx, "list messages", 0); err != nil {
		return migrate.UIDSet{}, err
	}
	var set migrate.UIDSet
	for _, m := range s.messages() {
		if first <= m.UID && m.UID <= last && !m.Unlisted {
			set.Add(m.UID)
		}
	}
	return set, nil
}

func (s *source) Describe(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo) error) error {
	if err := s.call(ctx, "describe", 0); err != nil {
		return err
	}
	for _, m := range s.messages() {
		if !uids.Contains(m.UID) {
			continue
		}
		if err := pause(ctx, s.box.SizeTakes); err != nil {
			s.broken = true
			return err
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
	for _, m := range s.messages() {
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
	messages := s.messages()
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
		if !slices.ContainsFunc(s.messages(), func(now SourceMessage) bool { return now.UID == m.UID }) {
			continue // removed meanwhile
		}
		octets, body := int64(len(m.Content)), io.Reader(&slowReader{s.body(m), ctx, m.Takes})
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
	return migrate.MessageInfo{UID: m.UID, Flags: m.Flags, Received: m.Received, Size: cmp.Or(m.Size, int64(len(m.Content)))}
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

// slowReader takes a time.
type slowReader struct {
	io.Reader
	ctx   context.Context
	takes time.Duration
}

func (r *slowReader) Read(p []byte) (int, error) {
	if err := pause(r.ctx, r.takes); err != nil {
		return 0, err
	}
	r.takes = 0
	return r.Reader.Read(p)
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
