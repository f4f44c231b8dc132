package servicebus

import (
	"strings"
	"time"
)

const (
	// senderCredit is how many messages a sender may send ahead.
	senderCredit = 1000
	// maxRequestSize bounds a request to $cbs.
	maxRequestSize = 64 << 10
)

// node is what a link is attached to.
type node uint8

const (
	nodeQueue node = iota
	nodeManagement
	nodeClaims
)

// link is one link as the broker sees it: with receiver set the client
// receives from it.
type link struct {
	session  *session
	name     string
	handle   uint32
	receiver bool
	node     node
	path     string  // the node's address in lower case, which claims are put for
	entity   *entity // of a queue or its management
	detached bool    // the broker has sent detach and waits for the peer's
	used     time.Time
	held     bool // by a fault: nothing is delivered
	delayed  bool // by a fault: the next delivery is due

	sndSettle, rcvSettle uint8
	maxMessageSize       int // of what the client sends

	// deliveryCount and credit are the two sides of flow control
	// (amqp-core-transport-v1.0 section 2.6.7).
	deliveryCount uint32
	credit        uint32
	drain         bool // the client wants its credit used up

	incoming *incoming // a message whose last frame hasn't come
	replyTo  string    // where answers are addressed that go out on this link
	replies  [][]byte  // answers that wait for credit
}

func newLink(s *session, p *attach) *link {
	l := &link{
		session:   s,
		used:      s.conn.broker.now(),
		name:      p.name,
		handle:    p.handle,
		receiver:  p.receiver,
		sndSettle: p.sndSettle,
		rcvSettle: p.rcvSettle,
	}
	if p.initialDeliveryCount != nil && !p.receiver {
		l.deliveryCount = *p.initialDeliveryCount
	}
	return l
}

// end is the end of the link that names the node.
func (l *link) end(p *attach) *terminus {
	if l.receiver {
		return p.source
	}
	return p.target
}

// open connects the link to its node.
func (l *link) open(p *attach) *amqpError {
	if err := l.resolve(l.end(p)); err != nil {
		return err
	}
	return l.permitted(p)
}

// accept answers the attach.
func (l *link) accept(p *attach) {
	answer := &attach{
		name: l.name, handle: l.handle, receiver: !l.receiver,
		sndSettle: l.sndSettle, rcvSettle: l.rcvSettle,
		source: echoed(p.source, codeSource), target: echoed(p.target, codeTarget),
	}
	if l.receiver {
		answer.initialDeliveryCount = &l.deliveryCount
		l.session.conn.send(l.session.channel, answer, nil)
		l.listen(p)
		return
	}
	answer.maxMessageSize = uint64(l.maxMessageSize)
	answer.properties = map[any]any{maxMessageBatchSize: uint64(l.maxMessageSize)}
	l.session.conn.send(l.session.channel, answer, nil)
	l.grant()
}

func echoed(t *terminus, code uint64) *terminus {
	if t == nil {
		return &terminus{code: code}
	}
	return &terminus{code: code, address: t.address}
}

// resolve finds the node that an address names. Names of entities don't
// distinguish case.
func (l *link) resolve(t *terminus) *amqpError {
	if t == nil {
		return refusal(condInvalidField, "attach names no node")
	}
	if len(t.address) > maxName {
		return refusal(condInvalidField, "address of %d bytes is longer than %d", len(t.address), maxName)
	}
	if t.code != codeSource && t.code != codeTarget {
		return refusal(condNotImplemented, "terminus %#02x", t.code)
	}
	b := l.session.conn.broker
	l.path = strings.ToLower(strings.TrimPrefix(t.address, "/"))
	if l.path == cbsNode {
		l.node, l.maxMessageSize = nodeClaims, maxRequestSize
		return l.session.conn.soleClaimsLink(l)
	}
	name, management := strings.CutSuffix(l.path, managementSuffix)
	e := b.entities[name]
	if e == nil {
		return notFound(b.Addr(), t.address)
	}
	l.maxMessageSize = e.queue.config.MaxMessageSize
	if management {
		// A request wraps the message that it schedules.
		l.node, l.maxMessageSize = nodeManagement, l.maxMessageSize+maxRequestSize
	}
	if right := l.unclaimed(l.used); right != "" {
		return b.lacking(right, l.path)
	}
	l.entity = e
	b.lookAgain(l.used.Add(linkIdle))
	return nil
}

