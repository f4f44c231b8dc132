package graph

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"mailferry/infra/local/exchange/store"
)

// property is a singleValueLegacyExtendedProperty.
type property struct {
	ID    string `json:"id"`
	Value string `json:"value"`
}

// MAPI properties (MS-OXPROPS) with a meaning of their own, by normalised id.
const (
	propFolderClass  = "String 0x3613"
	propMessageFlags = "Integer 0xe07"
	propDelivered    = "SystemTime 0xe06"
	propSubmitted    = "SystemTime 0x39"
	propHeaders      = "String 0x7d"
	propSize         = "Integer 0xe08"
	propLongSize     = "Long 0xe08"
	propMessageClass = "String 0x1a"
	propInternetID   = "String 0x1035"
	propFlagStatus   = "Integer 0x1090"
)

// Bits of PidTagMessageFlags (MS-OXCMSG 2.2.1.6).
const (
	mfRead       = 0x1
	mfUnmodified = 0x2
	mfUnsent     = 0x8
)

var propertyTypes = []string{
	"Binary", "Boolean", "CLSID", "Double", "Float", "Integer", "Long", "Short", "String", "SystemTime",
}

var bracedGUID = regexp.MustCompile(`^\{[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\}$`)

// normalizeID writes an id as Exchange echoes it: "Integer 0x0E07" comes back
// as "Integer 0xe07".
func normalizeID(id string) (string, error) {
	typ, rest, ok := strings.Cut(strings.TrimSpace(id), " ")
	known := ""
	for _, t := range propertyTypes {
		if strings.EqualFold(t, typ) {
			known = t
		}
	}
	if !ok || known == "" {
		return "", errPropertyFormat
	}
	rest = strings.TrimSpace(rest)
	if tag, ok := cutPrefixFold(rest, "0x"); ok {
		n, err := strconv.ParseUint(tag, 16, 16)
		if err != nil || n == 0 {
			return "", errPropertyFormat
		}
		return fmt.Sprintf("%s 0x%x", known, n), nil
	}
	guid, name, ok := strings.Cut(rest, " ")
	kind, key, ok2 := strings.Cut(strings.TrimSpace(name), " ")
	key = strings.TrimSpace(key)
	if !ok || !ok2 || !bracedGUID.MatchString(guid) || key == "" {
		return "", errPropertyFormat
	}
	switch {
	case strings.EqualFold(kind, "Name"):
		return known + " " + strings.ToLower(guid) + " Name " + key, nil
	case strings.EqualFold(kind, "Id"):
		n, err := strconv.ParseUint(strings.TrimPrefix(strings.ToLower(key), "0x"), 16, 32)
		if err != nil {
			return "", errPropertyFormat
		}
		return fmt.Sprintf("%s %s Id 0x%x", known, strings.ToLower(guid), n), nil
	}
	return "", errPropertyFormat
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// propertyOf returns an extended property of a message.
func propertyOf(it *store.Item, id string) (string, bool) {
	switch id {
	case propMessageFlags:
		return strconv.Itoa(messageFlags(it)), true
	case propDelivered:
		return it.Received.Format(time.RFC3339), true
	case propSubmitted:
		return it.Sent.Format(time.RFC3339), !it.Sent.IsZero()
	case propSize, propLongSize:
		return strconv.FormatInt(it.Body.Size+it.Body.Size/50+700, 10), true
	case propInternetID:
		return it.MessageID, it.MessageID != ""
	case propFlagStatus:
		return "2", it.Flags&store.Flagged != 0
	case propMessageClass:
		if v, ok := it.Properties[id]; ok {
			return v, true
		}
		return "IPM.Note", true
	}
	v, ok := it.Properties[id]
	return v, ok
}

func messageFlags(it *store.Item) int {
	n := 0
	if it.Flags&store.Seen != 0 {
		n |= mfRead
	}
	if it.Flags&store.Draft != 0 {
		return n | mfUnsent
	}
	return n | mfUnmodified
}

// apply sets an extended property of a saved message. Those that Exchange
// computes, or fixes when a message is first saved, silently stay as they are:
// PidTagMessageFlags (MS-OXCMSG 2.2.1.6) and the dates.
func apply(it *store.Item, id, value string) {
	switch id {
	case propMessageFlags, propDelivered, propSubmitted, propSize, propLongSize, propInternetID:
	case propFlagStatus:
		it.Flags &^= store.Flagged
		if value == "2" {
			it.Flags |= store.Flagged
		}
	default:
		if it.Properties == nil {
			it.Properties = map[string]string{}
		}
		it.Properties[id] = value
	}
}
