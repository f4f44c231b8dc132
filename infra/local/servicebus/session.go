package servicebus

import "time"

const (
	// incomingWindow is how many transfer frames a peer may send ahead of the
	// next flow; outgoingWindow limits nothing.
	incomingWindow = 5000
	outgoingWindow = 1<<31 - 1
)

// session is one session (amqp-core-transport-v1.0 section 2.5). Both ends use
// the same channel number and the same handles, since only clients begin
// sessions and attach links.
type session struct {
	conn    *conn
	channel uint16
	ended   bool // the broker has sent end and waits for the peer's

	nextIncomingID uint32
	unannounced    uint32 // transfers taken since the peer last heard of the window
	nextOutgoingID uint32
	remoteWindow   uint32 // transfer frames that the peer still takes
	nextDeliveryID uint32

	links     map[uint32]*link
	unsettled map[uint32]delivery // by delivery id
	outbox    []outgoing          // frames that wait for the peer's window
}

// outgoing is one transfer frame.
type outgoing struct {
	transfer transfer
	payload  []byte
}

func newSession(c *conn, channel uint16, p *begin) *session {
	return &session{
		conn:           c,
		channel:        channel,
		nextIncomingID: p.nextOutgoingID,
		remoteWindow:   p.incomingWindow,
		links:          map[uint32]*link{},
		unsettled:      map[uint32]delivery{},
	}
}

// handle takes one frame; an error ends the session.
func (s *session) handle(now time.Time, p performative, payload []byte) error {
	switch p := p.(type) {
	case *attach:
		return s.attach(now, p)
	case *flow:
		return s.flow(p)
	case *disposition:
		s.disposition(now, p)
		return nil
	case *transfer:
		return s.transfer(now, p, payload)
	case *detach:
		return s.detach(p)
	}
	return refusal(condNotImplemented, "%T", p)
}

// end ends the session with an error.
func (s *session) end(err *amqpError) {
	s.conn.broker.log.Warn("AMQP session ended", "error", err)
	s.release()
	s.ended = true
	s.conn.send(s.channel, &end{err: err}, nil)
}

// release frees the session's links. Locks stay until they expire.
func (s *session) release() {
	for _, l := range s.links {
		l.release()
	}
	s.conn.links -= len(s.links)
	clear(s.links)
	clear(s.unsettled)
	s.outbox = nil
}

// link returns the link of a handle, or nil for one that the broker detached
// and whose peer hasn't answered yet.
func (s *session) link(handle uint32) (*link, error) {
	l := s.links[handle]
	switch {
	case l == nil:
		return nil, refusal(condUnattachedHandle, "handle %d has no link", handle)
	case l.detached:
		return nil, nil
	}
	return l, nil
}

func (s *session) attach(now time.Time, p *attach) error {
	switch {
	case p.handle > handleMax:
		return refusal(condNotAllowed, "handle %d is above the limit of %d", p.handle, handleMax)
	case len(p.name) > maxName:
		return refusal(condInvalidField, "link name of %d bytes is longer than %d", len(p.name), maxName)
	case s.conn.links >= maxLinks:
		return refusal(condResourceLimit, "the connection has %d links", s.conn.links)
	case s.links[p.handle] != nil:
		return refusal(condHandleInUse, "handle %d has a link already", p.handle)
	case !p.receiver && p.initialDeliveryCount == nil:
		return refusal(condInvalidField, "a sender's attach needs an initial delivery count")
	}
	l := newLink(s, p)
	address := ""
	if t := l.end(p); t != nil {
		address = t.address
	}
	refuse := func(_ int32, err *amqpError) {
		s.add(l)
		l.refuse(p, err)
	}
	var err *amqpError
	s.conn.perform(now, operation{
		point: "bus.attach", detail: address,
		do: func(time.Time) { err = l.open(p) },
		answer: func() {
			switch {
			case s.links[p.handle] == l: // a link can't be answered twice
			case err != nil:
				refuse(0, err)
			default:
				s.add(l)
				l.accept(p)
			}
		},
		refuse: refuse,
	})
	return nil
}

func (s *session) add(l *link) {
	s.links[l.handle] = l
	s.conn.links++
}

func (s *session) flow(p *flow) error {
	var peerExpects uint32 // the initial outgoing id, until the peer has seen begin
	if p.nextIncomingID != nil {
		peerExpects = *p.nextIncomingID
	}
	s.remoteWindow = left(p.incomingWindow, s.nextOutgoingID-peerExpects)
	s.flush()
	for _, l := range s.links {
		l.sendReplies()
	}
	if p.handle == nil {
		if p.echo {
			s.sendFlow(&flow{})
		}
		return nil
	}
	l, err := s.link(*p.handle)
	if l != nil {
		l.flow(p)
	}
	return err
}

