package imap

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// view is what a session knows of the selected folder: which UID stands at
// which sequence number.
type view struct {
	folder   store.Folder
	readOnly bool
	uids     []uint32
	removals int
}

var errFolderGone = errors.New("selected folder is gone")

// refresh tells the client which messages left, if it may be told, and which
// came.
func (v *view) refresh(s *session, expunges bool) error {
	last := uint32(0)
	if len(v.uids) > 0 {
		last = v.uids[len(v.uids)-1]
	}
	fresh, removals, err := s.mailbox.UIDsFrom(v.folder.ID, last+1)
	if err != nil {
		s.untagged("BYE Connection is closed. 13")
		s.logout = true
		return nil
	}
	if removals != v.removals && expunges {
		if err := v.expunge(s); err != nil {
			return err
		}
		v.removals = removals
	}
	if len(fresh) > 0 {
		v.uids = append(v.uids, fresh...)
		s.untagged("%d EXISTS", len(v.uids))
	}
	return nil
}

// expunge reports the messages that have left.
func (v *view) expunge(s *session) error {
	present, _, err := s.mailbox.UIDsFrom(v.folder.ID, 1)
	if err != nil {
		return errFolderGone
	}
	kept := v.uids[:0]
	for _, uid := range v.uids {
		if _, ok := slices.BinarySearch(present, uid); ok {
			kept = append(kept, uid)
		} else {
			s.untagged("%d EXPUNGE", len(kept)+1)
		}
	}
	v.uids = kept
	return nil
}

// selectFolder answers SELECT and EXAMINE.
func (s *session) selectFolder(c command) (string, error) {
	s.selected = nil
	f, err := s.folder(c, 0, noReply("Mailbox doesn't exist."))
	if err != nil {
		return "", err
	}
	v := &view{folder: f, readOnly: c.name == "EXAMINE"}
	if v.uids, v.removals, err = s.mailbox.UIDsFrom(f.ID, 1); err != nil {
		return "", noReply("Mailbox doesn't exist.")
	}
	flags := strings.Join(store.AllFlags(), " ")
	s.untagged("%d EXISTS", len(v.uids))
	s.untagged("0 RECENT")
	s.untagged("FLAGS (%s)", flags)
	if v.readOnly {
		flags = ""
	}
	s.untagged("OK [PERMANENTFLAGS (%s)] Permanent flags", flags)
	s.untagged("OK [UIDVALIDITY %d] UIDVALIDITY value", f.UIDValidity)
	s.untagged("OK [UIDNEXT %d] The next unique identifier value", f.UIDNext)
	s.selected = v
	if v.readOnly {
		return "[READ-ONLY] EXAMINE completed.", nil
	}
	return "[READ-WRITE] SELECT completed.", nil
}

func (s *session) unselect(command) (string, error) {
	s.selected = nil
	return "UNSELECT completed.", nil
}

// closeFolder expunges without telling (RFC 3501, section 6.4.2).
func (s *session) closeFolder(command) (string, error) {
	v := s.selected
	s.selected = nil
	if !v.readOnly {
		if err := s.removeDeleted(v, v.uids); err != nil {
			return "", err
		}
	}
	return "CLOSE completed.", nil
}

// expunge answers EXPUNGE and UID EXPUNGE (RFC 4315).
func (s *session) expunge(c command) (string, error) {
	v := s.selected
	if v.readOnly {
		return "", noReply("EXPUNGE failed.")
	}
	uids := v.uids
	if c.name == "UID EXPUNGE" {
		var err error
		if uids, err = v.pick(c); err != nil {
			return "", err
		}
	}
	return c.name + " completed.", s.removeDeleted(v, uids)
}

func (s *session) removeDeleted(v *view, uids []uint32) error {
	for _, uid := range uids {
		it, err := s.mailbox.ItemByUID(v.folder.ID, uid)
		if err != nil || it.Flags&store.Deleted == 0 {
			continue
		}
		if err := s.mailbox.Delete(it.ID); err != nil && !errors.Is(err, store.ErrNoSuchItem) {
			return err
		}
	}
	return nil
}

// span is a part of a sequence set, both ends included.
type span struct{ from, to uint32 }

// parseSet reads a sequence set (RFC 3501, section 9); highest stands for "*".
func parseSet(text string, highest uint32) ([]span, error) {
	var out []span
	for part := range strings.SplitSeq(text, ",") {
		first, second, isRange := strings.Cut(part, ":")
		from, err := parseNumber(first, highest)
		if err != nil {
			return nil, err
		}
		to := from
		if isRange {
			if to, err = parseNumber(second, highest); err != nil {
				return nil, err
			}
		}
		out = append(out, span{min(from, to), max(from, to)})
	}
	slices.SortFunc(out, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return out, nil
}

func parseNumber(s string, highest uint32) (uint32, error) {
	if s == "*" {
		return highest, nil
	}
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil || n == 0 || s[0] == '+' {
		return 0, badArgument
	}
	return uint32(n), nil
}

// pick returns the UIDs that the first argument of c selects.
func (v *view) pick(c command) ([]uint32, error) {
	text, err := c.text(0)
	if err != nil {
		return nil, err
	}
	return v.resolve(text, strings.HasPrefix(c.name, "UID "))
}

func (v *view) resolve(set string, byUID bool) ([]uint32, error) {
	highest := uint32(len(v.uids))
	if byUID && len(v.uids) > 0 {
		highest = v.uids[len(v.uids)-1]
	}
	spans, err := parseSet(set, highest)
	if err != nil {
		return nil, err
	}
	var out []uint32
	next := 0 // overlapping spans give a message once
	for _, sp := range spans {
		from, to := int(sp.from)-1, int(sp.to)
		if byUID {
			from, _ = slices.BinarySearch(v.uids, sp.from)
			to, _ = slices.BinarySearchFunc(v.uids, uint64(sp.to)+1, func(u uint32, t uint64) int { return cmp.Compare(uint64(u), t) })
		} else if sp.from == 0 || int(sp.to) > len(v.uids) {
			return nil, badArgument
		}
		from = max(from, next)
		if from < to {
			out = append(out, v.uids[from:to]...)
			next = to
		}
	}
	return out, nil
}

// sequence returns the sequence number of a UID.
func (v *view) sequence(uid uint32) int {
	i, _ := slices.BinarySearch(v.uids, uid)
	return i + 1
}
