package servicebus

import (
	"bytes"
	"encoding/binary"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
)

// valueCases pairs encodings with values, after the types of
// amqp-core-types-v1.0 section 1.6.
var valueCases = []struct {
	name    string
	encoded string
	value   any
}{
	{"null", "\x40", nil},
	{"true", "\x41", true},
	{"false as octet", "\x56\x00", false},
	{"ubyte", "\x50\x07", uint8(7)},
	{"ushort", "\x60\x01\x02", uint16(0x102)},
	{"uint zero", "\x43", uint32(0)},
	{"small uint", "\x52\xff", uint32(255)},
	{"uint", "\x70\x00\x01\x00\x00", uint32(1 << 16)},
	{"ulong zero", "\x44", uint64(0)},
	{"small ulong", "\x53\x10", uint64(16)},
	{"ulong", "\x80\x00\x00\x00\x13\x70\x00\x00\x0c", uint64(0x137000000c)},
	{"byte", "\x51\xff", int8(-1)},
	{"short", "\x61\xff\xfe", int16(-2)},
	{"small int", "\x54\xfe", int32(-2)},
	{"int", "\x71\xff\xff\xff\xfe", int32(-2)},
	{"small long", "\x55\xfe", int64(-2)},
	{"long", "\x81\xff\xff\xff\xff\xff\xff\xff\xfe", int64(-2)},
	{"float", "\x72\x3f\x80\x00\x00", float32(1)},
	{"double", "\x82\x3f\xf0\x00\x00\x00\x00\x00\x00", float64(1)},
	{"char", "\x73\x00\x00\x00A", opaque{0x73, "\x00\x00\x00A"}},
	{"timestamp", "\x83\xff\xff\xff\xff\xff\xff\xff\xff", time.UnixMilli(-1).UTC()},
	{"uuid", "\x98" + "0123456789abcdef", amqp.UUID([]byte("0123456789abcdef"))},
	{"binary", "\xa0\x02\x00\xff", []byte{0, 255}},
	{"long binary", "\xb0\x00\x00\x00\x01x", []byte("x")},
	{"string", "\xa1\x02h\xc3", "h\xc3"},
	{"symbol", "\xa3\x01s", symbol("s")},
	{"empty list", "\x45", []any{}},
	{"list", "\xc0\x03\x02\x41\x40", []any{true, nil}},
	{"long list", "\xd0\x00\x00\x00\x05\x00\x00\x00\x01\x41", []any{true}},
	{"map", "\xc1\x04\x02\xa3\x00\x41", map[any]any{symbol(""): true}},
	{"array", "\xe0\x04\x02\x50\x01\x02", array{uint8(1), uint8(2)}},
	{"array of described", "\xe0\x05\x01\x00\x44\x50\x01", array{described{uint64(0), uint8(1)}}},
	{"described", "\x00\x53\x24\x45", described{uint64(0x24), []any{}}},
}

func TestValueDecodes(t *testing.T) {
	for _, c := range valueCases {
		r := &reader{[]byte(c.encoded)}
		got, err := r.value(0)
		if err != nil || !reflect.DeepEqual(got, c.value) || len(r.b) != 0 {
			t.Errorf("%s: %#v, %v, %d bytes left, want %#v", c.name, got, err, len(r.b), c.value)
		}
		if _, err := (&reader{[]byte(c.encoded[:len(c.encoded)-1])}).value(0); err == nil {
			t.Errorf("%s: decodes without its last byte", c.name)
		}
	}
}

func TestHostileValuesAreRefused(t *testing.T) {
	for name, encoded := range map[string]string{
		"deep lists":           deepList(1000),
		"deep descriptions":    strings.Repeat("\x00", 200),
		"deep arrays":          deepArray(1000),
		"billions of items":    "\xf0\x00\x00\x00\x05\xff\xff\xff\xff\x40",
		"more items than data": "\xd0\x00\x00\x00\x05\xff\xff\xff\xff\x40",
		"length beyond data":   "\xb0\xff\xff\xff\xff",
		"list with a rest":     "\xc0\x03\x01\x40\x40",
		"map with a lone key":  "\xc1\x02\x01\x40",
		"map keyed by binary":  "\xc1\x04\x02\xa0\x00\x40",
		"map keyed by list":    "\xc1\x03\x02\x45\x40",
		"unknown code":         "\x01",
		"unknown compound":     "\xc7\x01\x00",
		"unknown array":        "\xe1\x02\x00\x40",
		"nothing":              "",
	} {
		if v, err := (&reader{[]byte(encoded)}).value(0); err == nil {
			t.Errorf("%s: decoded as %#v", name, v)
		}
	}
}

// deepList and deepArray nest well-formed lists and arrays.
func deepList(levels int) string {
	inner := "\x40"
	for range levels {
		inner = "\xd0" + length(4+len(inner)) + length(1) + inner
	}
	return inner
}

func deepArray(levels int) string {
	inner := length(6) + length(1) + "\x50\x07"
	for range levels {
		inner = length(5+len(inner)) + length(1) + "\xf0" + inner
	}
	return "\xf0" + inner
}

func length(n int) string { return string(binary.BigEndian.AppendUint32(nil, uint32(n))) }

