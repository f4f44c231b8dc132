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
	c := l.session.conn
	if c.partial+len(payload) > maxPartialBytes {
		return refusal(condResourceLimit, "unfinished messages hold %d bytes", c.partial)
	}
	c.partial += len(payload)
	in.raw = append(in.raw, payload...)
	if !p.more {
		l.dropIncoming()
		l.finish(now, in)
	}
	return nil
}

func (l *link) dropIncoming() {
	if l.incoming != nil {
		l.session.conn.partial -= len(l.incoming.raw)
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
	state := &deliveryState{code: codeAccepted}
	if err := l.accept(now, in); err != nil {
		state = &deliveryState{code: codeRejected, err: asAMQP(err, condDecode)}
	}
	if !in.settled {
		l.session.conn.send(l.session.channel, &disposition{
			receiver: true, first: in.id, last: in.id, settled: l.rcvSettle == rcvFirst, state: state,
		}, nil)
	}
}

// accept enqueues a message, or all of a batch, or answers a request.
func (l *link) accept(now time.Time, in *incoming) error {
	if l.node != nodeQueue {
		return l.session.conn.request(now, l, in.raw)
	}
	parcels, err := parseTransfer(in.format, in.raw)
	if err != nil {
		return err
	}
	_, err = l.entity.queue.send(now, parcels...)
	return err
}
