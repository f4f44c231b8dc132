package migratetest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// EndpointName is the endpoint of a World.
const EndpointName = "old-server"

// Batch is the batch of a World.
const Batch = "wave one"

// World is the whole program over fakes: some processes, one queue, one store, sources and targets.
// It is meant for a testing/synctest bubble, where its minutes take no time.
type World struct {
	Store     *Store
	Drop      *Store
	Queue     *Queue
	Boxes     map[migrate.MailboxID]*Box
	Limits    migrate.Limits
	Slots     int
	SyncEvery time.Duration
	// Connections is how many a run may have to a source.
	Connections int
	// Memory and Disk are the budgets of each process's spool.
	Memory, Disk int64
	Processes    int           // at once
	Runs         int           // at once in a process
	TickEvery    time.Duration // of each process's planner
	Grace        time.Duration
	Kills        []int // side effects after which the first, second, ... process is killed; 0: never
	Mercy        bool  // no process is killed while a mailbox would be given up for that: see Deaths
	Brake        bool  // stands before the sign-ins
	Log          io.Writer
	Server       *SourceServer           // of every mailbox that is added; nil: each has its own
	Endpoint     func(*migrate.Endpoint) // changes the endpoint of mailboxes that are added; nil: not at all

	effects atomic.Int64
	mu      sync.Mutex
	notes   []string
	holders map[migrate.MailboxID]*process
	running []*process
	started int
}

// Box is a mailbox with both its ends.
type Box struct {
	Mailbox migrate.Mailbox
	Source  *SourceMailbox
	Target  *TargetBox
	// Dial signs in elsewhere than at Source, such as at a real server; nil: at Source. Then time must be real.
	Dial migrate.DialSource
}

// NewWorld returns a world with one process and no mailbox.
func NewWorld() *World {
	return &World{
		Store: NewStore(nil), Drop: NewStore(nil), Queue: NewQueue(), Boxes: make(map[migrate.MailboxID]*Box),
		holders: make(map[migrate.MailboxID]*process),
		Slots:   4, SyncEvery: 6 * time.Hour, Processes: 1, Runs: 4, TickEvery: time.Minute, Grace: 3 * time.Minute,
		Memory: 1 << 20, Disk: 64 << 20,
		Limits: migrate.Limits{WindowMessages: 4},
	}
}

// AddMailbox takes a mailbox in, as intake does.
func (w *World) AddMailbox(t testing.TB, login string) *Box {
	t.Helper()
	guid := "guid-of-" + login
	b := &Box{Source: NewSourceMailbox(), Target: NewTargetBox(), Mailbox: migrate.Mailbox{
		ID: migrate.NewMailboxID(EndpointName, login, guid), Batch: Batch, Login: login,
		Target: migrate.TargetMailbox{GUID: guid, Address: login + "@example.com"},
	}}
	b.Source.Server = w.Server
	w.Boxes[b.Mailbox.ID] = b
	now := time.Now().UTC()
	cp := &migrate.Checkpoint{Mailbox: b.Mailbox, State: migrate.Queued, Phase: migrate.Waiting, Due: now, Since: now}
	if _, err := migrate.SaveCheckpoint(t.Context(), w.Store, cp, migrate.Condition{Absent: true}); err != nil {
		t.Fatal(err)
	}
	if err := migrate.AnnounceEndpoint(t.Context(), w.Store, EndpointName); err != nil {
		t.Fatal(err)
	}
	e := migrate.Endpoint{Host: "imap.example.com", Slots: w.Slots, Connections: w.Connections, SyncEvery: migrate.Duration(w.SyncEvery)}
	if w.Endpoint != nil {
		w.Endpoint(&e)
	}
	endpoint, err := json.Marshal(e)
	if err == nil {
		_, err = w.Drop.Put(t.Context(), EndpointName+"/endpoint.json", endpoint, nil, migrate.Condition{})
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Effects is how many side effects the processes without a kill had.
func (w *World) Effects() int { return int(w.effects.Load()) }

// Notes are the errors of the planners.
func (w *World) Notes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.notes)
}

