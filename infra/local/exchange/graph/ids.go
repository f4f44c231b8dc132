package graph

import (
	"encoding/base64"
	"fmt"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// Ids are opaque to clients. A folder's names the folder, an ordinary message
// id the place (folder and UID), so that it changes with a move, an immutable
// id the message itself.
const (
	folderPrefix    = "AAMkAF"
	messagePrefix   = "AAMkAM"
	immutablePrefix = "AAkALg"
)

func makeID(prefix string, m *store.Mailbox, a, b uint64) string {
	text := fmt.Sprintf("%s:%d:%d", m.User().MailboxGUID, a, b)
	return prefix + base64.RawURLEncoding.EncodeToString([]byte(text)) + "="
}

func folderID(m *store.Mailbox, id uint64) string { return makeID(folderPrefix, m, id, 0) }

func messageID(m *store.Mailbox, it *store.Item, immutable bool) string {
	if immutable {
		return makeID(immutablePrefix, m, it.ID, 0)
	}
	return makeID(messagePrefix, m, it.Folder, uint64(it.UID))
}

// parseID takes an id of a mailbox apart.
func parseID(m *store.Mailbox, id string) (prefix string, a, b uint64, err error) {
	if len(id) < 6 {
		return "", 0, 0, errMalformedID
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(id[6:], "="))
	if err != nil {
		return "", 0, 0, errMalformedID
	}
	guid, rest, _ := strings.Cut(string(raw), ":")
	if _, err := fmt.Sscanf(rest, "%d:%d", &a, &b); err != nil {
		return "", 0, 0, errMalformedID
	}
	if guid != m.User().MailboxGUID {
		return "", 0, 0, errItemNotFound
	}
	return id[:6], a, b, nil
}

// findFolder looks a folder up by its id or well-known name.
func findFolder(m *store.Mailbox, id string) (store.Folder, error) {
	if n, ok := store.WellKnownID(id); ok {
		return m.Folder(n)
	}
	prefix, n, _, err := parseID(m, id)
	if err != nil {
		return store.Folder{}, err
	}
	if prefix != folderPrefix {
		return store.Folder{}, errMalformedID
	}
	return m.Folder(n)
}

// findMessage looks a message up by either kind of id. What was deleted cannot
// be found.
func findMessage(m *store.Mailbox, id string) (*store.Item, error) {
	prefix, a, b, err := parseID(m, id)
	if err != nil {
		return nil, err
	}
	var it *store.Item
	switch prefix {
	case messagePrefix:
		it, err = m.ItemByUID(a, uint32(b))
	case immutablePrefix:
		it, err = m.Item(a)
	default:
		return nil, errMalformedID
	}
	if err == nil && it.Folder == store.RecoverableID {
		return nil, errItemNotFound
	}
	return it, err
}
