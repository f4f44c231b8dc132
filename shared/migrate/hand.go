package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// hand is one connection of a reader, used by one goroutine.
type hand struct {
	*reader
	source Source // nil: not connected yet
	first  bool   // its source is the run's own and stays open
}

// work takes one task after the other.
func (h *hand) work() {
	defer h.leave()
	for do := h.take(h); do != nil; do = h.take(h) {
		if err := do(); err != nil {
			h.change(func() {
				if h.source != nil || h.failure == nil { // one connection more says less than one that broke
					h.failure = unnamed(err)
				}
			})
			return
		}
	}
}

// unnamed leaves out which message an error is about: whoever waits for another one must not blame his.
func unnamed(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &Error{Op: "read ahead", Kind: KindOf(err), Reason: e.Reason, RetryAfter: e.RetryAfter, Advice: e.Advice, Err: errors.New(err.Error())}
}

// leave closes the hand's connection: what is idle costs the server.
func (h *hand) leave() {
	if h.source == nil {
		return
	}
	h.change(func() { h.connected-- })
	if !h.first {
		h.source.Close()
	}
}

// dismiss gives up the hand's connection, of which the run has too many. It is called under the lock.
func (h *hand) dismiss() func() error {
	source := h.source
	h.source = nil
	h.connected--
	return func() error {
		source.Close()
		return nil
	}
}

// connect signs in once more. Where the server has enough connections, the others go on without. Some
// servers then refuse the password, which was right for the first: more tries would count as guesses.
func (h *hand) connect() error {
	source, err := h.run.Dial(h.ctx, h.run.endpoint, h.run.cp.Mailbox)
	crowded := err != nil && h.run.crowds(err)
	if crowded {
		h.run.lowerCap(err)
	}
	h.change(func() {
		h.dialing--
		if err == nil {
			h.source = source
			return
		}
		h.connected--
		if kind := KindOf(err); kind == Throttled || kind == SignIn {
			h.refused = true
			if !crowded {
				h.took = max(h.connected, 1)
			}
		}
	})
	return err
}

// list finds out what a folder holds, and of a small new one what each message is, too.
func (h *hand) list(s *shelf) error {
	at := time.Now().UTC()
	few, whole := s.past.anchored(), h.describes(s)
	if whole {
		few = EveryUID()
	}
	l, err := survey(h.ctx, h.source, s.name, few)
	if err == nil {
		l.anew, err = h.run.isAnew(h.ctx, h.source, s.past, l)
		if err == nil && !l.anew {
			l.unmarked, err = h.unmarked(s.past.Marked.And(l.existing))
		}
	} else if whole {
		h.change(func() { h.plain = true }) // it may be a description that breaks the connection
	}
	if h.yields(err) {
		h.change(func() { s.begun = false })
		return err
	}
	h.change(func() {
		s.listed, s.at, s.state, s.listing, s.err = true, at, l.state, l, err
		// Where every UID was given anew, every message is looked up before it is read.
		if err == nil && !s.dropped && !s.closed && !s.past.renumbered(l) {
			s.rest = l.existing.Minus(s.done.Minus(l.unmarked))
			if whole {
				h.cutDescribed(s, l.few)
			}
		}
	})
	return h.over(err)
}

// describes reports whether a folder is described as it is listed: as much as is asked for at once
// anyway, and nothing that is known already.
func (h *hand) describes(s *shelf) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.plain && !s.closed && s.past.UIDValidity == 0 && s.done.Empty() && s.expected > 1 && s.expected <= measuredAtOnce*h.run.Limits.WindowMessages
}

// cutDescribed makes windows of all that is left, if each message is described.
func (h *hand) cutDescribed(s *shelf, described []MessageInfo) {
	infos := make(map[UID]MessageInfo, len(described))
	for _, i := range described {
		if s.rest.Contains(i.UID) {
			infos[i.UID] = i
		}
	}
	if len(infos) == s.rest.Len() {
		h.cut(s, s.rest, infos)
		s.rest = UIDSet{}
	}
}

// yields reports whether a task is better left to another hand, after this connection broke.
func (h *hand) yields(err error) bool {
	if err == nil || h.ctx.Err() != nil {
		return false
	}
	var e *Error
	if errors.As(err, &e) && e.UID != 0 {
		return false // another would fare no better
	}
	action := Judge(err, 0).Action
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.connected > 1 && (action == Reconnect || KindOf(err) == Throttled)
}

// over returns err if it ends the connection's use.
func (h *hand) over(err error) error {
	if err != nil && Judge(err, 0).Action == SkipFolder {
		return nil
	}
	return err
}

// measuredAtOnce is how many windows are cut at once, by number of messages.
const measuredAtOnce = 4

