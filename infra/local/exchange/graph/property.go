package graph

import (
	"encoding/base64"
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
	propReferences   = "String 0x1039"
	propInReplyTo    = "String 0x1042"
	propReceipt      = "Boolean 0x29"
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

// namedProperty returns the named property that an id stands for, "" if it stands for
// one with a tag of its own.
func namedProperty(id string) string {
	if _, rest, ok := strings.Cut(id, " {"); ok {
		return "{" + rest
	}
	return ""
}

// checkValue refuses what is no value of the property's type.
func checkValue(id, value string) error {
	typ, _, _ := strings.Cut(id, " ")
	var err error
	switch typ {
	case "Integer":
		_, err = strconv.ParseInt(value, 10, 32)
	case "Short":
		_, err = strconv.ParseInt(value, 10, 16)
	case "Long":
		_, err = strconv.ParseInt(value, 10, 64)
	case "Double", "Float":
		_, err = strconv.ParseFloat(value, 64)
	case "Boolean":
		_, err = strconv.ParseBool(strings.ToLower(value))
	case "SystemTime":
		_, err = parseSystemTime(id, value)
	case "Binary":
		_, err = base64.StdEncoding.DecodeString(value)
	case "String":
		if len(value) > maxProperty {
			err = errPropertyFormat
		}
	}
	if err != nil {
		return badProperty(id)
	}
	return nil
}

// maxProperty is how long a string may be that is set as an extended property:
// one migrator met a 400 beyond (seth0109/gws-m365-migrator caps headers there).
const maxProperty = 32 << 10

func parseSystemTime(id, value string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil {
		return t, badProperty(id)
	}
	return t.UTC(), nil
}

func badProperty(id string) error {
	return refuse(400, "ErrorInvalidExtendedPropertyValue", "The value of the extended property "+id+" is invalid.")
}

// propertyOf returns an extended property of a message.
func (r *request) propertyOf(it *store.Item, id string) (value string, ok bool, err error) {
	if v, ok := it.Properties[id]; ok {
		return v, true, nil
	}
	switch id {
	case propMessageFlags:
		return strconv.Itoa(messageFlags(it)), true, nil
	case propDelivered:
		return it.Received.Format(time.RFC3339), true, nil
	case propSubmitted:
		return it.Sent.Format(time.RFC3339), !it.Sent.IsZero(), nil
	case propSize, propLongSize:
		return strconv.FormatInt(it.Body.Size+it.Body.Size/50+700, 10), true, nil
	case propInternetID:
		return it.MessageID, it.MessageID != "", nil
	case propFlagStatus:
		return "2", it.Flags&store.Flagged != 0, nil
	case propMessageClass:
		return "IPM.Note", true, nil
	case propHeaders:
		raw, err := r.mailbox.Store().Header(it.Body)
		return strings.ToValidUTF8(string(raw), "\uFFFD"), it.Flags&store.Draft == 0 && err == nil, err
	case propInReplyTo, propReferences:
		h, err := r.header(it)
		v := h.Get(map[string]string{propInReplyTo: "In-Reply-To", propReferences: "References"}[id])
		return v, v != "", err
	}
	return "", false, nil
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

// atCreation sets an extended property of a message that is not saved yet: bits
// 0x1 and 0x8 of PidTagMessageFlags (MS-OXCMSG 2.2.1.6) and the dates can be
// set now and never again.
func atCreation(it *store.Item, id, value string) (err error) {
	switch id {
	case propMessageFlags:
		n, err := strconv.Atoi(value)
		if err != nil {
			return badProperty(id)
		}
		it.Flags &^= store.Draft | store.Seen
		if n&mfUnsent != 0 {
			it.Flags |= store.Draft
		}
		if n&mfRead != 0 {
			it.Flags |= store.Seen
		}
	case propDelivered:
		it.Received, err = parseSystemTime(id, value)
	case propSubmitted:
		it.Sent, err = parseSystemTime(id, value)
	case propInternetID:
		it.MessageID = value
	default:
		apply(it, id, value)
	}
	return err
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

// normalize normalises the ids of properties that a client sets, checks their
// values, and registers the named ones.
func (f *face) normalize(r *request, props []property, headers []header) error {
	var names []string
	for i, p := range props {
		id, err := normalizeID(p.ID)
		if err != nil {
			return err
		}
		if err := checkValue(id, p.Value); err != nil {
			return err
		}
		props[i].ID = id
		if name := namedProperty(id); name != "" {
			names = append(names, name)
		}
	}
	for _, h := range headers {
		// PS_INTERNET_HEADERS (MS-OXPROPS 1.3.2); its names are in lower case.
		names = append(names, "{00020386-0000-0000-c000-000000000046} Name "+strings.ToLower(h.Name))
	}
	return r.mailbox.RegisterNames(names, f.o.Limits.NamedProperties)
}
