package imap

import (
	"errors"
	"fmt"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// storeFlags answers STORE and UID STORE.
func (s *session) storeFlags(c command) (string, error) {
	v := s.selected
	picked, err := v.pick(c)
	if err != nil {
		return "", err
	}
	if len(c.args) < 3 {
		return "", badArgument
	}
	if v.readOnly {
		return "", noReply("STORE failed.")
	}
	list := c.args[2:]
	if list[0].isList {
		list = list[0].list
	}
	flags, err := parseFlags(list)
	if err != nil {
		return "", err
	}
	item, _ := c.args[1].atom()
	item, silent := strings.CutSuffix(strings.ToUpper(item), ".SILENT")
	change, ok := changes[item]
	if !ok {
		return "", badArgument
	}
	for uid := range picked.all() {
		err := s.changeFlags(uid, silent, strings.HasPrefix(c.name, "UID "), func(old store.Flags) store.Flags { return change(old, flags) })
		if err != nil {
			return "", err
		}
	}
	return c.name + " completed.", nil
}

var changes = map[string]func(old, flags store.Flags) store.Flags{
	"FLAGS":  func(_, flags store.Flags) store.Flags { return flags },
	"+FLAGS": func(old, flags store.Flags) store.Flags { return old | flags },
	"-FLAGS": func(old, flags store.Flags) store.Flags { return old &^ flags },
}

// changeFlags changes one message. Whether it is a draft was settled when it
// was first saved (MS-OXCMSG, PidTagMessageFlags, mfUnsent).
func (s *session) changeFlags(uid uint32, silent, withUID bool, change func(store.Flags) store.Flags) error {
	v := s.selected
	it, err := s.mailbox.ItemByUID(v.folder.ID, uid)
	if err != nil {
		return nil // gone; the client learns it by EXPUNGE
	}
	it, err = s.mailbox.Update(it.ID, func(it *store.Item) {
		it.Flags = change(it.Flags)&^store.Draft | it.Flags&store.Draft
	})
	if errors.Is(err, store.ErrNoSuchItem) {
		return nil
	}
	if err != nil {
		return err
	}
	if silent {
		return nil
	}
	text := fmt.Sprintf("FLAGS (%s)", strings.Join(it.Flags.Names(), " "))
	if withUID {
		text += fmt.Sprintf(" UID %d", uid)
	}
	s.untagged("%d FETCH (%s)", v.sequence(uid), text)
	return nil
}

// copyMessages answers COPY, MOVE (RFC 6851) and their UID forms.
func (s *session) copyMessages(c command) (string, error) {
	v := s.selected
	picked, err := v.pick(c)
	if err != nil {
		return "", err
	}
	to, err := s.folder(c, 1, "[TRYCREATE] Mailbox doesn't exist.")
	if err != nil {
		return "", err
	}
	place, move := s.mailbox.Copy, strings.HasSuffix(c.name, "MOVE")
	if move {
		if v.readOnly {
			return "", noReply("MOVE failed.")
		}
		place = s.mailbox.Move
	}
	var from, made []string
	for uid := range picked.all() {
		it, err := s.mailbox.ItemByUID(v.folder.ID, uid)
		if err != nil {
			continue
		}
		it, err = place(it.ID, to.ID)
		if err != nil {
			return "", refusal(err, noReply(c.name+" failed."))
		}
		from, made = append(from, number(int64(uid))), append(made, number(int64(it.UID)))
	}
	if len(made) == 0 {
		return c.name + " completed.", nil
	}
	code := fmt.Sprintf("[COPYUID %d %s %s]", to.UIDValidity, strings.Join(from, ","), strings.Join(made, ","))
	if move {
		s.untagged("OK %s", code)
		return c.name + " completed.", nil
	}
	return code + " " + c.name + " completed.", nil
}