// left is what remains of an allowance of which some is under way.
func left(allowance, underWay uint32) uint32 {
	if underWay > allowance {
		return 0
	}
	return allowance - underWay
}

// sendFlow sends p with the state of the session.
func (s *session) sendFlow(p *flow) {
	p.nextIncomingID = &s.nextIncomingID
	p.incomingWindow = incomingWindow
	p.nextOutgoingID = s.nextOutgoingID
	p.outgoingWindow = outgoingWindow
	s.unannounced = 0
	s.conn.send(s.channel, p, nil)
}

func (s *session) transfer(now time.Time, p *transfer, payload []byte) error {
	s.nextIncomingID++
	s.unannounced++
	if s.unannounced > incomingWindow/2 {
		s.sendFlow(&flow{})
	}
	l, err := s.link(p.handle)
	if l == nil {
		return err
	}
	if l.receiver {
		return refusal(condNotAllowed, "transfer on handle %d, whose link receives", p.handle)
	}
	if err := l.take(now, p, payload); err != nil {
		l.detach(asAMQP(err, condInternal))
	}
	return nil
}

// post sends a message in as many frames as it needs, as far as the peer's
// window allows, and returns its delivery id.
func (s *session) post(t transfer, message []byte) uint32 {
	id := s.nextDeliveryID
	s.nextDeliveryID++
	var format uint32
	t.deliveryID, t.messageFormat = &id, &format
	header := len(appendFrame(nil, frameTypeAMQP, s.channel, &t, nil))
	for first := true; first || len(message) > 0; first = false {
		n := min(len(message), s.conn.maxFrame-header)
		part := t
		if !first {
			part.deliveryID, part.deliveryTag, part.messageFormat = nil, nil, nil
		}
		part.more = n < len(message)
		s.outbox = append(s.outbox, outgoing{part, message[:n]})
		message = message[n:]
	}
	s.flush()
	return id
}

// flush sends what the peer's window allows.
func (s *session) flush() {
	for len(s.outbox) > 0 && s.remoteWindow > 0 {
		s.conn.send(s.channel, &s.outbox[0].transfer, s.outbox[0].payload)
		s.outbox = s.outbox[1:]
		s.nextOutgoingID++
		s.remoteWindow--
	}
}

// disposition settles deliveries as the peer asks, and answers with what became
// of each unless the peer has settled it already.
func (s *session) disposition(now time.Time, p *disposition) {
	if !p.receiver || (p.state == nil && !p.settled) {
		return // the peer's answer to a settlement of ours, or no news
	}
	for _, id := range s.deliveriesIn(p.first, p.last) {
		if s.conn.closed {
			return
		}
		d, known := s.unsettled[id]
		if !known {
			s.answer(id, p.settled, &deliveryState{code: codeRejected, err: errLockLost})
			continue
		}
		if p.state != nil && p.state.code == codeReceived {
			continue
		}
		delete(s.unsettled, id)
		s.settle(now, id, p, d)
	}
}

// settle ends one delivery as the peer decided, and tells it what came of that.
func (s *session) settle(now time.Time, id uint32, p *disposition, d delivery) {
	var state *deliveryState
	s.conn.perform(now, operation{
		point: "bus.settle", detail: d.link.entity.name,
		expire: func(now time.Time) { d.link.entity.queue.expireLock(now, d.token) },
		do:     func(now time.Time) { state = d.settle(now, p.state) },
		answer: func() { s.answer(id, p.settled, state) },
		refuse: func(_ int32, err *amqpError) {
			s.answer(id, p.settled, &deliveryState{code: codeRejected, err: err})
		},
	})
}

// deliveriesIn returns the unsettled deliveries of a range, or the range's only
// one whether it is unsettled or not. Ids wrap around.
func (s *session) deliveriesIn(first, last uint32) []uint32 {
	if first == last {
		return []uint32{first}
	}
	var ids []uint32
	for id := range s.unsettled {
		if id-first <= last-first {
			ids = append(ids, id)
		}
	}
	return ids
}

func (s *session) answer(id uint32, settled bool, state *deliveryState) {
	if !settled {
		s.conn.send(s.channel, &disposition{first: id, last: id, settled: true, state: state}, nil)
	}
}

func (s *session) detach(p *detach) error {
	l := s.links[p.handle]
	if l == nil {
		return refusal(condUnattachedHandle, "handle %d has no link", p.handle)
	}
	delete(s.links, p.handle)
	s.conn.links--
	if !l.detached {
		l.release()
		s.conn.send(s.channel, &detach{handle: p.handle, closed: true}, nil)
	}
	return nil
}
