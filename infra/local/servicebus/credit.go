package servicebus

// flow takes the client's flow state.
func (l *link) flow(p *flow) {
	l.used = l.session.conn.broker.now()
	if l.receiver {
		l.takeCredit(p)
	}
	if p.echo {
		l.sendFlow(false)
	}
}

// takeCredit computes the credit as a sender does:
// delivery-count(rcv) + link-credit(rcv) - delivery-count(snd).
func (l *link) takeCredit(p *flow) {
	if p.linkCredit == nil {
		return
	}
	var received uint32 // the initial delivery count, until the client has seen attach
	if p.deliveryCount != nil {
		received = *p.deliveryCount
	}
	l.credit = left(*p.linkCredit, l.deliveryCount-received)
	l.drain = p.drain
	l.sendReplies()
}

// finishDrain gives up the credit that no message was there for
// (amqp-core-transport-v1.0 section 2.6.7).
func (l *link) finishDrain() {
	if !l.drain || l.held || len(l.session.outbox) > 0 || (l.credit > 0 && l.session.conn.congested()) {
		return
	}
	l.deliveryCount += l.credit
	l.credit, l.drain = 0, false
	l.sendFlow(true)
}

func (l *link) sendFlow(drained bool) {
	l.session.sendFlow(&flow{
		handle:        &l.handle,
		deliveryCount: &l.deliveryCount,
		linkCredit:    &l.credit,
		drain:         drained,
	})
}

// grant gives the client's sender its full credit.
func (l *link) grant() {
	l.credit = senderCredit
	l.sendFlow(false)
}
