package migratetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
	"sync"
	"time"

	"mailferry/shared/migrate"
)

// TargetBox is a mailbox of the target in memory. Make it with NewTargetBox.
type TargetBox struct {
	// Fault says what goes wrong with a Put; nil is nothing. Its calls do not overlap.
	Fault func(content []byte) Fault
	// FolderFault is asked before a folder is made; nil is never.
	FolderFault func() error
	// Latency is the time from the call to the work, and again from the work to the answer.
	Latency time.Duration
	// Parallel is Target.Writers, 1 when it is 0.
	Parallel int
	// AtPut runs when a Put begins.
	AtPut func()

	hooks    sync.Mutex
	mu       sync.Mutex
	messages []*TargetMessage
	puts     int
	finds    int
	asked    int
	made     map[string]bool // folders, by id
	ids      int
}

// Fault is how one Put goes wrong. The zero value is not at all.
type Fault struct {
	Err   error         // the answer
	Do    bool          // the work is done in spite of Err
	After time.Duration // and so long after the answer
}

// TargetMessage is what the target has of a message.
type TargetMessage struct {
	ID       string
	FolderID string
	SHA256   [32]byte
	Flags    []migrate.Flag
	Received time.Time
	Draft    bool
	print    migrate.Fingerprint
}

// Subject is the message's, decoded.
func (m TargetMessage) Subject() string { return m.print.Subject }

// NewTargetBox returns an empty mailbox.
func NewTargetBox() *TargetBox { return new(TargetBox) }

// Messages returns what the mailbox has, in the order of arrival.
func (b *TargetBox) Messages() []TargetMessage {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []TargetMessage
	for _, m := range b.messages {
		list = append(list, *m)
	}
	return list
}

// Puts is how often Put was called.
func (b *TargetBox) Puts() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.puts
}

// Finds is how often Find was called.
func (b *TargetBox) Finds() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.finds
}

// Asked is how often a folder was asked for.
func (b *TargetBox) Asked() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.asked
}

// Made reports whether a folder was asked for, and not deleted since.
func (b *TargetBox) Made(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.made[id]
}

// Change lets a user at work: change may alter a message, and deletes it for good by returning false.
func (b *TargetBox) Change(id string, change func(*TargetMessage) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.messages = slices.DeleteFunc(b.messages, func(m *TargetMessage) bool { return m.ID == id && !change(m) })
}

// Copy lets a user copy a message to a folder.
func (b *TargetBox) Copy(m TargetMessage, folder string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.FolderID = folder
	b.insert(&m)
}

// Delete lets a user delete a folder with all that is in it, for good.
func (b *TargetBox) Delete(folder string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.made, folder)
	b.messages = slices.DeleteFunc(b.messages, func(m *TargetMessage) bool { return m.FolderID == folder })
}

func (b *TargetBox) insert(m *TargetMessage) {
	b.ids++
	m.ID = fmt.Sprintf("m%06d", b.ids)
	b.messages = append(b.messages, m)
}

// Open gives a connection to the mailbox.
func (b *TargetBox) Open() migrate.Target { return &target{box: b, closed: make(chan struct{})} }

// FolderID is the id of the target folder for a role and path.
func FolderID(use migrate.SpecialUse, path []string) string {
	if use != "" {
		path = append([]string{"(" + string(use) + ")"}, path[1:]...)
	}
	return strings.ToLower(strings.Join(path, "/"))
}

type target struct {
	box    *TargetBox
	once   sync.Once
	closed chan struct{}
}

var _ migrate.Target = (*target)(nil)

func (t *target) alive(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-t.closed:
		return broken(op, errors.New("the connection is closed"))
	default:
		return nil
	}
}

func (t *target) Folder(ctx context.Context, use migrate.SpecialUse, path []string) (migrate.TargetFolder, error) {
	if err := t.alive(ctx, "make folder"); err != nil {
		return migrate.TargetFolder{}, err
	}
	id := FolderID(use, path)
	t.box.mu.Lock()
	defer t.box.mu.Unlock()
	if t.box.FolderFault != nil {
		if err := t.box.FolderFault(); err != nil {
			return migrate.TargetFolder{}, err
		}
	}
	if t.box.made == nil {
		t.box.made = make(map[string]bool)
	}
	t.box.made[id] = true
	t.box.asked++
	return migrate.TargetFolder{ID: id, Path: path}, nil
}