func (w *World) note(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, err.Error())
}

func (w *World) holds(id migrate.MailboxID, p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holders[id] = p
}

// KillHolder kills the process that last signed in to that mailbox.
func (w *World) KillHolder(id migrate.MailboxID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.holders[id].end()
}

// Run lets the processes work until done holds, looking every second, and then stops them. A killed
// process is followed by another a second later. It fails the test when done does not hold in time.
func (w *World) Run(t testing.TB, within time.Duration, done func() bool) {
	t.Helper()
	end := time.Now().Add(within)
	for !done() {
		if time.Now().After(end) {
			w.Stop()
			t.Fatalf("not done within %s:\n%s", within, w.describe(t))
		}
		w.tend()
		time.Sleep(time.Second)
	}
	w.Stop()
}

// Restart stops the oldest process at a safe point; another takes its place.
func (w *World) Restart() {
	if len(w.running) > 0 {
		w.running[0].stop()
	}
}

// tend replaces processes that were killed or stopped.
func (w *World) tend() {
	w.running = slices.DeleteFunc(w.running, func(p *process) bool {
		if p.soft.Err() == nil {
			return false
		}
		p.all.Wait()
		p.kill(nil)
		return true
	})
	for len(w.running) < w.Processes {
		limit := 0
		if w.started < len(w.Kills) {
			limit = w.Kills[w.started]
		}
		w.started++
		p := newProcess(w, limit)
		w.running = append(w.running, p)
		p.start(w.Runs)
	}
}

// Stop ends every process at a safe point.
func (w *World) Stop() {
	for _, p := range w.running {
		p.stop()
	}
	for _, p := range w.running {
		p.all.Wait()
		p.kill(nil)
	}
	w.running = nil
}

// Settle runs until every mailbox has ended or waits for its next incremental sync.
func (w *World) Settle(t testing.TB) {
	t.Helper()
	w.Run(t, 24*time.Hour, func() bool {
		for id := range w.Boxes {
			c := w.Checkpoint(t, id)
			if c.Phase != migrate.Waiting || !c.State.Final() && (c.State != migrate.Synced || !c.Due.After(time.Now())) {
				return false
			}
		}
		return true
	})
}

// Preflight runs until every mailbox was looked at and waits for the start.
func (w *World) Preflight(t testing.TB) {
	t.Helper()
	w.Run(t, 24*time.Hour, func() bool {
		for id := range w.Boxes {
			c := w.Checkpoint(t, id)
			if c.Phase != migrate.Waiting || c.State != migrate.Queued || c.Preflight == nil || c.Preflight.At.IsZero() {
				return false
			}
		}
		return true
	})
}

// Start orders the batch to start and settles.
func (w *World) Start(t testing.TB) {
	t.Helper()
	if err := migrate.OrderStart(t.Context(), w.Store, EndpointName, Batch); err != nil {
		t.Fatal(err)
	}
	w.Settle(t)
}

// Sync settles after another sync of every synced mailbox.
func (w *World) Sync(t testing.TB) {
	t.Helper()
	time.Sleep(w.SyncEvery)
	w.Settle(t)
}

// Complete orders the batch to complete and runs until every mailbox has ended.
func (w *World) Complete(t testing.TB) {
	t.Helper()
	if err := migrate.OrderComplete(t.Context(), w.Store, EndpointName, Batch); err != nil {
		t.Fatal(err)
	}
	w.Run(t, 24*time.Hour, func() bool {
		for id := range w.Boxes {
			if c := w.Checkpoint(t, id); !c.State.Final() {
				return false
			}
		}
		return true
	})
}

