package servicebus

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/Azure/go-amqp"
)

// The AMQP 1.0 type system (OASIS amqp-core-types-v1.0, section 1.6), decoded
// into plain Go values:
//
//	null nil · boolean bool · ubyte/ushort/uint/ulong uint8/16/32/64 ·
//	byte/short/int/long int8/16/32/64 · float/double float32/64 ·
//	timestamp time.Time · uuid amqp.UUID · binary []byte · string string ·
//	symbol symbol · list []any · map map[any]any · array array ·
//	described described · char and decimals opaque
//
// Decoded []byte values share the memory they were decoded from.

// symbol is an AMQP symbolic value.
type symbol string

// described is a value with a descriptor that says what it stands for.
type described struct {
	descriptor any
	value      any
}

// array is a sequence of values of one type.
type array []any

// opaque holds a type that nothing here interprets: char and the decimals.
type opaque struct {
	code byte
	raw  string
}

// maxDepth bounds how deep lists, maps, arrays and descriptions may nest, so
// that no peer can exhaust the stack.
const maxDepth = 24

var (
	errShort = errors.New("value is cut short")
	errDeep  = errors.New("value is nested too deeply")
)

// reader takes values off the front of b.
type reader struct{ b []byte }

func (r *reader) take(n int) ([]byte, error) {
	if n < 0 || n > len(r.b) {
		return nil, errShort
	}
	head := r.b[:n:n]
	r.b = r.b[n:]
	return head, nil
}

// number takes a big-endian unsigned number of the given width in bytes.
func (r *reader) number(width int) (uint64, error) {
	raw, err := r.take(width)
	if err != nil {
		return 0, err
	}
	return bigEndian(raw), nil
}

func bigEndian(raw []byte) (n uint64) {
	for _, c := range raw {
		n = n<<8 | uint64(c)
	}
	return n
}

// sized takes a length of the given width and as many bytes as it says.
func (r *reader) sized(width int) ([]byte, error) {
	n, err := r.number(width)
	if err != nil {
		return nil, err
	}
	if n > uint64(len(r.b)) {
		return nil, errShort
	}
	return r.take(int(n))
}

// value takes one value with its constructor.
func (r *reader) value(depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	code, err := r.number(1)
	if err != nil {
		return nil, err
	}
	if code != 0 {
		return r.valueOf(byte(code), depth)
	}
	var d described
	if d.descriptor, err = r.value(depth + 1); err != nil {
		return nil, err
	}
	d.value, err = r.value(depth + 1)
	return d, err
}

// valueOf takes one value whose constructor code was read before. The upper
// half of a code says how the value's length is encoded (section 1.2.1).
func (r *reader) valueOf(code byte, depth int) (any, error) {
	switch code >> 4 {
	case 0x4, 0x5, 0x6, 0x7, 0x8, 0x9:
		raw, err := r.take([...]int{0, 1, 2, 4, 8, 16}[code>>4-4])
		if err != nil {
			return nil, err
		}
		return fixed(code, raw)
	case 0xa, 0xb:
		raw, err := r.sized(lengthWidth(code))
		if err != nil {
			return nil, err
		}
		return variable(code, raw)
	case 0xc, 0xd:
		return r.compound(code, depth)
	case 0xe, 0xf:
		return r.array(code, depth)
	}
	return nil, fmt.Errorf("unknown type code %#02x", code)
}

// lengthWidth is the width of the length and count fields of a variable,
// compound or array type: one byte for even upper halves, else four.
func lengthWidth(code byte) int {
	if code>>4&1 == 0 {
		return 1
	}
	return 4
}

