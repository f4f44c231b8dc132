package servicebus

import (
	"maps"
	"slices"
	"time"

	"github.com/Azure/go-amqp"
)

// maxProperties is how many bytes all application properties of a message may
// have (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas,
// "message property size").
const maxProperties = 64 << 10

// errProperties is what a message with more of them is refused with. The service
// documents an exception, and no AMQP condition.
var errProperties = refusal(condMessageSize, "the application properties of a message exceed the limit of %d bytes", maxProperties)

// withProperties returns application properties with changes. It passes over
// values that aren't of a simple type, which the section doesn't allow
// (amqp-core-messaging-v1.0 section 3.2.5), and dead-letter texts that aren't
// text.
func withProperties(properties, changes map[string]any) map[string]any {
	changed := maps.Clone(properties)
	for name, value := range changes {
		if _, isText := value.(string); !isText && (name == deadLetterReason || name == deadLetterDescription) {
			continue
		}
		value, ok := simpleValue(value)
		if !ok {
			continue
		}
		if changed == nil {
			changed = map[string]any{}
		}
		changed[name] = value
	}
	return changed
}

// propertiesSize is about how many bytes properties have when encoded.
func propertiesSize(properties map[string]any) (size int) {
	for name, value := range properties {
		size += 2 + len(name)
		switch value := value.(type) {
		case string:
			size += 2 + len(value)
		case amqp.Symbol:
			size += 2 + len(value)
		case []byte:
			size += 2 + len(value)
		default:
			size += 9
		}
	}
	return size
}

// simpleValue returns v as go-amqp encodes it and in memory of its own; false
// for what isn't of a simple type.
func simpleValue(v any) (any, bool) {
	switch v := v.(type) {
	case symbol:
		return amqp.Symbol(v), true
	case []byte:
		return slices.Clone(v), true
	case nil, bool, uint8, uint16, uint32, uint64, int8, int16, int32, int64,
		float32, float64, string, time.Time, amqp.UUID, amqp.Symbol:
		return v, true
	}
	return nil, false
}

// textKeys returns the entries of an AMQP map whose keys are text.
func textKeys(m map[any]any) map[string]any {
	entries := make(map[string]any, len(m))
	for key, v := range m {
		switch key := key.(type) {
		case symbol:
			entries[string(key)] = v
		case string:
			entries[key] = v
		}
	}
	return entries
}
