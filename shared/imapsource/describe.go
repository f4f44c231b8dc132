package imapsource

import (
	"context"
	"slices"

	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// located is a message and where it stands in the folder now.
type located struct {
	migrate.MessageInfo
	seq uint32
}

// Describe implements migrate.Source.
func (s *source) Describe(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo) error) error {
	_, err := s.describe(ctx, uids, func(m located) error { return yield(m.MessageInfo) })
	return err
}

// describe returns the messages that end the connection even when only their description is asked
// for.
func (s *source) describe(ctx context.Context, uids migrate.UIDSet, yield func(located) error) ([]suspect, error) {
	if err := s.arrive(ctx); err != nil {
		return nil, err
	}
	defer s.begin(ctx)()
	d := describer{conversation: conversation{s: s, ctx: ctx, op: "describe messages"}, yield: yield, partly: make(map[migrate.UID]located)}
	clear(s.known)
	for _, set := range batches(uids) {
		if err := d.ask(set, 2); err != nil {
			return nil, err
		}
	}
	return d.suspects, nil
}

// describer is one call of Describe.
type describer struct {
	conversation
	yield    func(located) error
	got      migrate.UIDSet
	partly   map[migrate.UID]located // of which not everything was said
	sizeless bool                    // sizes are not asked for
	suspects []suspect
}

// ask describes what exists of uids, and narrows down what ends the connection. Sizes are left out then:
// they are estimates, and for them Dovecot reads the whole message, also one that it cannot read
// (index_mail_get_virtual_size).
func (d *describer) ask(uids migrate.UIDSet, tries int) error {
	partial, gap, err := d.run(uids)
	rest := uids.Minus(d.got)
	switch {
	case err != nil || rest.Empty() || gap == nil && !partial:
		return err
	case gap != nil && !d.sizeless:
		d.sizeless = true
		return d.ask(rest, 2)
	case rest.Len() < uids.Len():
		return d.ask(rest, 2)
	case gap == nil || rest.Len() == 1:
		if tries--; tries > 0 {
			return d.ask(rest, tries)
		}
		if gap != nil {
			d.suspects = append(d.suspects, d.suspect(migrate.MessageInfo{UID: rest.Max()}, gap, true))
			return nil
		}
		return d.settle(rest)
	}
	lower, upper := halves(rest)
	if err := d.ask(lower, 2); err != nil {
		return err
	}
	return d.ask(upper, 2)
}

// settle yields what is known of messages of which the server never says everything: they exist.
func (d *describer) settle(uids migrate.UIDSet) error {
	for uid := range uids.Descending {
		m, ok := d.partly[uid]
		if !ok {
			continue
		}
		d.got.Add(uid)
		d.s.know(m.MessageInfo)
		if err := d.yield(m); err != nil {
			return err
		}
	}
	return nil
}

// run sends one command. partial tells that a response did not say everything: news of a flag that
// came before the answer and took its place.
func (d *describer) run(uids migrate.UIDSet) (partial bool, gap, err error) {
	options := descriptionOptions()
	options.RFC822Size = !d.sizeless
	cmd := d.s.client.Fetch(uidSet(uids), options)
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		info, complete := describe(msg)
		if !complete || d.got.Contains(info.UID) {
			partial = partial || !complete
			if info.UID != 0 {
				d.partly[info.UID] = located{info, msg.SeqNum}
			}
			continue
		}
		d.got.Add(info.UID)
		d.came()
		d.s.know(info)
		if err := d.yield(located{info, msg.SeqNum}); err != nil {
			breakOff(d.s.session, cmd, errBrokenOff)
			return partial, nil, err
		}
	}
	gap, err = d.close(cmd)
	return partial, gap, err
}

// maxKnown bounds what is kept of descriptions: more than a window.
const maxKnown = 10_000

// know keeps a description for servers that send the flags behind the body.
func (s *source) know(info migrate.MessageInfo) {
	if s.known == nil {
		s.known = make(map[migrate.UID]migrate.MessageInfo)
	}
	if len(s.known) < maxKnown {
		s.known[info.UID] = info
	}
}

// describe reads a response without a body. It is complete when UID, flags and date came.
func describe(msg *imapclient.FetchMessageData) (info migrate.MessageInfo, complete bool) {
	var got items
	for item := msg.Next(); item != nil; item = msg.Next() {
		got.take(item)
	}
	return got.info, got.complete()
}

// items collects what a FETCH response says of a message.
type items struct {
	info        migrate.MessageInfo
	flags, date bool
}

func (i *items) take(item imapclient.FetchItemData) {
	switch item := item.(type) {
	case imapclient.FetchItemDataUID:
		i.info.UID = migrate.UID(item.UID)
	case imapclient.FetchItemDataFlags:
		i.flags = true
		i.info.Flags = make([]migrate.Flag, 0, len(item.Flags))
		for _, f := range item.Flags {
			if f != `\Recent` && !slices.Contains(i.info.Flags, migrate.Flag(f)) {
				i.info.Flags = append(i.info.Flags, migrate.Flag(f))
			}
		}
	case imapclient.FetchItemDataInternalDate:
		i.date = true
		if !item.Time.Equal(noDate) {
			i.info.Received = item.Time
		}
	case imapclient.FetchItemDataRFC822Size:
		i.info.Size = item.Size
	}
}

func (i *items) complete() bool { return i.info.UID != 0 && i.flags && i.date }
