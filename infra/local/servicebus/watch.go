package servicebus

import (
	"fmt"
	"time"
)

// Links and connections that Service Bus ends by itself, on the broker's clock
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-troubleshoot).
const (
	// linkIdle ends a link over which nothing was sent, received or settled,
	// whatever credit it has.
	linkIdle = 10 * time.Minute
	// connIdle ends a connection without links.
	connIdle = 5 * time.Minute
)

// lookAgain makes the broker look at links and connections at a time, or before.
func (b *Broker) lookAgain(at time.Time) {
	if b.look.IsZero() || at.Before(b.look) {
		b.look = at
	}
}

// watch ends the links whose claim has expired or that are idle, and the
// connections that have no links. What is used meanwhile only moves its end
// further away, so that looking too early does no harm.
func (b *Broker) watch(now time.Time) {
	if b.look.IsZero() || now.Before(b.look) {
		return
	}
	b.look = time.Time{}
	for c := range b.conns {
		if c.opened && !c.closed {
			c.watch(now)
		}
	}
}

func (c *conn) watch(now time.Time) {
	links := 0
	for _, s := range c.sessions {
		for _, l := range s.links {
			if l.detached {
				continue
			}
			if err := l.overdue(now); err != nil {
				l.detach(err)
				continue
			}
			links++
			c.broker.lookAgain(l.used.Add(linkIdle))
		}
	}
	for _, got := range c.claims {
		if got.expires.After(now) {
			c.broker.lookAgain(got.expires)
		}
	}
	if links > 0 {
		c.used = now
		return
	}
	if end := c.used.Add(connIdle); end.After(now) {
		c.broker.lookAgain(end)
		return
	}
	c.send(0, &closing{err: refusal(condConnectionForced,
		"The connection was inactive for more than the allowed %d milliseconds and is closed by container 'LinkTracker'.",
		connIdle.Milliseconds())}, nil)
	c.ending = true
}

// touch counts a request as a use of the link that it names
// (azservicebus internal/mgmt.go, addAssociatedLinkName).
func (c *conn) touch(now time.Time, name string) {
	for _, s := range c.sessions {
		for _, l := range s.links {
			if l.name == name {
				l.used = now
			}
		}
	}
}

// overdue returns why a link has to end now, or nil. The texts are those of
// https://github.com/dapr/components-contrib/issues/809 and
// https://github.com/Azure/azure-sdk-for-python/issues/38627.
func (l *link) overdue(now time.Time) *amqpError {
	if right := l.unclaimed(now); right != "" {
		return l.forced("RenewToken", l.session.conn.broker.lacking(right, l.path).description)
	}
	if l.node == nodeClaims || now.Before(l.used.Add(linkIdle)) {
		return nil
	}
	what := "AmqpMessagePublisher"
	if l.receiver {
		what = "AmqpMessageConsumer"
	}
	return l.forced(what, fmt.Sprintf("%s.IdleTimerExpired: Idle timeout: 00:10:00.", what))
}

func (l *link) forced(code, details string) *amqpError {
	return refusal(condDetachForced, "The link '%s' is force detached. Code: %s. Details: %s", l.name, code, details)
}