// Checkpoint loads a mailbox's checkpoint.
func (w *World) Checkpoint(t testing.TB, id migrate.MailboxID) *migrate.Checkpoint {
	t.Helper()
	c, _, err := migrate.LoadCheckpoint(t.Context(), w.Store, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *World) describe(t testing.TB) string {
	var b strings.Builder
	for id := range w.Boxes {
		content, err := json.Marshal(w.Checkpoint(t, id))
		fmt.Fprintf(&b, "%s %v\n", content, err)
	}
	return b.String() + strings.Join(w.Notes(), "\n")
}

// Records reads the ledger of a folder's current generation.
func (w *World) Records(t testing.TB, id migrate.MailboxID, f *migrate.FolderCursor) []migrate.Record {
	t.Helper()
	var records []migrate.Record
	prefix := fmt.Sprintf("%s%s/%04d-", migrate.LedgerPrefix(id), f.Key, f.Ledger.Generation)
	err := w.Store.List(t.Context(), prefix, func(e migrate.Entry) error {
		content, _, err := w.Store.Get(t.Context(), e.Name)
		for lines := bufio.NewScanner(bytes.NewReader(content)); err == nil && lines.Scan(); {
			var r migrate.Record
			err = json.Unmarshal(lines.Bytes(), &r)
			records = append(records, r)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}

// CheckExact fails the test unless every source message of the box is in its target folder exactly
// once with its octets, flags and received date, and in the ledger exactly once.
func (w *World) CheckExact(t testing.TB, b *Box) {
	t.Helper()
	want, got := make(map[string]int), make(map[string]int)
	cp := w.Checkpoint(t, b.Mailbox.ID)
	for _, f := range b.Source.Folders() {
		folder := FolderID(f.listed.Use, f.listed.Path)
		messages := f.Messages()
		for _, m := range messages {
			want[describe(folder, sha256.Sum256(m.Content), m.Flags, m.Received)]++
		}
		w.checkLedger(t, b, cp, f.listed.Name, messages)
	}
	for _, m := range b.Target.Messages() {
		got[describe(m.FolderID, m.SHA256, m.Flags, m.Received)]++
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %d at the target, want %d: %s", b.Mailbox.Login, got[key], want[key], key)
		}
		delete(got, key)
	}
	for key, n := range got {
		t.Errorf("%s: %d at the target that nobody sent: %s", b.Mailbox.Login, n, key)
	}
}

func (w *World) checkLedger(t testing.TB, b *Box, cp *migrate.Checkpoint, name string, messages []SourceMessage) {
	t.Helper()
	for _, f := range cp.Folders {
		if f.Name != name {
			continue
		}
		times := make(map[migrate.UID]int)
		for _, r := range w.Records(t, b.Mailbox.ID, f) {
			if r.Outcome != migrate.Migrated && r.Outcome != migrate.AlreadyThere {
				t.Errorf("%s: UID %d in %s is %s: %s", b.Mailbox.Login, r.UID, name, r.Outcome, r.Reason)
			}
			times[r.UID]++
		}
		for _, m := range messages {
			if times[m.UID] != 1 {
				t.Errorf("%s: UID %d in %s is %d times in the ledger", b.Mailbox.Login, m.UID, name, times[m.UID])
			}
		}
		if n := f.Counts.Messages(); n != len(times) || n != f.Done.Len() {
			t.Errorf("%s: %s counts %d messages, the ledger %d, the set of UIDs %d", b.Mailbox.Login, name, n, len(times), f.Done.Len())
		}
		return
	}
	t.Errorf("%s: no folder %s in the checkpoint", b.Mailbox.Login, name)
}

func describe(folder string, sum [32]byte, flags []migrate.Flag, received time.Time) string {
	return fmt.Sprintf("%s %x %v %s", folder, sum[:6], flags, received.UTC().Format(time.RFC3339))
}

// Message writes a message with that subject. An empty id leaves the Message-ID out.
func Message(id, subject string, size int) []byte {
	var b strings.Builder
	if id != "" {
		fmt.Fprintf(&b, "Message-ID: <%s@example.com>\r\n", id)
	}
	fmt.Fprintf(&b, "From: Ann <ann@example.com>\r\nDate: Mon, 05 Feb 2018 10:00:00 +0100\r\nSubject: %s\r\n\r\n", subject)
	if fill := size - b.Len(); fill > 0 {
		b.WriteString(strings.Repeat("x", fill))
	}
	return []byte(b.String())
}

// Started is how many processes were started so far.
func (w *World) Started() int { return w.started }
