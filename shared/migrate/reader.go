package migrate

import (
	"context"
	"errors"
	"sync"
	"time"
)

// reader reads folders ahead of what is written. Several hands, each with a connection of its own, take
// what is to be done next: list a folder, learn sizes and cut windows, read a window into the spool.
// The run takes folders and windows in their order, and a window is written only after that. Reading
// has no effect anywhere, so what is ahead may be thrown away.
type reader struct {
	run    *mailboxRun // its hands use only what does not change
	ctx    context.Context
	cancel context.CancelFunc
	hands  sync.WaitGroup

	mu        sync.Mutex
	news      *sync.Cond // something below changed
	shelves   []*shelf   // in the order in which they are read
	busy      int        // tasks under way that may make others
	connected int        // hands that have a connection, or are about to
	dialing   int        // of these, the ones that are about to
	took      int        // connections that the server took when it refused another of this mailbox; 0: it did not
	idle      int        // of the connected, the ones that wait for a task
	failure   error      // why the last hand gave up
	refused   bool       // the server takes no more connections
	plain     bool       // folders are listed without descriptions
	single    bool       // a FETCH is for one window only
}

// shelf is a folder in the reader. What lies below listed is the reader's.
type shelf struct {
	name   string
	past   *FolderCursor // what the cursor knew; nil if the shelf comes listed
	done   UIDSet        // needs no reading
	closed bool          // is listed only

	expected int // messages to read, as far as the server told beforehand
	next     UID // UIDNEXT, likewise; 0 is unknown

	listed  bool // the next three are known, or err
	at      time.Time
	state   FolderState
	listing listing
	err     error // why nothing more comes

	begun     bool
	measuring bool
	rest      UIDSet    // not cut into windows yet
	came      UIDSet    // some messages that did, the newest
	toRead    []*window // that no hand has taken
	toWrite   []*window // that the run has not taken
	current   *window   // that the run has taken last
	dropped   bool
}

// window is a part of a folder that is written as one. What lies below turn is the reader's.
type window struct {
	shelf  *shelf
	uids   UIDSet
	known  []MessageInfo // what the server told of them
	octets int64         // by that
	turn   chan struct{} // closed when the run has come to it

	waits    bool // its hand waits for a place in the spool
	reading  UID  // whose octets are on their way; 0: none
	since    time.Time
	received UIDSet
	ready    []job    // received, not written yet
	missing  []Record // outcomes of what does not come
	came     bool     // a message
	refusal  string   // the server's words for one that did not come
	nothing  bool     // of the folder comes, as far as is known
	ill      bool     // not even what came before
	over     bool     // nothing more comes
	err      error    // why
}

// read starts to read these folders.
func (m *mailboxRun) read(shelves []*shelf) *reader {
	r := &reader{run: m, shelves: shelves, connected: 1, plain: m.plain, single: m.single}
	r.news = sync.NewCond(&r.mu)
	r.ctx, r.cancel = context.WithCancel(m.ctx)
	r.hands.Go((&hand{reader: r, source: m.source, first: true}).work)
	for range m.mayConnect() - 1 {
		r.hands.Go((&hand{reader: r}).work)
	}
	return r
}

// close ends all reading and frees what was read in vain.
func (r *reader) close() {
	r.cancel()
	r.change(func() {})
	r.hands.Wait()
	for _, s := range r.shelves {
		r.drop(s)
	}
	r.run.plain, r.run.single = r.plain, r.single
	if r.took > 0 {
		r.run.cp.Crowded = &Crowded{Connections: r.took, At: time.Now().UTC()}
	}
}

// change changes something under the lock and tells everybody.
func (r *reader) change(what func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	what()
	r.news.Broadcast()
}

// drop leaves a folder out from now on.
func (r *reader) drop(s *shelf) {
	r.change(func() {
		for _, w := range s.toWrite {
			close(w.turn) // a hand that waits for it goes on
			w.free()
		}
		if s.current != nil {
			s.current.free()
		}
		s.begun, s.dropped = true, true
		s.rest, s.toRead, s.toWrite = UIDSet{}, nil, nil
	})
}

func (w *window) free() {
	for _, j := range w.ready {
		j.close()
	}
	w.ready = nil
}

// await waits for ok, which is asked under the lock. It ends with ctx, with the run's budget and with
// the last hand.
func (r *reader) await(ctx context.Context, ok func() bool) error {
	wake := func() { r.change(func() {}) }
	defer context.AfterFunc(ctx, wake)()
	defer context.AfterFunc(r.run.soft, wake)()
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.run.soft.Err() != nil:
			return errBudget
		case ok():
			return nil
		case r.connected == 0:
			return r.failure
		case r.stuck():
			r.single = true // a FETCH for several may have gone on without the rest of the first
			return &Error{Op: "read messages", Kind: Unreachable,
				Err: errors.New("the connection that was to read them broke, and the others have read ahead as much as they may")}
		}
		r.news.Wait()
	}
}

