package wakeups

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"

	"mailferry/shared/migrate"
)

// Conditions that azservicebus hands on as *amqp.Error when its tries are used up:
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-troubleshoot.
const (
	serverBusy     amqp.ErrCond = "com.microsoft:server-busy"
	entityDisabled amqp.ErrCond = "com.microsoft:entity-disabled"
)

// fault turns what azservicebus says into what migrate.Waker promises.
func fault(ctx context.Context, op string, err error) error {
	if ended := ctx.Err(); ended != nil {
		if cause := context.Cause(ctx); !errors.Is(cause, ended) {
			return fmt.Errorf("%s: %w: %w", op, ended, cause)
		}
		return fmt.Errorf("%s: %w", op, ended)
	}
	e := &migrate.Error{Op: op, Kind: kind(err), Err: err}
	switch e.Kind {
	case migrate.Permission:
		e.Advice = "Grant this app's identity the role Azure Service Bus Data Sender on the queue."
	case migrate.Configuration:
		e.Advice = "Create the queue that the settings name, enable it, or name another."
	case migrate.Unreachable:
		e.Unknown = !errors.Is(err, ErrClosed)
	}
	return e
}

func kind(err error) migrate.Kind {
	// The condition first: it says more than the code that azservicebus wraps it with.
	var answer *amqp.Error
	if errors.As(err, &answer) {
		switch answer.Condition {
		case serverBusy, amqp.ErrCondResourceLimitExceeded: // the namespace is throttled, the queue is full
			return migrate.Throttled
		case entityDisabled, amqp.ErrCondNotFound:
			return migrate.Configuration
		case amqp.ErrCondUnauthorizedAccess:
			return migrate.Permission
		}
	}
	var bus *azservicebus.Error
	if errors.As(err, &bus) {
		switch bus.Code {
		case azservicebus.CodeUnauthorizedAccess:
			return migrate.Permission
		case azservicebus.CodeNotFound:
			return migrate.Configuration
		case azservicebus.CodeConnectionLost, azservicebus.CodeTimeout, azservicebus.CodeClosed:
			return migrate.Unreachable
		}
	}
	var token interface{ NonRetriable() } // azcore/internal/errorinfo: what azidentity's errors implement
	switch {
	case errors.As(err, &token):
		return migrate.Permission
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, ErrClosed), broken(err):
		return migrate.Unreachable
	}
	return migrate.Unexpected
}

// broken reports whether a connection could not be made or broke.
func broken(err error) bool {
	var network net.Error
	var connection *amqp.ConnError
	var link *amqp.LinkError
	var session *amqp.SessionError
	return errors.As(err, &network) || errors.As(err, &connection) || errors.As(err, &link) || errors.As(err, &session) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// isDead reports whether a sender never sends again: it is closed, or its link was detached and azservicebus
// makes no other. Version 1.11 leaves a detached link where it is for com.microsoft:server-busy, which it
// takes for an answer to the message, and for conditions that no try overcomes at the time, such as
// com.microsoft:entity-disabled. Most come as *amqp.LinkError, which a refused message is not; two are
// hidden behind codes (internal/amqpLinks.go, Retry and RecoverIfNeeded; internal/errors.go,
// amqpConditionsToRecoveryKind and TransformError).
func isDead(err error) bool {
	var link *amqp.LinkError
	if errors.As(err, &link) {
		return true
	}
	var bus *azservicebus.Error
	if !errors.As(err, &bus) {
		return false
	}
	return bus.Code == azservicebus.CodeClosed || bus.Code == azservicebus.CodeTimeout || bus.Code == azservicebus.CodeUnauthorizedAccess
}
