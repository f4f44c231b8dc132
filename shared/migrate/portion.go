package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// portionWindows bounds how many windows a FETCH is for.
const portionWindows = 4

// portion takes the windows for one FETCH: the server begins the next while the last is still on its way.
// Servers send in the order of UIDs, and so do the windows of a portion lie. The more there is to read
// for each connection, the more it is, within the octets of one window.
func (r *reader) portion(s *shelf) []*window {
	n, octets := 1, s.toRead[0].octets
	most := min(len(s.toRead)/max(1, r.connected), portionWindows)
	for n < most && !r.single && s.toRead[n].uids.Ranges()[0].First > s.toRead[n-1].uids.Max() &&
		octets+s.toRead[n].octets <= r.run.Limits.WindowOctets {
		octets += s.toRead[n].octets
		n++
	}
	portion := s.toRead[:n:n]
	s.toRead = s.toRead[n:]
	return portion
}

// read reads the messages of a folder's windows that have not been received yet, and finds out about
// those that do not come.
func (h *hand) read(s *shelf, windows []*window) error {
	var known []MessageInfo
	for _, w := range windows {
		known = append(known, w.known...)
	}
	h.source.Aim(s.name, s.state.UIDValidity, known)
	err := h.fetch(windows)
	var missing []Record
	if err == nil {
		missing, err = h.account(s, windows)
	}
	left := slices.DeleteFunc(slices.Clone(windows), func(w *window) bool { return w.over })
	for _, w := range left {
		if err == nil && !w.came && w.refusal != "" {
			err = h.blameless(w)
		}
	}
	if h.yields(err) {
		h.change(func() {
			if !s.dropped {
				s.toRead = append(left, s.toRead...)
			}
		})
		return err
	}
	h.change(func() {
		for _, w := range left {
			w.missing = slices.DeleteFunc(slices.Clone(missing), func(r Record) bool { return !w.uids.Contains(r.UID) })
			w.over, w.err = true, err
		}
	})
	return h.over(err)
}

// fetch reads the messages that have not been received yet. One that is not what it was when its first
// octets came is begun once more.
func (h *hand) fetch(windows []*window) error {
	var again UIDSet
	for {
		err := h.source.Fetch(h.ctx, outstanding(windows), func(info MessageInfo, octets int64, body io.Reader) error {
			w := windowOf(windows, info.UID)
			if w == nil {
				return nil // nobody asked for it
			}
			return h.receive(w, info, octets, body)
		})
		var e *Error
		if !errors.As(err, &e) || e.Reason != Changed || again.Contains(e.UID) {
			return err
		}
		again.Add(e.UID)
	}
}

func windowOf(windows []*window, uid UID) *window {
	for _, w := range windows {
		if w.uids.Contains(uid) {
			return w
		}
	}
	return nil
}

// outstanding are the messages that have not been received. Only their hand changes that.
func outstanding(windows []*window) (uids UIDSet) {
	for _, w := range windows {
		uids.Union(w.uids.Minus(w.received))
	}
	return uids
}

// receive spools one message. A window is over when its last one has come, whatever else its FETCH is
// for; one of which nothing came is looked into in the end.
func (h *hand) receive(w *window, info MessageInfo, octets int64, body io.Reader) error {
	h.change(func() { w.reading, w.since = info.UID, time.Now() })
	defer h.change(func() { w.reading = 0 })
	j := job{info: info, mark: info.mark()}
	waits := func(now bool) { h.change(func() { w.waits, w.since = now, time.Now() }) }
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
		w.over = w.came && w.received.Len() == w.uids.Len()
		if w.ready = append(w.ready, j); w.shelf.dropped {
			w.free()
		}
	})
	return nil
}

// account gives an outcome to what was requested and did not come: gone since, or not delivered.
func (h *hand) account(s *shelf, windows []*window) ([]Record, error) {
	missing := outstanding(windows)
	if missing.Empty() {
		return nil, nil
	}
	gone, now, err := removed(h.ctx, h.source, s.name, s.state, missing)
	if err != nil {
		return nil, err
	}
	whole := now.complete(s.name)
	if whole != nil && !gone.Empty() && s.listing.complete(s.name) == nil {
		return nil, whole
	}
	var records []Record
	for u := range missing.Descending {
		r := Record{UID: u, Outcome: Skipped, Reason: "removed at the source before it was fetched"}
		switch {
		case !gone.Contains(u):
			r.Outcome, r.Reason = NotMigrated, "the source server lists this message but does not deliver it"
			h.change(func() { windowOf(windows, u).refusal = r.Reason })
		case whole != nil:
			continue // no list of the folder is whole: it is asked for again should one have it
		case s.state.UIDNext != 0 && u >= s.state.UIDNext:
			continue // it may never have been there, and another message may get the UID
		}
		records = append(records, r)
	}
	return records, nil
}

// removed returns those of a folder's messages that are not listed any more since the folder was in that state, and
// what it holds now. It is opened anew for that. A list that is older, as at a replica that lags, says nothing; one
// that is not complete may lack them as it lacks others.
func removed(ctx context.Context, source Source, folder string, since FolderState, uids UIDSet) (gone UIDSet, now listing, err error) {
	now, err = survey(ctx, source, folder, UIDSet{})
	if err != nil {
		return gone, now, err
	}
	gone = uids.Minus(now.existing)
	switch next := now.state.UIDNext; {
	case now.state.UIDValidity != since.UIDValidity:
		err = validityChanged(folder, since.UIDValidity, now.state.UIDValidity)
	case !gone.Empty() && next != 0 && next < since.UIDNext:
		err = &Error{Op: "list messages", Folder: folder, Kind: Unreachable,
			Err: fmt.Errorf("this connection shows an older state of the folder, with UIDNEXT %d after %d", next, since.UIDNext)}
	}
	return gone, now, err
}