// permitted refuses what a queue without sessions can't be used for.
func (l *link) permitted(p *attach) *amqpError {
	if l.node != nodeQueue {
		return nil
	}
	if !l.receiver && l.entity.queue.dead == nil {
		return refusal(condNotAllowed, "messages cannot be sent to a dead-letter queue")
	}
	if l.receiver {
		if _, ok := p.source.filter[sessionFilter]; ok {
			return refusal(condNotAllowed,
				"A sessionful message receiver cannot be created on an entity that does not require sessions.")
		}
	}
	return nil
}

// listen makes the link a destination of messages or answers.
func (l *link) listen(p *attach) {
	if l.node == nodeQueue {
		l.entity.receivers = append(l.entity.receivers, l)
		return
	}
	if p.target != nil && len(p.target.address) <= maxName {
		l.replyTo = p.target.address
		l.session.conn.replies[l.replyTo] = l
	}
}

// refuse answers an attach with a link that has no ends, and detaches it
// (amqp-core-transport-v1.0 section 2.6.3).
func (l *link) refuse(p *attach, err *amqpError) {
	answer := &attach{
		name: l.name, handle: l.handle, receiver: !l.receiver,
		sndSettle: l.sndSettle, rcvSettle: l.rcvSettle,
	}
	if l.receiver {
		answer.initialDeliveryCount = &l.deliveryCount
	}
	l.session.conn.send(l.session.channel, answer, nil)
	l.detach(err)
}

// detach ends the link with an error.
func (l *link) detach(err *amqpError) {
	l.session.conn.broker.log.Info("AMQP link detached", "error", err)
	l.release()
	l.detached = true
	l.session.conn.send(l.session.channel, &detach{handle: l.handle, closed: true, err: err}, nil)
}

// release forgets the link where it is known. Its unsettled messages stay
// locked until their locks expire.
func (l *link) release() {
	if l.entity != nil {
		receivers := l.entity.receivers
		for i, other := range receivers {
			if other == l {
				l.entity.receivers = append(receivers[:i], receivers[i+1:]...)
				break
			}
		}
	}
	c := l.session.conn
	c.used = c.broker.now()
	c.broker.lookAgain(c.used.Add(connIdle))
	if c.replies[l.replyTo] == l {
		delete(c.replies, l.replyTo)
	}
	l.dropIncoming()
	for _, raw := range l.replies {
		c.waiting -= len(raw)
	}
	l.replies = nil
	for id, d := range l.session.unsettled {
		if d.link == l {
			delete(l.session.unsettled, id)
		}
	}
}

// settlesInAdvance says that the client wants messages removed as they are sent.
func (l *link) settlesInAdvance() bool { return l.sndSettle == sndSettled }

// canSend says whether a message can go out on the link now.
func (l *link) canSend() bool {
	c := l.session.conn
	return l.credit > 0 && !l.held && len(l.session.outbox) == 0 && !c.congested() && !c.closed && !c.ending
}

// deliver sends a message that the queue has given up or locked for the link.
func (l *link) deliver(m *message) {
	raw, err := m.encode()
	if err != nil {
		l.session.conn.broker.log.Error("deliver message", "sequence", m.sequence, "error", err)
		return
	}
	id := l.post(deliveryTag(m.token), raw, m.state != stateLocked)
	if m.state == stateLocked {
		l.session.unsettled[id] = delivery{l, m.token}
	}
}

func (l *link) post(tag, raw []byte, settled bool) uint32 {
	l.used = l.session.conn.broker.now()
	l.credit--
	l.deliveryCount++
	return l.session.post(transfer{handle: l.handle, deliveryTag: tag, settled: settled}, raw)
}

// reply sends an answer, or keeps it until there is credit.
func (l *link) reply(raw []byte) {
	if l.detached {
		return
	}
	l.replies = append(l.replies, raw)
	c := l.session.conn
	c.waiting += len(raw)
	l.sendReplies()
	if c.waiting > maxReplyBytes {
		l.detach(refusal(condResourceLimit, "answers of %d bytes were not taken", c.waiting))
	}
}

func (l *link) sendReplies() {
	for len(l.replies) > 0 && l.credit > 0 && len(l.session.outbox) == 0 {
		raw := l.replies[0]
		l.replies = l.replies[1:]
		l.session.conn.waiting -= len(raw)
		l.post([]byte{0}, raw, true)
	}
}
