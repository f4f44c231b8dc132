package graph

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// Ids are opaque to clients. A folder's names the folder, an ordinary message
// id the place (folder and UID), so that it changes with a move, an immutable
// id the message itself. An attachment's is its message's with a key added.
// They are case-sensitive.
const (
	folderPrefix    = "AAMkAF"
	messagePrefix   = "AAMkAM"
	immutablePrefix = "AAkALg"
)

// id is an id taken apart.
type id struct {
	prefix string
	a, b   uint64
	key    string // of an attachment, "" for other ids
}

func (i id) in(m *store.Mailbox) string {
	text := fmt.Sprintf("%s:%d:%d:%s", m.User().MailboxGUID, i.a, i.b, i.key)
	return i.prefix + base64.RawURLEncoding.EncodeToString([]byte(text)) + "="
}

func folderID(m *store.Mailbox, n uint64) string { return id{prefix: folderPrefix, a: n}.in(m) }

func messageID(m *store.Mailbox, it *store.Item, immutable bool) string {
	return attachmentID(m, it, immutable, "")
}

func attachmentID(m *store.Mailbox, it *store.Item, immutable bool, key string) string {
	if immutable {
		return id{immutablePrefix, it.ID, 0, key}.in(m)
	}
	return id{messagePrefix, it.Folder, uint64(it.UID), key}.in(m)
}

// parseID takes an id of a mailbox apart.
func parseID(m *store.Mailbox, text string) (id, error) {
	if len(text) < 6 {
		return id{}, errMalformedID
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(text[6:], "="))
	if err != nil {
		return id{}, errMalformedID
	}
	parts := strings.SplitN(string(raw), ":", 4)
	if len(parts) < 4 {
		return id{}, errMalformedID
	}
	a, err := strconv.ParseUint(parts[1], 10, 64)
	b, err2 := strconv.ParseUint(parts[2], 10, 64)
	if err != nil || err2 != nil {
		return id{}, errMalformedID
	}
	if parts[0] != m.User().MailboxGUID {
		return id{}, errItemNotFound
	}
	return id{text[:6], a, b, parts[3]}, nil
}

// findFolder looks a folder up by its id or well-known name.
func findFolder(m *store.Mailbox, id string) (store.Folder, error) {
	if n, ok := store.WellKnownID(id); ok {
		return m.Folder(n)
	}
	i, err := parseID(m, id)
	if err != nil {
		return store.Folder{}, err
	}
	if i.prefix != folderPrefix || i.key != "" {
		return store.Folder{}, errMalformedID
	}
	return m.Folder(i.a)
}

// findMessage looks a message up by either kind of id. What was deleted cannot
// be found.
func findMessage(m *store.Mailbox, text string) (*store.Item, error) {
	i, err := parseID(m, text)
	if err != nil {
		return nil, err
	}
	if i.key != "" {
		return nil, errMalformedID
	}
	return i.message(m)
}

// message finds the message that the id is of.
func (i id) message(m *store.Mailbox) (it *store.Item, err error) {
	switch i.prefix {
	case messagePrefix:
		it, err = m.ItemByUID(i.a, uint32(i.b))
	case immutablePrefix:
		it, err = m.Item(i.a)
	default:
		return nil, errMalformedID
	}
	if err == nil && it.Folder == store.RecoverableID {
		return nil, errItemNotFound
	}
	return it, err
}

// changeKey names a state of a message.
func changeKey(it *store.Item) string { return strconv.FormatUint(it.ID<<16|it.Change, 36) }

func etag(it *store.Item) string { return `W/"` + changeKey(it) + `"` }
