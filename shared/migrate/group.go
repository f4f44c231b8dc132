package migrate

import "time"

// maxGroup bounds the folders that are listed in one round trip.
const maxGroup = 16

// group are the folders to be listed together: new ones, as many as are described at once anyway. The
// first is to be listed now. It is called under the lock.
func (r *reader) group(first *shelf) []*shelf {
	group, left := []*shelf{first}, measuredAtOnce*r.run.Limits.WindowMessages-first.expected
	if !r.isNew(first) || left < 0 {
		return group
	}
	for _, s := range r.shelves {
		if !s.begun && r.isNew(s) && s.expected <= left && len(group) < maxGroup {
			group, left = append(group, s), left-s.expected
		}
	}
	return group
}

// isNew reports whether the server told of a folder what there is to read, and nobody else has.
func (r *reader) isNew(s *shelf) bool {
	return !r.plain && !s.closed && s.next != 0 && s.past.UIDValidity == 0 && s.done.Empty()
}

// listGroup finds out what several small new folders hold. Where the server's answers leave anything
// open, the rest is listed folder by folder.
func (h *hand) listGroup(group []*shelf) error {
	at := time.Now().UTC()
	names := make([]string, len(group))
	for i, s := range group {
		names[i] = s.name
	}
	found, err := h.source.SurveyNew(h.ctx, names)
	h.change(func() {
		for i, s := range group {
			if i >= len(found) {
				s.begun, h.plain = false, true
				continue
			}
			s.listed, s.at, s.state, s.listing = true, at, found[i].State, listing{state: found[i].State, existing: found[i].UIDs}
			if !s.dropped {
				s.rest = found[i].UIDs
				h.cutDescribed(s, found[i].Described)
			}
		}
	})
	return err
}
