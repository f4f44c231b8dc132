package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"mailferry/shared/migrate"
)

var userFields = []string{"id", "mail", "userPrincipalName", "proxyAddresses"}

// Resolve finds the user that has address among its proxy addresses, else the one whose user
// principal name it is, and that user's mailbox.
func (x *Exchange) Resolve(ctx context.Context, address string) (migrate.TargetMailbox, error) {
	const op = "resolve target address"
	user, err := x.user(ctx, address)
	if err != nil {
		return migrate.TargetMailbox{}, fail(ctx, op, err)
	}
	id := deref(user.GetId())
	guid, err := x.mailboxGUID(ctx, id)
	if err != nil {
		return migrate.TargetMailbox{}, fail(ctx, op, err)
	}
	primary := primaryAddress(user)
	if primary == "" {
		primary = address
	}
	return migrate.TargetMailbox{GUID: guid, UserID: id, Address: primary}, nil
}

func (x *Exchange) user(ctx context.Context, address string) (models.Userable, error) {
	filter := "proxyAddresses/any(x:x eq " + quote("smtp:"+address) + ")"
	page, err := x.graph.Users().Get(ctx, &users.UsersRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UsersRequestBuilderGetQueryParameters{Filter: &filter, Select: userFields},
	})
	if err != nil {
		return nil, err
	}
	found := page.GetValue()
	if len(found) > 1 {
		return nil, &migrate.Error{Op: "resolve target address", Kind: migrate.Configuration,
			Err: fmt.Errorf("%d users have this address", len(found))}
	}
	if len(found) == 1 {
		return found[0], nil
	}
	return x.graph.Users().ByUserId(address).Get(ctx, &users.UserItemRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: userFields},
	})
}

// quote writes an OData string literal.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// primaryAddress is the proxy address that is written with upper-case SMTP, else the mail property.
func primaryAddress(user models.Userable) string {
	for _, proxy := range user.GetProxyAddresses() {
		if address, ok := strings.CutPrefix(proxy, "SMTP:"); ok {
			return address
		}
	}
	return deref(user.GetMail())
}

// mailboxGUID asks for exchangeSettings, which msgraph-sdk-go v1.89 does not have
// (https://learn.microsoft.com/graph/api/resources/exchangesettings).
func (x *Exchange) mailboxGUID(ctx context.Context, userID string) (string, error) {
	body, err := x.raw(ctx, "{+baseurl}/users/{user%2Did}/settings/exchange", map[string]string{"user%2Did": userID})
	if err != nil {
		return "", err
	}
	var settings struct {
		PrimaryMailboxID string `json:"primaryMailboxId"`
	}
	if err := json.Unmarshal(body, &settings); err != nil {
		return "", fmt.Errorf("read exchange settings: %w", err)
	}
	if settings.PrimaryMailboxID == "" {
		return "", &migrate.Error{Op: "resolve target address", Kind: migrate.NoMailbox,
			Err: errors.New("the user has no mailbox in Exchange Online")}
	}
	return parseMailboxID(settings.PrimaryMailboxID)
}

// parseMailboxID takes the GUID out of "MBX:<guid>@<tenant>".
func parseMailboxID(id string) (string, error) {
	rest, ok := strings.CutPrefix(id, "MBX:")
	guid, _, at := strings.Cut(rest, "@")
	if !ok || !at || guid == "" {
		return "", fmt.Errorf("read exchange settings: %q is no mailbox id", clip(id))
	}
	return strings.ToLower(guid), nil
}

// deref reads an optional field of the SDK.
func deref[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
