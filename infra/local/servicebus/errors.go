package servicebus

import (
	"errors"
	"fmt"
)

// Error conditions: AMQP's own (amqp-core-transport-v1.0 section 2.8.15 to
// 2.8.18) and those of Service Bus
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide).
const (
	condDecode            symbol = "amqp:decode-error"
	condFraming           symbol = "amqp:connection:framing-error"
	condHandleInUse       symbol = "amqp:session:handle-in-use"
	condIllegalState      symbol = "amqp:illegal-state"
	condInternal          symbol = "amqp:internal-error"
	condInvalidField      symbol = "amqp:invalid-field"
	condNotAllowed        symbol = "amqp:not-allowed"
	condNotFound          symbol = "amqp:not-found"
	condNotImplemented    symbol = "amqp:not-implemented"
	condResourceLimit     symbol = "amqp:resource-limit-exceeded"
	condMessageSize       symbol = "amqp:link:message-size-exceeded"
	condTransferLimit     symbol = "amqp:link:transfer-limit-exceeded"
	condUnattachedHandle  symbol = "amqp:session:unattached-handle"
	condUnauthorized      symbol = "amqp:unauthorized-access"
	condConnectionForced  symbol = "amqp:connection:forced"
	condDetachForced      symbol = "amqp:link:detach-forced"
	condAuthFailed        symbol = "com.microsoft:auth-failed"
	condServerBusy        symbol = "com.microsoft:server-busy"
	condDeadLetter        symbol = "com.microsoft:dead-letter"
	condMessageLockLost   symbol = "com.microsoft:message-lock-lost"
	condMessageNotFound   symbol = "com.microsoft:message-not-found"
	condArgument          symbol = "com.microsoft:argument-error"
	sessionFilter         symbol = "com.microsoft:session-filter"
	maxMessageBatchSize   symbol = "com.microsoft:max-message-batch-size"
	deadLetterReason             = "DeadLetterReason"
	deadLetterDescription        = "DeadLetterErrorDescription"
)

// amqpError is an error that the peer is told of.
type amqpError struct {
	condition   symbol
	description string
	info        map[any]any
}

func (e *amqpError) Error() string {
	return fmt.Sprintf("%s: %s", e.condition, e.description)
}

func (e *amqpError) composite() described {
	var description, info any
	if e.description != "" {
		description = e.description
	}
	if len(e.info) > 0 {
		info = e.info
	}
	return compose(codeError, e.condition, description, info)
}

// value is the error as a field, null when there is none.
func (e *amqpError) value() any {
	if e == nil {
		return nil
	}
	return e.composite()
}

// decodeError reads field i as an error; only its condition must be there.
func decodeError(f *fields, i int) *amqpError {
	d := pointer[described](f, i)
	if d == nil {
		return nil
	}
	ef, err := fieldsOf(*d)
	if err != nil {
		f.err = err
		return nil
	}
	e := &amqpError{
		condition:   required[symbol](ef, 0),
		description: field(ef, 1, ""),
		info:        field[map[any]any](ef, 2, nil),
	}
	if ef.err != nil && f.err == nil {
		f.err = ef.err
	}
	return e
}

// asAMQP turns any error into one that a peer can be told.
func asAMQP(err error, condition symbol) *amqpError {
	if e, ok := errors.AsType[*amqpError](err); ok {
		return e
	}
	return &amqpError{condition: condition, description: err.Error()}
}

func refusal(condition symbol, format string, args ...any) *amqpError {
	return &amqpError{condition: condition, description: fmt.Sprintf(format, args...)}
}
