package servicebus

import (
	"time"

	"github.com/Azure/go-amqp"
)

// settlement is what a receiver decided about a message.
type settlement struct {
	kind       settlementKind
	properties map[string]any // to set on the message
}

type settlementKind uint8

const (
	settleComplete settlementKind = iota
	settleAbandon                 // counts as a failed delivery
	settleRelease                 // does not count
	settleDefer
	settleDeadLetter
)

// delivery is a message that the peer has and hasn't settled.
type delivery struct {
	link  *link
	token amqp.UUID
}

// settle does what the peer decided and returns the state to answer with. No
// decision, as when a peer only forgets a delivery, releases it.
func (d delivery) settle(now time.Time, state *deliveryState) *deliveryState {
	if state == nil {
		state = &deliveryState{code: codeReleased}
	}
	d.link.used = now
	decision, err := settlementOf(state)
	if err == nil {
		err = d.link.entity.queue.settle(now, d.token, decision)
	}
	if err != nil {
		return &deliveryState{code: codeRejected, err: asAMQP(err, condInternal)}
	}
	if state.code == codeRejected {
		return &deliveryState{code: codeRejected} // an error would tell the peer that it failed
	}
	return state
}

// settlementOf reads a delivery state as Service Bus does
// (azservicebus messageSettler.go).
func settlementOf(state *deliveryState) (settlement, error) {
	switch state.code {
	case codeAccepted:
		return settlement{kind: settleComplete}, nil
	case codeReleased:
		return settlement{kind: settleRelease}, nil
	case codeModified:
		s := settlement{kind: settleAbandon, properties: textKeys(state.annotations)}
		if state.undeliverableHere {
			s.kind = settleDefer
		}
		return s, nil
	case codeRejected:
		s := settlement{kind: settleDeadLetter}
		if state.err != nil {
			s.properties = textKeys(state.err.info)
		}
		return s, nil
	}
	return settlement{}, refusal(condNotImplemented, "delivery state %#02x", state.code)
}