// measure asks for sizes and dates of the newest messages that are left and cuts them into windows.
func (h *hand) measure(s *shelf) error {
	h.mu.Lock()
	part := s.rest.Newest(measuredAtOnce * h.run.Limits.WindowMessages)
	h.mu.Unlock()
	infos := make(map[UID]MessageInfo)
	var err error
	if part.Len() > 1 || h.run.endpoint.asksInfo() { // one is a window, whatever its size
		h.source.Aim(s.name, s.state.UIDValidity, nil)
		err = h.source.Describe(h.ctx, part, func(i MessageInfo) error { infos[i.UID] = i; return nil })
	}
	if h.yields(err) {
		h.change(func() { s.measuring = false })
		return err
	}
	h.change(func() {
		s.measuring = false
		if s.dropped || err != nil {
			s.rest, s.err = UIDSet{}, err
			return
		}
		s.rest = s.rest.Minus(part)
		h.cut(s, part, infos)
	})
	return h.over(err)
}

// cut makes windows of messages, the newest first: as many as fit one, at least one. Those that stay
// behind for their mark or date are windows that need no reading.
func (h *hand) cut(s *shelf, uids UIDSet, infos map[UID]MessageInfo) {
	left, records := h.run.endpoint.leftOut(infos)
	if !left.Empty() {
		s.toWrite = append(s.toWrite, &window{shelf: s, uids: left, turn: make(chan struct{}), missing: records, over: true})
	}
	var w *window
	var messages int
	var octets int64
	for u := range uids.Minus(left).Descending {
		info, told := infos[u]
		messages, octets = messages+1, octets+info.Size
		if w == nil || messages > h.run.Limits.WindowMessages || octets > h.run.Limits.WindowOctets {
			w, messages, octets = &window{shelf: s, turn: make(chan struct{})}, 1, info.Size
			s.toRead, s.toWrite = append(s.toRead, w), append(s.toWrite, w)
		}
		w.uids.Add(u)
		if told {
			w.known = append(w.known, info)
		}
	}
}

// read reads a window's messages that have not been received yet, and finds out about those that do
// not come.
func (h *hand) read(w *window) error {
	h.source.Aim(w.shelf.name, w.shelf.state.UIDValidity, w.known)
	err := h.fetch(w)
	var missing []Record
	if err == nil {
		missing, err = h.account(w, w.uids.Minus(w.received))
	}
	if err == nil && !w.came && w.refusal != "" {
		err = h.blameless(w)
	}
	if h.yields(err) {
		h.change(func() {
			if !w.shelf.dropped {
				w.shelf.toRead = append([]*window{w}, w.shelf.toRead...)
			}
		})
		return err
	}
	h.change(func() { w.missing, w.over, w.err = missing, true, err })
	return h.over(err)
}

// fetch reads the window's messages that have not been received yet. One that is not what it was when
// its first octets came is begun once more.
func (h *hand) fetch(w *window) error {
	var again UIDSet
	for {
		err := h.source.Fetch(h.ctx, w.uids.Minus(w.received), func(info MessageInfo, octets int64, body io.Reader) error {
			return h.receive(w, info, octets, body)
		})
		var e *Error
		if !errors.As(err, &e) || e.Reason != Changed || again.Contains(e.UID) {
			return err
		}
		again.Add(e.UID)
	}
}

// receive spools one message.
func (h *hand) receive(w *window, info MessageInfo, octets int64, body io.Reader) error {
	j := job{info: info, mark: info.mark()}
	waits := func(now bool) { h.change(func() { w.waits = now }) }
	if err := h.run.spool(h.ctx, w.turn, waits, &j, octets, body); err != nil {
		return err
	}
	h.change(func() {
		w.received.Add(info.UID)
		if j.refused {
			w.refusal = j.reason
		} else {
			w.came = true
			w.shelf.came.Add(info.UID)
			w.shelf.came = w.shelf.came.Newest(maxAnchors)
		}
		if w.ready = append(w.ready, j); w.shelf.dropped {
			w.free()
		}
	})
	return nil
}

// account gives an outcome to what was requested and did not come: gone since, or not delivered.
func (h *hand) account(w *window, missing UIDSet) ([]Record, error) {
	if missing.Empty() {
		return nil, nil
	}
	still, err := h.source.UIDs(h.ctx, missing.Ranges()[0].First, missing.Max())
	if err != nil {
		return nil, err
	}
	var records []Record
	for u := range missing.Descending {
		r := Record{UID: u, Outcome: Skipped, Reason: "removed at the source before it was fetched"}
		if still.Contains(u) {
			r.Outcome, r.Reason = NotMigrated, "the source server lists this message but does not deliver it"
			h.change(func() { w.refusal = r.Reason })
		}
		records = append(records, r)
	}
	return records, nil
}

// survey opens a folder, lists its UIDs and describes a few messages.
func survey(ctx context.Context, source Source, name string, few UIDSet) (l listing, err error) {
	for try := 0; ; try++ {
		l.state, l.existing, l.few, err = source.Survey(ctx, name, few)
		if err != nil || l.existing.Len() >= l.state.Messages {
			return l, err
		}
		if try == 2 { // nothing was removed meanwhile: the server forgot some
			return l, &Error{Op: "list messages", Folder: name, Kind: Unreachable,
				Err: fmt.Errorf("the server names %d UIDs for %d messages", l.existing.Len(), l.state.Messages)}
		}
	}
}
