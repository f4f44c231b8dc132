package servicebus

import "fmt"

// Performatives, delivery states and errors as described lists
// (amqp-core-transport-v1.0 section 2.7, amqp-core-messaging-v1.0 section 3.4,
// amqp-core-security-v1.0 section 5.3.3).

const (
	codeOpen        = 0x10
	codeBegin       = 0x11
	codeAttach      = 0x12
	codeFlow        = 0x13
	codeTransfer    = 0x14
	codeDisposition = 0x15
	codeDetach      = 0x16
	codeEnd         = 0x17
	codeClose       = 0x18
	codeError       = 0x1d
	codeReceived    = 0x23
	codeAccepted    = 0x24
	codeRejected    = 0x25
	codeReleased    = 0x26
	codeModified    = 0x27
	codeSource      = 0x28
	codeTarget      = 0x29
	codeMechanisms  = 0x40
	codeInit        = 0x41
	codeOutcome     = 0x44
)

// Settle modes (amqp-core-transport-v1.0 sections 2.8.2 and 2.8.3).
const (
	sndUnsettled = 0
	sndSettled   = 1
	sndMixed     = 2
	rcvFirst     = 0
	rcvSecond    = 1
)

// performative is what a frame says.
type performative interface{ composite() described }

// parsePerformative decodes a frame's body and returns what follows it, the
// payload of a transfer.
func parsePerformative(body []byte) (performative, []byte, error) {
	r := &reader{body}
	v, err := r.value(0)
	if err != nil {
		return nil, nil, err
	}
	f, err := fieldsOf(v)
	if err != nil {
		return nil, nil, err
	}
	p := decodePerformative(f)
	if p == nil {
		return nil, nil, fmt.Errorf("unknown performative %#02x", f.code)
	}
	return p, r.b, f.err
}

func decodePerformative(f *fields) performative {
	switch f.code {
	case codeOpen:
		return decodeOpen(f)
	case codeBegin:
		return decodeBegin(f)
	case codeAttach:
		return decodeAttach(f)
	case codeFlow:
		return decodeFlow(f)
	case codeTransfer:
		return decodeTransfer(f)
	case codeDisposition:
		return decodeDisposition(f)
	case codeDetach:
		return &detach{handle: required[uint32](f, 0), closed: field(f, 1, false), err: decodeError(f, 2)}
	case codeEnd:
		return &end{err: decodeError(f, 0)}
	case codeClose:
		return &closing{err: decodeError(f, 0)}
	case codeInit:
		return &saslInit{mechanism: required[symbol](f, 0)}
	}
	return nil
}

type open struct {
	containerID  string
	maxFrameSize uint32
	channelMax   uint16
	idleTimeout  uint32 // milliseconds, 0 none
}

func decodeOpen(f *fields) *open {
	return &open{
		containerID:  required[string](f, 0),
		maxFrameSize: field[uint32](f, 2, 1<<32-1),
		channelMax:   field[uint16](f, 3, 1<<16-1),
		idleTimeout:  field[uint32](f, 4, 0),
	}
}

func (o *open) composite() described {
	return compose(codeOpen, o.containerID, nil, o.maxFrameSize, o.channelMax, nonZero(o.idleTimeout))
}

type begin struct {
	remoteChannel  *uint16
	nextOutgoingID uint32
	incomingWindow uint32
	outgoingWindow uint32
	handleMax      uint32
}

func decodeBegin(f *fields) *begin {
	return &begin{
		remoteChannel:  pointer[uint16](f, 0),
		nextOutgoingID: required[uint32](f, 1),
		incomingWindow: required[uint32](f, 2),
		outgoingWindow: required[uint32](f, 3),
		handleMax:      field[uint32](f, 4, 1<<32-1),
	}
}

func (p *begin) composite() described {
	return compose(codeBegin, optional(p.remoteChannel), p.nextOutgoingID, p.incomingWindow, p.outgoingWindow, p.handleMax)
}

type attach struct {
	name                 string
	handle               uint32
	receiver             bool // the role of who sends this attach
	sndSettle, rcvSettle uint8
	source, target       *terminus
	initialDeliveryCount *uint32
	maxMessageSize       uint64
	properties           map[any]any
}

