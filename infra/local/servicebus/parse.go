package servicebus

import (
	"errors"
	"fmt"
	"time"

	"github.com/Azure/go-amqp"
)

// batchFormat marks a transfer whose data sections are whole messages
// (azservicebus message_batch.go, batchMessageFormat).
const batchFormat = 0x80013700

// maxMessageID is how long a message id may be
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas).
const maxMessageID = 128

// parseTransfer decodes the message, or the messages of a batch, that one
// delivery carried.
func parseTransfer(format uint32, raw []byte) ([]parcel, error) {
	switch format {
	case 0:
		p, err := parseParcel(raw)
		return []parcel{p}, err
	case batchFormat:
	default:
		return nil, fmt.Errorf("unknown message format %#x", format)
	}
	envelope, err := parseMessage(raw)
	if err != nil {
		return nil, err
	}
	parcels := make([]parcel, 0, len(envelope.Data))
	for i, data := range envelope.Data {
		p, err := parseParcel(data)
		if err != nil {
			return nil, fmt.Errorf("message %d of the batch: %w", i, err)
		}
		parcels = append(parcels, p)
	}
	return parcels, nil
}

func parseParcel(raw []byte) (parcel, error) {
	m, err := parseMessage(raw)
	if err != nil {
		return parcel{}, err
	}
	return parcel{m, weigh(len(raw), m)}, checkMessage(m)
}

const (
	// messageWeight is what a message takes in memory beside its content.
	messageWeight = 1 << 10
	// decodedWeight is how much larger a value may get by being decoded: a null
	// of one byte becomes an interface of 16.
	decodedWeight = 20
)

// weigh returns what a message of so many encoded bytes takes in memory at most.
// Only data sections stay as they are.
func weigh(encoded int, m *amqp.Message) int {
	plain := 0
	for _, data := range m.Data {
		plain += len(data)
	}
	return messageWeight + plain + decodedWeight*(encoded-plain)
}

// parseMessage decodes one message. Its values are walked first, because
// go-amqp limits no nesting and panics on a map key that can't be hashed.
func parseMessage(raw []byte) (*amqp.Message, error) {
	if len(raw) == 0 {
		return nil, errors.New("message is empty")
	}
	for r := (&reader{raw}); len(r.b) > 0; {
		section, err := r.value(0)
		if err != nil {
			return nil, err
		}
		if _, ok := section.(described); !ok {
			return nil, fmt.Errorf("message section is a %T", section)
		}
	}
	m := new(amqp.Message)
	if err := m.UnmarshalBinary(raw); err != nil {
		return nil, fmt.Errorf("decode message: %w", err)
	}
	return m, nil
}

// checkMessage refuses annotations and properties of a wrong type, which would
// make receivers panic, and whatever could not be sent on; it drops what only
// the broker sets.
func checkMessage(m *amqp.Message) error {
	if m.Properties != nil {
		text, _ := m.Properties.MessageID.(string)
		raw, _ := m.Properties.MessageID.([]byte)
		if n := len(text) + len(raw); n > maxMessageID {
			return fmt.Errorf("message id of %d bytes exceeds the limit of %d", n, maxMessageID)
		}
	}
	if propertiesSize(m.ApplicationProperties) > maxProperties {
		return errProperties
	}
	if at, ok := m.Annotations[annotationScheduled]; ok {
		if _, ok := at.(time.Time); !ok {
			return fmt.Errorf("annotation %s is a %T", annotationScheduled, at)
		}
	}
	if key, ok := m.Annotations[annotationPartitionKey]; ok && key != nil {
		if _, ok := key.(string); !ok {
			return fmt.Errorf("annotation %s is a %T", annotationPartitionKey, key)
		}
	}
	for _, name := range []string{deadLetterReason, deadLetterDescription} {
		if v, ok := m.ApplicationProperties[name]; ok {
			if _, ok := v.(string); !ok {
				return fmt.Errorf("application property %s is a %T", name, v)
			}
		}
	}
	for _, name := range []string{
		annotationSequence, annotationEnqueuedTime, annotationLockedUntil,
		annotationState, annotationDeadLetterSource, annotationEnqueuedSequence,
	} {
		delete(m.Annotations, name)
	}
	if _, err := m.MarshalBinary(); err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	return nil
}
