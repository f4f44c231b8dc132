package servicebus

import (
	"net/url"
	"strings"
	"time"

	"github.com/Azure/go-amqp"
)

// claiming makes an operation of a request to $cbs, whose answer goes to a.
func (c *conn) claiming(op *operation, a *answer, name string, m *amqp.Message) {
	audience, _ := m.ApplicationProperties["name"].(string)
	op.point, op.detail = "bus.claim", audience
	expired := false
	op.expire = func(time.Time) { expired = true }
	op.do = func(now time.Time) {
		*a = c.putToken(now, name, m)
		if _, path := audienceOf(audience); expired {
			delete(c.claims, path)
			c.broker.lookAgain(now)
		}
	}
}

// audienceOf splits what a token is put for into host and path; the host is
// empty if it isn't a URL.
func audienceOf(name string) (host, path string) {
	u, err := url.Parse(name)
	if err != nil {
		return "", ""
	}
	return u.Host, strings.ToLower(strings.Trim(u.Path, "/"))
}

// putToken takes a claim on an entity, or on an entity's $management, which
// clients claim apart.
func (c *conn) putToken(now time.Time, operation string, m *amqp.Message) answer {
	if operation != "put-token" {
		return answer{status: statusNotImplemented, text: "unknown operation " + operation, condition: condNotImplemented}
	}
	kind, _ := m.ApplicationProperties["type"].(string)
	audience, _ := m.ApplicationProperties["name"].(string)
	token, _ := m.Value.(string)
	host, path := audienceOf(audience)
	if host == "" {
		return answer{status: statusBadRequest, text: "audience is not valid", condition: condArgument}
	}
	got, err := readToken(c.broker.keys, now, kind, audience, token)
	if err != nil {
		return answer{status: statusUnauthorized, text: err.Error() + ".", condition: condAuthFailed}
	}
	// As in https://github.com/Azure/azure-service-bus/issues/451.
	if name, _ := strings.CutSuffix(path, managementSuffix); path != "" && c.broker.entities[name] == nil {
		return answer{status: statusNotFound, text: notFound(host, path).description, condition: condNotFound}
	}
	c.claims[path] = got
	c.broker.lookAgain(got.expires)
	return answer{status: statusAccepted, text: "Accepted"}
}

func notFound(host, path string) *amqpError {
	return refusal(condNotFound, "The messaging entity 'sb://%s/%s' could not be found.", host, path)
}

// claimed returns what stands for a path: the claim on itself, or one on the
// whole namespace. Without either, or after its end, it gives no right.
func (c *conn) claimed(now time.Time, path string) claim {
	for _, at := range []string{path, ""} {
		if got, ok := c.claims[at]; ok && got.expires.After(now) {
			return got
		}
	}
	return claim{}
}

// unclaimed returns the right that a link lacks, or "".
func (l *link) unclaimed(now time.Time) string {
	if l.node == nodeClaims {
		return ""
	}
	got := l.session.conn.claimed(now, l.path)
	switch {
	case l.node == nodeManagement && (got.send || got.listen):
	case l.node == nodeManagement:
		return "Send,Listen"
	case l.receiver && !got.listen:
		return "Listen"
	case !l.receiver && !got.send:
		return "Send"
	}
	return ""
}

func (b *Broker) lacking(right, path string) *amqpError {
	return refusal(condUnauthorized,
		"Unauthorized access. '%s' claim(s) are required to perform this operation. Resource: 'sb://%s/%s'.", right, b.Addr(), path)
}

// soleClaimsLink refuses a second link to or from $cbs, as in
// https://github.com/Azure/azure-event-hubs-node/issues/186. azservicebus then
// makes a new connection.
func (c *conn) soleClaimsLink(l *link) *amqpError {
	for _, s := range c.sessions {
		for _, other := range s.links {
			if other != l && other.node == nodeClaims && other.receiver == l.receiver && !other.detached {
				return refusal(condNotAllowed, "A link to connection '%s' $cbs node has already been opened.", c.net.RemoteAddr())
			}
		}
	}
	return nil
}
