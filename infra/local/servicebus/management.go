package servicebus

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/Azure/go-amqp"
)

const (
	operationPrefix = "com.microsoft:"
	// maxPeeked and maxPeekedBytes bound one answer to peek-message.
	maxPeeked      = 1000
	maxPeekedBytes = 1 << 20
)

// operations are the requests to an entity's $management, by name without
// operationPrefix.
var operations = map[string]func(q *queue, now time.Time, body map[string]any) (map[string]any, error){
	"renew-lock":                 renewLocks,
	"update-disposition":         updateDisposition,
	"schedule-message":           scheduleMessages,
	"cancel-scheduled-message":   cancelScheduled,
	"peek-message":               peekMessages,
	"receive-by-sequence-number": receiveDeferred,
}

// managing makes an operation of a request to the entity's $management, whose
// answer goes to a.
func (e *entity) managing(op *operation, a *answer, name string, value any) {
	op.point, op.detail = "bus.manage", e.name+" "+strings.TrimPrefix(name, operationPrefix)
	op.do = func(now time.Time) { *a = e.manage(now, name, value) }
	op.expire = func(now time.Time) {
		body, _ := value.(map[string]any)
		tokens, _ := body["lock-tokens"].([]amqp.UUID)
		for _, token := range tokens {
			e.queue.expireLock(now, token)
		}
	}
}

// manage runs one operation.
func (e *entity) manage(now time.Time, operation string, value any) answer {
	name, ours := strings.CutPrefix(operation, operationPrefix)
	run := operations[name]
	if !ours || run == nil {
		return answer{status: statusNotImplemented, text: "unknown operation " + operation, condition: condNotImplemented}
	}
	body, ok := value.(map[string]any)
	if !ok {
		return answer{status: statusBadRequest, text: fmt.Sprintf("request body is a %T", value), condition: condArgument}
	}
	result, err := run(e.queue, now, body)
	if err != nil {
		return failure(err)
	}
	if result == nil {
		return answer{status: statusOK, text: "OK", body: map[string]any{}}
	}
	if len(result) == 0 {
		return answer{status: statusNoContent, text: "No Content", body: result}
	}
	return answer{status: statusOK, text: "OK", body: result}
}

// failure maps an error to the status that azservicebus knows it by
// (azservicebus internal/errors.go).
func failure(err error) answer {
	e, ok := errors.AsType[*amqpError](err)
	if !ok {
		return answer{status: statusBadRequest, text: err.Error(), condition: condArgument}
	}
	status := map[symbol]int32{
		condMessageLockLost: statusGone,
		condMessageNotFound: statusNotFound,
		condNotAllowed:      statusBadRequest,
		condMessageSize:     statusForbidden,
		condResourceLimit:   statusForbidden,
	}[e.condition]
	if status == 0 {
		status = statusInternal
	}
	return answer{status: status, text: e.description, condition: e.condition}
}

func renewLocks(q *queue, now time.Time, body map[string]any) (map[string]any, error) {
	tokens, err := lockTokens(q, now, body)
	if err != nil {
		return nil, err
	}
	ends := make([]time.Time, 0, len(tokens))
	for _, token := range tokens {
		end, err := q.renew(now, token)
		if err != nil {
			return nil, err
		}
		ends = append(ends, end)
	}
	return map[string]any{"expirations": ends}, nil
}

// lockTokens reads the tokens of a request and checks that all of them hold.
func lockTokens(q *queue, now time.Time, body map[string]any) ([]amqp.UUID, error) {
	tokens, ok := body["lock-tokens"].([]amqp.UUID)
	if !ok || len(tokens) == 0 {
		return nil, fmt.Errorf("lock-tokens is a %T", body["lock-tokens"])
	}
	for _, token := range tokens {
		if !q.holds(now, token) {
			return nil, errLockLost
		}
	}
	return tokens, nil
}