func fixed(code byte, raw []byte) (any, error) {
	n := bigEndian(raw)
	switch code {
	case 0x40:
		return nil, nil
	case 0x41, 0x42:
		return code == 0x41, nil
	case 0x56:
		return n != 0, nil
	case 0x43, 0x52, 0x70:
		return uint32(n), nil
	case 0x44, 0x53, 0x80:
		return n, nil
	case 0x45:
		return []any{}, nil
	case 0x50:
		return uint8(n), nil
	case 0x60:
		return uint16(n), nil
	case 0x51:
		return int8(n), nil
	case 0x61:
		return int16(n), nil
	case 0x54:
		return int32(int8(n)), nil
	case 0x71:
		return int32(n), nil
	case 0x55:
		return int64(int8(n)), nil
	case 0x81:
		return int64(n), nil
	case 0x72:
		return math.Float32frombits(uint32(n)), nil
	case 0x82:
		return math.Float64frombits(n), nil
	case 0x83:
		return time.UnixMilli(int64(n)).UTC(), nil
	case 0x98:
		return amqp.UUID(raw), nil
	case 0x73, 0x74, 0x84, 0x94:
		return opaque{code, string(raw)}, nil
	}
	return nil, fmt.Errorf("unknown type code %#02x", code)
}

func variable(code byte, raw []byte) (any, error) {
	switch code & 0xf {
	case 0x0:
		return raw, nil
	case 0x1:
		return string(raw), nil
	case 0x3:
		return symbol(raw), nil
	}
	return nil, fmt.Errorf("unknown type code %#02x", code)
}

// compound takes a list or a map.
func (r *reader) compound(code byte, depth int) (any, error) {
	items, count, err := r.counted(lengthWidth(code))
	if err != nil {
		return nil, err
	}
	list := make([]any, 0, count)
	for range count {
		v, err := items.value(depth + 1)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	if len(items.b) > 0 {
		return nil, errors.New("compound value is longer than its items")
	}
	switch code & 0xf {
	case 0x0:
		return list, nil
	case 0x1:
		return mapOf(list)
	}
	return nil, fmt.Errorf("unknown type code %#02x", code)
}

// counted takes a length and a count and returns a reader over the items. Each
// item is at least one byte (AMQP allows arrays of empty items, which nobody
// sends and which would let five bytes ask for billions of them).
func (r *reader) counted(width int) (*reader, int, error) {
	body, err := r.sized(width)
	if err != nil {
		return nil, 0, err
	}
	items := &reader{body}
	count, err := items.number(width)
	if err != nil {
		return nil, 0, err
	}
	if count > uint64(len(items.b)) {
		return nil, 0, errShort
	}
	return items, int(count), nil
}

func mapOf(list []any) (any, error) {
	if len(list)%2 != 0 {
		return nil, errors.New("map has a key without a value")
	}
	m := make(map[any]any, len(list)/2)
	for i := 0; i < len(list); i += 2 {
		switch list[i].(type) {
		case nil, []byte, []any, map[any]any, array, described:
			return nil, fmt.Errorf("map has a key of type %T", list[i])
		}
		m[list[i]] = list[i+1]
	}
	return m, nil
}

func (r *reader) array(code byte, depth int) (any, error) {
	if code&0xf != 0 {
		return nil, fmt.Errorf("unknown type code %#02x", code)
	}
	if depth > maxDepth {
		return nil, errDeep
	}
	items, count, err := r.counted(lengthWidth(code))
	if err != nil {
		return nil, err
	}
	item, err := items.number(1)
	if err != nil {
		return nil, err
	}
	var descriptor any
	isDescribed := item == 0
	if isDescribed {
		if descriptor, err = items.value(depth + 1); err != nil {
			return nil, err
		}
		if item, err = items.number(1); err != nil {
			return nil, err
		}
	}
	list := make(array, 0, count)
	for range count {
		v, err := items.valueOf(byte(item), depth+1)
		if err != nil {
			return nil, err
		}
		if isDescribed {
			v = described{descriptor, v}
		}
		list = append(list, v)
	}
	if len(items.b) > 0 {
		return nil, errors.New("array is longer than its items")
	}
	return list, nil
}
