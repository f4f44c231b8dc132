package exchange

import (
	"context"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
)

// tokenMargin is how long before its end a token is no longer used for a new connection.
const tokenMargin = 5 * time.Minute

// tokenError is an error of the credential, told apart from those of the service.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "get token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// namedCredential makes every error of a credential a *tokenError.
type namedCredential struct{ azcore.TokenCredential }

func (c namedCredential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	token, err := c.TokenCredential.GetToken(ctx, o)
	if err != nil {
		return token, &tokenError{err}
	}
	return token, nil
}

// tokens keeps the access token of one scope until it nears its end or is dropped.
type tokens struct {
	credential azcore.TokenCredential
	scope      string
	now        func() time.Time

	mu    sync.Mutex
	token azcore.AccessToken
}

// get returns a token that is good for a while.
func (t *tokens) get(ctx context.Context) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	due := !t.token.RefreshOn.IsZero() && now.After(t.token.RefreshOn)
	if t.token.Token != "" && !due && now.Add(tokenMargin).Before(t.token.ExpiresOn) {
		return t.token.Token, nil
	}
	token, err := t.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{t.scope}})
	if err != nil {
		return "", err
	}
	t.token = token
	return token.Token, nil
}

// drop forgets a token that the server refused, unless a newer one has taken its place.
func (t *tokens) drop(token string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.token.Token == token {
		t.token = azcore.AccessToken{}
	}
}
