package servicebus

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"

	"github.com/Azure/go-amqp"
)

// appendValue appends v with its constructor. It panics on a type that this
// package never sends.
func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, 0x40)
	case bool:
		if v {
			return append(b, 0x41)
		}
		return append(b, 0x42)
	case uint8:
		return append(b, 0x50, v)
	case uint16:
		return binary.BigEndian.AppendUint16(append(b, 0x60), v)
	case uint32:
		return appendUint(b, v)
	case uint64:
		return appendUlong(b, v)
	case int32:
		return binary.BigEndian.AppendUint32(append(b, 0x71), uint32(v))
	case int64:
		return binary.BigEndian.AppendUint64(append(b, 0x81), uint64(v))
	case time.Time:
		return binary.BigEndian.AppendUint64(append(b, 0x83), uint64(v.UnixMilli()))
	case amqp.UUID:
		return append(append(b, 0x98), v[:]...)
	case []byte:
		return appendSized(b, 0xa0, v)
	case string:
		return appendSized(b, 0xa1, v)
	case symbol:
		return appendSized(b, 0xa3, v)
	case []any:
		return appendCompound(b, 0xc0, v)
	case map[any]any:
		list := make([]any, 0, 2*len(v))
		for key, value := range v {
			list = append(list, key, value)
		}
		return appendCompound(b, 0xc1, list)
	case described:
		return appendValue(appendValue(append(b, 0), v.descriptor), v.value)
	}
	panic(fmt.Sprintf("servicebus: no AMQP encoding for %T", v))
}

func appendUint(b []byte, n uint32) []byte {
	switch {
	case n == 0:
		return append(b, 0x43)
	case n <= math.MaxUint8:
		return append(b, 0x52, byte(n))
	}
	return binary.BigEndian.AppendUint32(append(b, 0x70), n)
}

func appendUlong(b []byte, n uint64) []byte {
	switch {
	case n == 0:
		return append(b, 0x44)
	case n <= math.MaxUint8:
		return append(b, 0x53, byte(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 0x80), n)
}

// appendSized appends a variable-width value; code is its short form, whose
// long form is 0x10 above.
func appendSized[T ~string | ~[]byte](b []byte, code byte, v T) []byte {
	if len(v) <= math.MaxUint8 {
		b = append(b, code, byte(len(v)))
	} else {
		b = binary.BigEndian.AppendUint32(append(b, code+0x10), uint32(len(v)))
	}
	return append(b, v...)
}

func appendCompound(b []byte, code byte, list []any) []byte {
	var body []byte
	for _, v := range list {
		body = appendValue(body, v)
	}
	if len(list) <= math.MaxUint8 && len(body) < math.MaxUint8 {
		b = append(b, code, byte(len(body)+1), byte(len(list)))
	} else {
		b = binary.BigEndian.AppendUint32(append(b, code+0x10), uint32(len(body)+4))
		b = binary.BigEndian.AppendUint32(b, uint32(len(list)))
	}
	return append(b, body...)
}