func updateDisposition(q *queue, now time.Time, body map[string]any) (map[string]any, error) {
	s, err := requestedSettlement(body)
	if err != nil {
		return nil, err
	}
	tokens, err := lockTokens(q, now, body)
	if err != nil {
		return nil, err
	}
	for _, token := range tokens {
		if err := q.settle(now, token, s); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

func requestedSettlement(body map[string]any) (settlement, error) {
	given, _ := body["properties-to-modify"].(map[string]any)
	s := settlement{properties: map[string]any{}}
	maps.Copy(s.properties, given)
	status, _ := body["disposition-status"].(string)
	switch status {
	case "completed":
		s.kind = settleComplete
	case "abandoned":
		s.kind = settleAbandon
	case "suspended":
		s.kind = settleDeadLetter
		for key, property := range map[string]string{
			"deadletter-reason":      deadLetterReason,
			"deadletter-description": deadLetterDescription,
		} {
			if text, ok := body[key].(string); ok {
				s.properties[property] = text
			}
		}
	case "defered": // the service's spelling
		s.kind = settleDefer
	default:
		return s, fmt.Errorf("disposition-status %q is unknown", status)
	}
	return s, nil
}

func scheduleMessages(q *queue, now time.Time, body map[string]any) (map[string]any, error) {
	if q.dead == nil {
		return nil, refusal(condNotAllowed, "messages cannot be sent to a dead-letter queue")
	}
	entries, ok := body["messages"].([]any)
	if !ok || len(entries) == 0 {
		return nil, fmt.Errorf("messages is a %T", body["messages"])
	}
	parcels := make([]parcel, 0, len(entries))
	for i, entry := range entries {
		fields, _ := entry.(map[string]any)
		raw, _ := fields["message"].([]byte)
		if len(raw) > q.config.MaxMessageSize {
			return nil, refusal(condMessageSize, "message of %d bytes exceeds the limit of %d", len(raw), q.config.MaxMessageSize)
		}
		p, err := parseParcel(raw)
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		parcels = append(parcels, p)
	}
	sequences, err := q.send(now, parcels...)
	if err != nil {
		return nil, err
	}
	return map[string]any{"sequence-numbers": sequences}, nil
}

func cancelScheduled(q *queue, now time.Time, body map[string]any) (map[string]any, error) {
	sequences, ok := body["sequence-numbers"].([]int64)
	if !ok {
		return nil, fmt.Errorf("sequence-numbers is a %T", body["sequence-numbers"])
	}
	return nil, q.cancel(now, sequences)
}

// peekMessages returns an empty result when there is nothing to see.
func peekMessages(q *queue, now time.Time, body map[string]any) (map[string]any, error) {
	from, ok := body["from-sequence-number"].(int64)
	count, ok2 := body["message-count"].(int32)
	if !ok || !ok2 || count <= 0 {
		return nil, errors.New("from-sequence-number or message-count is missing")
	}
	var found []any
	size := 0
	for _, m := range q.peek(now, from, int(min(count, maxPeeked))) {
		raw, err := m.encode()
		if err != nil {
			return nil, err
		}
		if size += len(raw); size > maxPeekedBytes && len(found) > 0 {
			break
		}
		found = append(found, map[string]any{"message": raw})
	}
	if len(found) == 0 {
		return map[string]any{}, nil
	}
	return map[string]any{"messages": found}, nil
}

// receiveDeferred takes deferred messages by their numbers, under a lock unless
// receiver-settle-mode is first (0).
func receiveDeferred(q *queue, now time.Time, body map[string]any) (map[string]any, error) {
	sequences, ok := body["sequence-numbers"].([]int64)
	if !ok || len(sequences) == 0 {
		return nil, fmt.Errorf("sequence-numbers is a %T", body["sequence-numbers"])
	}
	mode, ok := body["receiver-settle-mode"].(uint32)
	if !ok {
		return nil, fmt.Errorf("receiver-settle-mode is a %T", body["receiver-settle-mode"])
	}
	messages, err := q.receiveDeferred(now, sequences, mode == rcvFirst)
	if err != nil {
		return nil, err
	}
	found := make([]any, 0, len(messages))
	for _, m := range messages {
		raw, err := m.encode()
		if err != nil {
			return nil, err
		}
		found = append(found, map[string]any{"lock-token": m.token, "message": raw})
	}
	return map[string]any{"messages": found}, nil
}
