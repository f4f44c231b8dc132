package servicebus

import "time"

// incoming is a message of which some frames have come.
type incoming struct {
	id      uint32
	format  uint32
	settled bool
	raw     []byte
}

// take takes one frame of a message from the client; an error detaches the link.
func (l *link) take(now time.Time, p *transfer, payload []byte) error {
	l.used = now
	if l.incoming == nil {
		if l.credit == 0 {
			return refusal(condTransferLimit, "message without credit")
		}
		if p.deliveryID == nil {
			return refusal(condInvalidField, "first transfer has no delivery id")
		}
		l.incoming = &incoming{id: *p.deliveryID}
		if p.messageFormat != nil {
			l.incoming.format = *p.messageFormat
		}
	}
	if p.aborted {
		l.dropIncoming()
		return nil
	}
	in := l.incoming
	in.settled = in.settled || p.settled
	if size := len(in.raw) + len(payload); size > l.maxMessageSize {
		return refusal(condMessageSize, "The received message (delivery-id:%d, size:%d bytes) exceeds the limit (%d bytes) currently allowed on the link.",
			in.id, size, l.maxMessageSize)
	}
	b := l.session.conn.broker
	if b.partial+len(payload) > b.most {
		return refusal(condResourceLimit, "unfinished messages hold %d bytes", b.partial)
	}
	b.partial += len(payload)
	in.raw = append(in.raw, payload...)
	if !p.more {
		l.dropIncoming()
		l.finish(now, in)
	}
	return nil
}

func (l *link) dropIncoming() {
	if l.incoming != nil {
		l.session.conn.broker.partial -= len(l.incoming.raw)
		l.incoming = nil
	}
}

// finish takes a whole message and tells the client what became of it.
func (l *link) finish(now time.Time, in *incoming) {
	l.deliveryCount++
	l.credit--
	if l.credit < senderCredit/2 {
		l.grant()
	}
	if l.node != nodeQueue {
		l.answer(in, l.session.conn.request(now, l, in.raw))
		return
	}
	parcels, err := parseTransfer(in.format, in.raw)
	if err != nil {
		l.answer(in, err)
		return
	}
	l.session.conn.perform(now, operation{
		point: "bus.send", detail: l.entity.name,
		do:     func(now time.Time) { _, err = l.entity.queue.send(now, parcels...) },
		answer: func() { l.answer(in, err) },
		refuse: func(_ int32, err *amqpError) { l.answer(in, err) },
	})
}

// answer tells the client whether its message was taken.
func (l *link) answer(in *incoming, err error) {
	if in.settled {
		return
	}
	state := &deliveryState{code: codeAccepted}
	if err != nil {
		state = &deliveryState{code: codeRejected, err: asAMQP(err, condDecode)}
	}
	l.session.conn.send(l.session.channel, &disposition{
		receiver: true, first: in.id, last: in.id, settled: l.rcvSettle == rcvFirst, state: state,
	}, nil)
}
