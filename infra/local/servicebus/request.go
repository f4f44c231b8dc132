package servicebus

import (
	"time"

	"github.com/Azure/go-amqp"
)

// Requests and answers over a pair of links
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-request-response).

// answer is what a request is answered with.
type answer struct {
	status    int32 // as in HTTP
	text      string
	condition symbol
	body      map[string]any
}

const (
	statusOK             = 200
	statusAccepted       = 202
	statusNoContent      = 204
	statusBadRequest     = 400
	statusUnauthorized   = 401
	statusForbidden      = 403
	statusNotFound       = 404
	statusGone           = 410
	statusInternal       = 500
	statusNotImplemented = 501
	statusUnavailable    = 503
)

// request handles a message that came to $cbs or to an entity's $management,
// and sends the answer to the link that the request names. An answer that
// nobody listens for is dropped.
func (c *conn) request(now time.Time, l *link, raw []byte) error {
	m, err := parseMessage(raw)
	if err != nil {
		return err
	}
	if m.Properties == nil || m.Properties.MessageID == nil || m.Properties.ReplyTo == nil {
		return refusal(condInvalidField, "request without message id or reply-to")
	}
	name, _ := m.ApplicationProperties["operation"].(string)
	to := c.replies[*m.Properties.ReplyTo]
	if to == nil {
		c.broker.log.Warn("answer has no link to go to", "operation", name)
		return nil
	}
	if link, ok := m.ApplicationProperties["associated-link-name"].(string); ok {
		c.touch(now, link)
	}
	var a answer
	op := operation{
		answer: func() { to.respond(a, l.node, m.Properties.MessageID) },
		refuse: func(status int32, err *amqpError) {
			to.respond(answer{status: status, text: err.description, condition: err.condition}, l.node, m.Properties.MessageID)
		},
	}
	if l.node == nodeClaims {
		c.claiming(&op, &a, name, m)
	} else {
		l.entity.managing(&op, &a, name, m.Value)
	}
	c.perform(now, op)
	return nil
}

// respond sends an answer to a request. The names of its properties are not the
// same at $cbs and at $management.
func (l *link) respond(a answer, by node, request any) {
	names := [3]string{"statusCode", "statusDescription", "errorCondition"}
	if by == nodeClaims {
		names = [3]string{"status-code", "status-description", "error-condition"}
	}
	out := &amqp.Message{
		Properties:            &amqp.MessageProperties{CorrelationID: request},
		ApplicationProperties: map[string]any{names[0]: a.status, names[1]: a.text},
		Value:                 a.body,
	}
	if a.condition != "" {
		out.ApplicationProperties[names[2]] = amqp.Symbol(a.condition)
	}
	encoded, err := out.MarshalBinary()
	if err != nil {
		l.session.conn.broker.log.Error("encode answer", "error", err)
		return
	}
	l.reply(encoded)
}
