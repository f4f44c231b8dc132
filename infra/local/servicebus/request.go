package servicebus

import (
	"fmt"
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
	operation, _ := m.ApplicationProperties["operation"].(string)
	to := c.replies[*m.Properties.ReplyTo]
	if to == nil {
		c.broker.log.Warn("answer has no link to go to", "operation", operation)
		return nil
	}
	if name, ok := m.ApplicationProperties["associated-link-name"].(string); ok {
		c.touch(now, name)
	}
	var a answer
	names := [3]string{"statusCode", "statusDescription", "errorCondition"}
	if l.node == nodeClaims {
		a = c.putToken(now, operation, m)
		names = [3]string{"status-code", "status-description", "error-condition"}
	} else {
		a = l.entity.manage(now, operation, m.Value)
	}
	out := &amqp.Message{
		Properties:            &amqp.MessageProperties{CorrelationID: m.Properties.MessageID},
		ApplicationProperties: map[string]any{names[0]: a.status, names[1]: a.text},
		Value:                 a.body,
	}
	if a.condition != "" {
		out.ApplicationProperties[names[2]] = amqp.Symbol(a.condition)
	}
	encoded, err := out.MarshalBinary()
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	to.reply(encoded)
	return nil
}