// Put keeps the SHA-256 of what it was given. Work that has begun is done even when the caller
// leaves: that outcome is unknown.
func (t *target) Put(ctx context.Context, folder migrate.TargetFolder, out migrate.Outgoing) (migrate.Receipt, error) {
	if err := t.alive(ctx, "append"); err != nil {
		return migrate.Receipt{}, err
	}
	content, err := readAll(out)
	if err == nil {
		err = t.box.has(folder)
	}
	if err != nil {
		return migrate.Receipt{}, err
	}
	t.box.mu.Lock()
	t.box.puts++
	t.box.mu.Unlock()
	if t.box.AtPut != nil {
		t.box.AtPut()
	}
	var fault Fault
	if t.box.Fault != nil {
		t.box.hooks.Lock()
		fault = t.box.Fault(content)
		t.box.hooks.Unlock()
	}
	if fault.Err == nil || fault.Do {
		delay := t.box.Latency
		if fault.Err != nil {
			delay += fault.After
		}
		t.box.arrive(content, folder, out, delay)
	}
	if err := t.answer(ctx, 2*t.box.Latency); err != nil {
		return migrate.Receipt{}, &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: err}
	}
	return migrate.Receipt{}, fault.Err
}

func (b *TargetBox) has(folder migrate.TargetFolder) error {
	if !b.Made(folder.ID) {
		return &migrate.Error{Op: "find folder", Folder: folder.ID, Kind: migrate.NoFolder, Err: errors.New("there is no such folder")}
	}
	return nil
}

// answer waits for the answer of a request that was sent.
func (t *target) answer(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.closed:
		return errors.New("the connection is closed")
	}
}

// arrive puts a message into the mailbox, now or later, whatever becomes of the connection.
func (b *TargetBox) arrive(content []byte, folder migrate.TargetFolder, out migrate.Outgoing, delay time.Duration) {
	head, _, _ := strings.Cut(string(content), "\r\n\r\n")
	m := &TargetMessage{
		FolderID: folder.ID, SHA256: sha256.Sum256(content), Flags: slices.Clone(out.Flags), Received: out.Received,
		Draft: migrate.HasFlag(out.Flags, migrate.Draft),
		print: migrate.ReadFingerprint([]byte(head), out.Received, new(mime.WordDecoder)),
	}
	land := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.insert(m)
		if m.print.MessageID == "" { // Exchange gives what has none its own
			m.print.MessageID = "<" + m.ID + "@target>"
		}
		if m.print.Date.IsZero() {
			m.print.Date = m.print.Received
		}
	}
	if delay == 0 {
		land()
		return
	}
	time.AfterFunc(delay, land)
}

func readAll(out migrate.Outgoing) ([]byte, error) {
	body, err := out.Open()
	if err != nil {
		return nil, err
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	if err == nil && int64(len(content)) != out.Size {
		err = &migrate.Error{Op: "append", Kind: migrate.Unexpected, Err: fmt.Errorf("%d octets for %d", len(content), out.Size)}
	}
	return content, err
}

func (t *target) Find(ctx context.Context, f migrate.Fingerprint, yield func(migrate.Found) error) error {
	t.box.mu.Lock()
	t.box.finds++
	t.box.mu.Unlock()
	if f.MessageID == "" && f.Received.IsZero() {
		return &migrate.Error{Op: "find message", Kind: migrate.Unexpected, Err: errors.New("the fingerprint has neither Message-ID nor received date")}
	}
	return t.each(ctx, yield, func(m TargetMessage) bool {
		if f.MessageID != "" {
			return m.print.MessageID == f.MessageID
		}
		return m.print.Received.Equal(f.Received)
	})
}

func (t *target) List(ctx context.Context, folder migrate.TargetFolder, yield func(migrate.Found) error) error {
	if err := t.box.has(folder); err != nil {
		return err
	}
	return t.each(ctx, yield, func(m TargetMessage) bool { return m.FolderID == folder.ID })
}

func (t *target) each(ctx context.Context, yield func(migrate.Found) error, wanted func(TargetMessage) bool) error {
	if err := t.alive(ctx, "list messages"); err != nil {
		return err
	}
	if err := pause(ctx, t.box.Latency); err != nil {
		return err
	}
	for _, m := range t.box.Messages() {
		if !wanted(m) {
			continue
		}
		err := yield(migrate.Found{ID: m.ID, FolderID: m.FolderID, Fingerprint: m.print, Draft: m.Draft,
			Read: migrate.HasFlag(m.Flags, migrate.Seen), Received: m.Received})
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *target) Writers() int { return max(1, t.box.Parallel) }

func (t *target) Close() error {
	t.once.Do(func() { close(t.closed) })
	return nil
}

// Directory finds mailboxes in memory, by address.
type Directory map[string]migrate.TargetMailbox

var _ migrate.Directory = Directory(nil)

// Resolve implements migrate.Directory.
func (d Directory) Resolve(ctx context.Context, address string) (migrate.TargetMailbox, error) {
	if err := ctx.Err(); err != nil {
		return migrate.TargetMailbox{}, err
	}
	box, ok := d[strings.ToLower(address)]
	if !ok {
		return box, &migrate.Error{Op: "resolve", Kind: migrate.NoMailbox, Err: fmt.Errorf("no user has the address %s", address)}
	}
	return box, nil
}