func decodeAttach(f *fields) *attach {
	return &attach{
		name:                 required[string](f, 0),
		handle:               required[uint32](f, 1),
		receiver:             required[bool](f, 2),
		sndSettle:            field[uint8](f, 3, sndMixed),
		rcvSettle:            field[uint8](f, 4, rcvFirst),
		source:               decodeTerminus(f, 5),
		target:               decodeTerminus(f, 6),
		initialDeliveryCount: pointer[uint32](f, 9),
		maxMessageSize:       field[uint64](f, 10, 0),
		properties:           field[map[any]any](f, 13, nil),
	}
}

func (a *attach) composite() described {
	var properties any
	if a.properties != nil {
		properties = a.properties
	}
	return compose(codeAttach, a.name, a.handle, a.receiver, a.sndSettle, a.rcvSettle,
		a.source.value(), a.target.value(), nil, nil, optional(a.initialDeliveryCount),
		nonZero(a.maxMessageSize), nil, nil, properties)
}

type flow struct {
	nextIncomingID *uint32
	incomingWindow uint32
	nextOutgoingID uint32
	outgoingWindow uint32
	handle         *uint32
	deliveryCount  *uint32
	linkCredit     *uint32
	available      *uint32
	drain, echo    bool
}

func decodeFlow(f *fields) *flow {
	return &flow{
		nextIncomingID: pointer[uint32](f, 0),
		incomingWindow: required[uint32](f, 1),
		nextOutgoingID: required[uint32](f, 2),
		outgoingWindow: required[uint32](f, 3),
		handle:         pointer[uint32](f, 4),
		deliveryCount:  pointer[uint32](f, 5),
		linkCredit:     pointer[uint32](f, 6),
		drain:          field(f, 8, false),
		echo:           field(f, 9, false),
	}
}

func (p *flow) composite() described {
	return compose(codeFlow, optional(p.nextIncomingID), p.incomingWindow, p.nextOutgoingID, p.outgoingWindow,
		optional(p.handle), optional(p.deliveryCount), optional(p.linkCredit), optional(p.available),
		nonZero(p.drain), nonZero(p.echo))
}

type transfer struct {
	handle        uint32
	deliveryID    *uint32
	deliveryTag   []byte
	messageFormat *uint32
	settled       bool
	more          bool
	aborted       bool
}

func decodeTransfer(f *fields) *transfer {
	return &transfer{
		handle:        required[uint32](f, 0),
		deliveryID:    pointer[uint32](f, 1),
		deliveryTag:   field[[]byte](f, 2, nil),
		messageFormat: pointer[uint32](f, 3),
		settled:       field(f, 4, false),
		more:          field(f, 5, false),
		aborted:       field(f, 9, false),
	}
}

func (t *transfer) composite() described {
	var tag any
	if t.deliveryTag != nil {
		tag = t.deliveryTag
	}
	return compose(codeTransfer, t.handle, optional(t.deliveryID), tag, optional(t.messageFormat), t.settled, t.more)
}

type disposition struct {
	receiver    bool // the role of who sends this disposition
	first, last uint32
	settled     bool
	state       *deliveryState
}

func decodeDisposition(f *fields) *disposition {
	d := &disposition{receiver: required[bool](f, 0), first: required[uint32](f, 1), settled: field(f, 3, false)}
	d.last = field(f, 2, d.first)
	if v := pointer[described](f, 4); v != nil {
		d.state = decodeState(f, *v)
	}
	return d
}

func (d *disposition) composite() described {
	var state any
	if d.state != nil {
		state = d.state.value()
	}
	return compose(codeDisposition, d.receiver, d.first, d.last, d.settled, state)
}

type detach struct {
	handle uint32
	closed bool
	err    *amqpError
}

func (d *detach) composite() described {
	return compose(codeDetach, d.handle, d.closed, d.err.value())
}

type end struct{ err *amqpError }

func (e *end) composite() described { return compose(codeEnd, e.err.value()) }

type closing struct{ err *amqpError }

func (c *closing) composite() described { return compose(codeClose, c.err.value()) }

type saslMechanisms struct{ mechanism symbol }

func (m *saslMechanisms) composite() described { return compose(codeMechanisms, m.mechanism) }

type saslInit struct{ mechanism symbol }

func (i *saslInit) composite() described { return compose(codeInit, i.mechanism) }

type saslOutcome struct{ code uint8 }

func (o *saslOutcome) composite() described { return compose(codeOutcome, o.code) }
