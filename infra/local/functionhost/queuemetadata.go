package functionhost

import (
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/google/uuid"
)

// never is DateTimeOffset.MaxValue: when a message without time to live expires.
var never = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// messageMetadata is the binding data of a message. Values that are null in
// .NET are left out (ServiceBusTriggerBindingStrategy in azure-sdk-for-net).
func messageMetadata(m *azservicebus.ReceivedMessage, client map[string]any) metadata {
	properties := m.ApplicationProperties
	if properties == nil {
		properties = map[string]any{}
	}
	b := metadata{
		"Client": client, "DeliveryCount": quoted(m.DeliveryCount), "LockToken": quoted(uuid.UUID(m.LockToken).String()),
		"ApplicationProperties": properties, "UserProperties": properties,
	}
	for _, key := range []string{"MessageReceiver", "MessageSession", "MessageActions", "SessionActions", "ReceiveActions"} {
		b[key] = struct{}{}
	}
	enqueued, expires := time.Time{}, never
	if m.EnqueuedTime != nil {
		enqueued = *m.EnqueuedTime
		if m.TimeToLive != nil && *m.TimeToLive > 0 && enqueued.Add(*m.TimeToLive).Before(never) {
			expires = enqueued.Add(*m.TimeToLive)
		}
	}
	b["EnqueuedTimeUtc"], b["EnqueuedTime"] = date(enqueued), dateOffset(enqueued)
	b["ExpiresAtUtc"], b["ExpiresAt"] = date(expires), dateOffset(expires)
	if m.SequenceNumber != nil {
		b["SequenceNumber"] = quoted(*m.SequenceNumber)
	}
	if m.MessageID != "" {
		b["MessageId"] = quoted(m.MessageID)
	}
	for key, value := range map[string]*string{
		"DeadLetterSource": m.DeadLetterSource, "ContentType": m.ContentType, "ReplyTo": m.ReplyTo, "To": m.To,
		"Subject": m.Subject, "Label": m.Subject, "CorrelationId": m.CorrelationID, "SessionId": m.SessionID,
		"ReplyToSessionId": m.ReplyToSessionID, "PartitionKey": m.PartitionKey,
	} {
		if value != nil {
			b[key] = quoted(*value)
		}
	}
	return b
}