// stuck reports whether every connection has read ahead as much as it may, so that none reads what the
// run waits for: the task of one that broke, or what a server left out of the first window of several.
func (r *reader) stuck() bool {
	blocked := r.blocked()
	return blocked > 0 && (blocked == r.connected || blocked+r.idle == r.connected && r.waiting() == 0)
}

// blocked counts the connections that have read ahead as much as they may.
func (r *reader) blocked() (n int) {
	for _, s := range r.shelves {
		for _, w := range s.toWrite {
			if w.waits {
				n++
			}
		}
	}
	return n
}

// list waits until the folder is listed.
func (r *reader) list(s *shelf) error {
	if err := r.await(r.ctx, func() bool { return s.listed }); err != nil {
		return err
	}
	return s.err
}

// next gives the folder's next window its turn; nil is the end.
func (r *reader) next(s *shelf) (w *window, err error) {
	err = r.await(r.ctx, func() bool {
		if len(s.toWrite) > 0 {
			w, s.toWrite = s.toWrite[0], s.toWrite[1:]
			s.current = w
			close(w.turn)
			return true
		}
		return s.err != nil || s.rest.Empty() && !s.measuring
	})
	if err == nil && w == nil {
		err = s.err
	}
	return w, err
}

// message waits for the window's next message; nil is the end.
func (r *reader) message(ctx context.Context, w *window) (j *job, err error) {
	err = r.await(ctx, func() bool {
		if len(w.ready) > 0 {
			j, w.ready = &w.ready[0], w.ready[1:]
			return true
		}
		return w.over
	})
	if err == nil && j == nil {
		err = w.err
	}
	return j, err
}

// take waits for a hand's next task; nil is none any more. A hand without a connection gets one only
// when more is to be done than the others can begin, and gives it up when the server's cap has fallen.
func (r *reader) take(h *hand) func() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.ctx.Err() == nil {
		waiting := r.waiting()
		switch {
		case waiting == 0 && r.busy == 0:
			return nil
		case h.source == nil && r.refused:
			return nil
		case h.source != nil && !h.first && r.connected > r.run.connections() && r.blocked() < r.connected-1:
			return h.dismiss()
		case h.source == nil && r.connected < r.run.connections() && r.dialing < r.dialsAtOnce() && r.coming(waiting) > r.connected && r.idle == 0:
			r.connected, r.dialing = r.connected+1, r.dialing+1
			return h.connect
		case h.source != nil && waiting > 0:
			return r.choose(h)
		}
		if h.source == nil {
			r.news.Wait()
			continue
		}
		r.idle++
		r.news.Wait()
		r.idle--
	}
	return nil
}

// wants reports whether there is more to read than all connections that the run may have can begin.
func (r *reader) wants() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.refused && r.idle == 0 && r.connected >= r.run.connections() && r.coming(r.waiting()) > r.connected
}

// count is how many connections there are.
func (r *reader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.connected
}

// waiting counts the tasks that can be begun.
func (r *reader) waiting() (n int) {
	for _, s := range r.shelves {
		n += len(s.toRead)
		if !s.begun {
			n += 1 + s.expected/r.run.Limits.WindowMessages
		}
		if !s.rest.Empty() && !s.measuring {
			n += 1 + (s.rest.Len()-1)/r.run.Limits.WindowMessages
		}
	}
	return n
}

// coming adds the windows that are being cut, or will be, to the tasks that wait: connecting takes as
// long.
func (r *reader) coming(waiting int) int {
	for _, s := range r.shelves {
		switch {
		case s.measuring:
			waiting += s.rest.Len() / r.run.Limits.WindowMessages
		case s.begun && !s.listed:
			waiting += 1 + s.expected/r.run.Limits.WindowMessages
		}
	}
	return waiting
}

// choose takes the first window to read. Sizes are asked for before windows run out, and another
// folder is listed when there is nothing to read in those that are.
func (r *reader) choose(h *hand) func() error {
	for _, s := range r.shelves {
		switch {
		case !s.begun:
			s.begun = true
			group := r.group(s)
			for _, s := range group {
				s.begun = true
			}
			if len(group) > 1 {
				return r.making(func() error { return h.listGroup(group) })
			}
			return r.making(func() error { return h.list(s) })
		case !s.rest.Empty() && !s.measuring && len(s.toRead) < r.connected:
			s.measuring = true
			return r.making(func() error { return h.measure(s) })
		case len(s.toRead) > 0:
			ws := r.portion(s)
			return r.making(func() error { return h.read(s, ws) })
		}
	}
	return nil
}

// making counts a task as one that may make others. It is called under the lock.
func (r *reader) making(do func() error) func() error {
	r.busy++
	r.news.Broadcast()
	return func() error {
		defer r.change(func() { r.busy-- })
		return do()
	}
}