func TestModestNestingIsAccepted(t *testing.T) {
	for _, encoded := range []string{deepList(10), deepArray(10)} {
		if _, err := (&reader{[]byte(encoded)}).value(0); err != nil {
			t.Error(err)
		}
	}
}

func FuzzValue(f *testing.F) {
	for _, c := range valueCases {
		f.Add([]byte(c.encoded))
	}
	f.Fuzz(func(t *testing.T, encoded []byte) {
		v, err := (&reader{encoded}).value(0)
		if err != nil || !sendable(v) {
			return
		}
		again := appendValue(nil, v)
		back, err := (&reader{again}).value(0)
		if err != nil || !reflect.DeepEqual(v, back) {
			t.Fatalf("%#v came back as %#v, %v", v, back, err)
		}
	})
}

// sendable says whether appendValue has an encoding for v that compares equal.
func sendable(v any) bool {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if !sendable(item) {
				return false
			}
		}
	case map[any]any:
		for key, item := range v {
			if !sendable(key) || !sendable(item) {
				return false
			}
		}
	case described:
		return sendable(v.descriptor) && sendable(v.value)
	case array, opaque, int8, int16, float32, float64:
		return false
	case time.Time:
		return v.UnixMilli() > math.MinInt64/2 && v.UnixMilli() < math.MaxInt64/2
	}
	return true
}

// frameSeeds are frames that clients and the broker send.
func frameSeeds() [][]byte {
	n, m := uint32(7), uint32(0)
	channel := uint16(1)
	lost := &deliveryState{code: codeRejected, err: errLockLost}
	seeds := [][]byte{emptyFrame}
	for _, p := range []performative{
		&saslMechanisms{"ANONYMOUS"}, &saslInit{"ANONYMOUS"}, &saslOutcome{1},
		&open{containerID: "c", maxFrameSize: 65536, channelMax: 9, idleTimeout: 30000},
		&begin{remoteChannel: &channel, incomingWindow: 5000, outgoingWindow: 5000, handleMax: 255},
		&attach{name: "l", receiver: true, sndSettle: sndMixed, rcvSettle: rcvSecond,
			source: &terminus{code: codeSource, address: "q"}, target: &terminus{code: codeTarget},
			initialDeliveryCount: &m, maxMessageSize: 1 << 18, properties: map[any]any{maxMessageBatchSize: uint64(1)}},
		&flow{nextIncomingID: &n, incomingWindow: 1, outgoingWindow: 2, handle: &m, deliveryCount: &n, linkCredit: &n, drain: true},
		&transfer{handle: 1, deliveryID: &n, deliveryTag: []byte("tag"), messageFormat: &m, more: true},
		&disposition{receiver: true, first: 1, last: 9, settled: true, state: lost},
		&disposition{first: 1, last: 1, state: &deliveryState{code: codeModified, undeliverableHere: true}},
		&detach{handle: 3, closed: true, err: errLockLost}, &end{}, &closing{err: errLockLost},
	} {
		seeds = append(seeds, appendFrame(nil, frameTypeAMQP, 1, p, []byte("payload")))
	}
	return seeds
}

func FuzzFrame(f *testing.F) {
	for _, seed := range frameSeeds() {
		f.Add(seed)
	}
	f.Add([]byte("\x00\x00\x00\x10\x04\x00\x00\x00extended"))
	f.Add([]byte("\xff\xff\xff\xff\x02\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x08\xff\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, data []byte) {
		buf := make([]byte, maxFrameSize)
		in := bytes.NewReader(data)
		for {
			fr, err := readFrame(in, buf)
			if err != nil {
				return
			}
			p, payload, err := parsePerformative(fr.body)
			if err != nil {
				continue
			}
			again := appendFrame(nil, fr.kind, fr.channel, p, payload)
			if _, rest, err := parsePerformative(again[frameHeaderSize:]); err != nil || !bytes.Equal(rest, payload) {
				t.Fatalf("%#v doesn't survive its own encoding: %v", p, err)
			}
		}
	})
}

func FuzzMessage(f *testing.F) {
	for _, m := range []*amqp.Message{
		text("id"), at("s", start), living("ttl", time.Minute),
		{Value: map[string]any{"lock-tokens": []amqp.UUID{{1}}, "n": []int64{1, 1 << 40}, "t": []time.Time{start}}},
		{Sequence: [][]any{{int32(1), "x"}}, Footer: amqp.Annotations{"f": true}},
	} {
		raw, err := m.MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(0), raw)
		batch, err := amqp.NewMessage(raw).MarshalBinary()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint32(batchFormat), batch)
	}
	f.Add(uint32(0), []byte("\x00\x53\x72\xc1\x04\x02\xa0\x00\x40")) // annotations keyed by binary
	f.Fuzz(func(t *testing.T, format uint32, raw []byte) {
		parcels, err := parseTransfer(format, raw)
		if err != nil {
			return
		}
		for _, p := range parcels {
			m := &message{parcel: p, enqueued: start, state: stateLocked, due: start}
			encoded, err := m.encode()
			if err != nil {
				t.Fatalf("accepted a message that cannot be sent on: %v", err)
			}
			if _, err := parseMessage(encoded); err != nil {
				t.Fatalf("sent a message that cannot be read: %v", err)
			}
		}
	})
}
