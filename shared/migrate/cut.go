package migrate

import (
	"context"
	"fmt"
	"time"
)

// list finds out what a folder holds, and what the newest messages of a new one are, too.
func (h *hand) list(s *shelf) error {
	at := time.Now().UTC()
	few, block := h.few(s)
	l, err := survey(h.ctx, h.source, s.name, few)
	if err == nil {
		err = h.run.examine(h.ctx, h.source, s.past, s.done, &l)
		if err == nil && !l.anew {
			l.unmarked, err = h.unmarked(s.past.Marked.And(l.existing))
		}
	} else if block {
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
			s.rest = l.existing.Minus(s.done.Minus(l.unmarked)).Minus(s.past.lookedUp(l, s.done))
			if block {
				h.cutDescribed(s, l.few)
			}
		}
	})
	return h.over(err)
}

// few are the messages that are described as the folder is listed: those by which it is known again; of
// a new one, as many of the newest as are asked for at once anyway.
func (h *hand) few(s *shelf) (few UIDSet, block bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	most := measuredAtOnce * h.run.Limits.WindowMessages
	switch {
	case h.plain || s.closed || s.past.UIDValidity != 0 || !s.done.Empty() || s.expected < 2:
		return s.past.anchored(), false
	case s.expected <= most:
		return EveryUID(), true
	case int64(s.next) > int64(most):
		few.AddRange(s.next-UID(most), ^UID(0))
		return few, true
	}
	return s.past.anchored(), false
}

// cutDescribed makes windows of what is described.
func (h *hand) cutDescribed(s *shelf, described []MessageInfo) {
	infos, part := make(map[UID]MessageInfo, len(described)), UIDSet{}
	for _, i := range described {
		if s.rest.Contains(i.UID) {
			infos[i.UID] = i
			part.Add(i.UID)
		}
	}
	s.rest = s.rest.Minus(part)
	h.cut(s, part, infos)
}

// survey opens a folder, lists its UIDs and describes a few messages. Where the list does not get
// complete, what it has comes all the same.
func survey(ctx context.Context, source Source, name string, few UIDSet) (l listing, err error) {
	for range 3 { // some may have been removed meanwhile
		l.state, l.existing, l.few, err = source.Survey(ctx, name, few)
		if err != nil || l.complete(name) == nil {
			break
		}
	}
	return l, err
}

// complete returns an error if the server forgot some messages in its list.
func (l listing) complete(folder string) error {
	if l.existing.Len() >= l.state.Messages {
		return nil
	}
	return &Error{Op: "list messages", Folder: folder, Kind: NoFolder,
		Advice: "What the server lists of the folder comes. Let its administrator build the folder's index anew, so that it lists the rest.",
		Err:    fmt.Errorf("the server names %d UIDs for %d messages", l.existing.Len(), l.state.Messages)}
}

// measuredAtOnce is how many windows are cut at once, by number of messages.
const measuredAtOnce = 8

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

// cut makes windows of messages in the order of their UIDs: as many as fit one, at least one. Those that
// stay behind for their mark or date are windows that need no reading.
func (h *hand) cut(s *shelf, uids UIDSet, infos map[UID]MessageInfo) {
	left, records := h.run.endpoint.leftOut(infos)
	if !left.Empty() {
		s.toWrite = append(s.toWrite, &window{shelf: s, uids: left, turn: make(chan struct{}), missing: records, over: true})
	}
	var w *window
	for u := range uids.Minus(left).Ascending {
		info, told := infos[u]
		if w == nil || w.uids.Len() == h.run.Limits.WindowMessages || w.octets+info.Size > h.run.Limits.WindowOctets {
			w = &window{shelf: s, turn: make(chan struct{})}
			s.toRead, s.toWrite = append(s.toRead, w), append(s.toWrite, w)
		}
		w.uids.Add(u)
		w.octets += info.Size
		if told {
			w.known = append(w.known, info)
		}
	}
}
