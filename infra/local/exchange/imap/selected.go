package imap

import (
	"errors"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// view is what a session knows of the selected folder: which UID stands at
// which sequence number. The list of UIDs is shared with the store.
type view struct {
	folder   store.Folder
	path     []string
	readOnly bool
	uids     []uint32
	removals int
}

// refresh tells the client which messages left, if it may be told, and which
// came. Arrivals wait while departures do.
func (v *view) refresh(s *session, expunges bool) error {
	uids, removals, err := s.mailbox.UIDs(v.folder.ID)
	if err != nil {
		s.untagged("BYE Connection is closed. 13")
		s.logout = true
		return nil
	}
	if removals != v.removals {
		if !expunges {
			return nil
		}
		s.reportGone(v.uids, uids)
	}
	last := uint32(0)
	if len(v.uids) > 0 {
		last = v.uids[len(v.uids)-1]
	}
	v.uids, v.removals = uids, removals
	if len(uids) > 0 && uids[len(uids)-1] > last {
		s.untagged("%d EXISTS", len(uids))
	}
	return nil
}

// reportGone names the messages that are known and no longer present.
func (s *session) reportGone(known, present []uint32) {
	kept := 0
	for _, uid := range known {
		for len(present) > 0 && present[0] < uid {
			present = present[1:]
		}
		if len(present) > 0 && present[0] == uid {
			kept++
		} else {
			s.untagged("%d EXPUNGE", kept+1)
		}
	}
}

// selectFolder answers SELECT and EXAMINE.
func (s *session) selectFolder(c command) (string, error) {
	s.selected = nil
	f, err := s.folder(c, 0, noReply("Mailbox doesn't exist."))
	if err != nil {
		return "", err
	}
	v := &view{folder: f, readOnly: c.name == "EXAMINE"}
	v.path, _ = splitName(c.args[0].text) // it was found by it
	if v.uids, v.removals, err = s.mailbox.UIDs(f.ID); err != nil {
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
		if err := s.removeDeleted(v, selection{v.uids}); err != nil {
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
	picked := selection{v.uids}
	if c.name == "UID EXPUNGE" {
		var err error
		if picked, err = v.pick(c); err != nil {
			return "", err
		}
	}
	return c.name + " completed.", s.removeDeleted(v, picked)
}

func (s *session) removeDeleted(v *view, picked selection) error {
	for uid := range picked.all() {
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
