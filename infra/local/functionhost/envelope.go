package functionhost

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
)

// envelope is the body of an invocation (HttpScriptInvocationContext).
type envelope struct {
	Data     map[string]any
	Metadata metadata
}

// metadata is the binding data of an invocation. Its values are in wire form:
// made by quoted, date, dateOffset or object. Keys are looked up without regard
// to case, as in the host's dictionaries.
type metadata map[string]any

// set keeps the spelling of a key that is already there.
func (m metadata) set(key string, value any) {
	for existing := range m {
		if strings.EqualFold(existing, key) {
			m[existing] = value
			return
		}
	}
	m[key] = value
}

// quoted is the wire form of a string, number, bool or array: a string that
// holds the JSON of the value (ScriptInvocationContextExtensions,
// GetHttpScriptInvocationContextValue).
func quoted(value any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic("functionhost: " + err.Error()) // only scalars are passed
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// date is the wire form of a DateTime: whole seconds and no zone.
func date(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05") }

// dateOffset is the wire form of a DateTimeOffset: whole seconds.
func dateOffset(t time.Time) string { return date(t) + "+00:00" }

// timestamp is how Newtonsoft.Json writes a DateTime inside an object: up to
// seven decimals, and no zone for the default value.
func timestamp(t time.Time, zone string) string {
	if t.IsZero() {
		return "0001-01-01T00:00:00"
	}
	return t.UTC().Format("2006-01-02T15:04:05.9999999") + zone
}

// newEnvelope makes the envelope of a trigger value that is text or bytes.
//
// With dataType binary the value goes as base64. Otherwise it is decoded as
// UTF-8 and goes as the JSON of a string, inside a string; and if it is a JSON
// object its top-level properties are written into the metadata, over what is
// there (Utility.ApplyBindingData).
func newEnvelope(f *function, value []byte, m metadata) envelope {
	m.set("sys", systemData(f.name))
	e := envelope{Data: map[string]any{}, Metadata: m}
	if f.trigger.binary() {
		e.Data[f.trigger.Name] = base64.StdEncoding.EncodeToString(value)
	} else {
		text := decodeText(value)
		e.Data[f.trigger.Name] = quoted(text)
		applyBindingData(text, m)
	}
	dropTriggers(m)
	return e
}

// newObjectEnvelope makes the envelope of a trigger value that is an object.
func newObjectEnvelope(f *function, value any) envelope {
	return envelope{
		Data:     map[string]any{f.trigger.Name: value},
		Metadata: metadata{"sys": systemData(f.name)},
	}
}

// systemData is Metadata.sys (SystemBindingData in azure-webjobs-sdk).
func systemData(method string) any {
	return map[string]any{
		"MethodName": method,
		"UtcNow":     timestamp(time.Now(), "Z"),
		"RandGuid":   uuid.NewString(),
	}
}

// decodeText is StreamReader's decoding: a byte order mark is dropped, bytes
// that are no UTF-8 become U+FFFD each.
func decodeText(value []byte) string {
	value = bytes.TrimPrefix(value, []byte("\ufeff"))
	return string([]rune(string(value)))
}

// applyBindingData writes the non-array properties of a JSON object into m:
// objects as they are, everything else as a string (ConvertPropertyValue in
// the host's Utility class).
func applyBindingData(text string, m metadata) {
	trimmed := strings.TrimSpace(text)
	if !strings.HasPrefix(trimmed, "{") {
		return
	}
	decoder := json.NewDecoder(strings.NewReader(trimmed))
	decoder.UseNumber()
	var properties map[string]any
	if decoder.Decode(&properties) != nil || decoder.More() {
		return
	}
	for key, value := range properties {
		switch value := value.(type) {
		case map[string]any:
			m.set(key, value)
		case string:
			m.set(key, quoted(value))
		case json.Number:
			m.set(key, quoted(value.String()))
		case bool: // (string)JToken gives True and False
			m.set(key, quoted(strings.ToUpper(strconv.FormatBool(value)[:1])+strconv.FormatBool(value)[1:]))
		}
	}
}

// dropTriggers removes what the host removes because "Data will include value
// of the trigger": every key that ends in trigger.
func dropTriggers(m metadata) {
	for key := range m {
		if strings.HasSuffix(strings.ToLower(key), "trigger") {
			delete(m, key)
		}
	}
}

// encode gives the request's body.
func (e envelope) encode() ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(e)
	return b.Bytes(), err
}
