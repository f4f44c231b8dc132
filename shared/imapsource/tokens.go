package imapsource

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"golang.org/x/oauth2"

	"mailferry/shared/migrate"
)

// Tokens keeps access tokens until shortly before they expire. Its methods may be called by several
// goroutines at once; one token is asked for once. The zero value is ready.
type Tokens struct {
	mu   sync.Mutex
	kept map[string]*keptToken
}

// keptToken is what is known for one key. Who holds busy may use the others.
type keptToken struct {
	busy    chan struct{}
	token   *oauth2.Token
	given   string // the refresh token that the vault gave
	refresh string // what the token service gave in its place, until the vault has it
}

// tokenMargin is how long a token must be good for: a sign-in with the next one takes seconds, but
// clocks differ.
const tokenMargin = 5 * time.Minute

func (k *keptToken) good() bool {
	return k.token != nil && time.Until(k.token.Expiry) > tokenMargin
}

// tokenKey is the same for all that one token is good for.
func tokenKey(endpoint migrate.Endpoint, mailbox migrate.Mailbox) string {
	description, _ := json.Marshal(endpoint.OAuth) // of plain fields
	key := endpoint.Name + "\x00" + string(description)
	if endpoint.OAuth.Grant != migrate.GrantClientCredentials {
		key += "\x00" + mailbox.Login
	}
	return key
}

// mostKept bounds what is kept of tokens that have expired.
const mostKept = 1000

// take returns the entry of a key to one caller at a time. A nil *Tokens keeps nothing.
func (t *Tokens) take(ctx context.Context, key string) (*keptToken, error) {
	fresh := &keptToken{busy: make(chan struct{}, 1)}
	k := fresh
	if t != nil {
		t.mu.Lock()
		if t.kept == nil {
			t.kept = make(map[string]*keptToken)
		}
		if len(t.kept) >= mostKept {
			t.dropExpired()
		}
		if t.kept[key] == nil {
			t.kept[key] = fresh
		}
		k = t.kept[key]
		t.mu.Unlock()
	}
	select {
	case k.busy <- struct{}{}:
		return k, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (k *keptToken) release() { <-k.busy }

// dropExpired forgets what nobody uses and has no value any more. A refresh token that was replaced
// has one.
func (t *Tokens) dropExpired() {
	for key, k := range t.kept {
		select {
		case k.busy <- struct{}{}:
			if !k.good() && k.refresh == "" {
				delete(t.kept, key)
			}
			k.release()
		default:
		}
	}
}

// forget drops a token that a server refused, unless another took its place already.
func (t *Tokens) forget(key, token string) {
	t.mu.Lock()
	k := t.kept[key]
	t.mu.Unlock()
	if k == nil {
		return
	}
	k.busy <- struct{}{}
	defer k.release()
	if k.token != nil && k.token.AccessToken == token {
		k.token = nil
	}
}

// accessToken returns a token for the mailbox, and whether it was kept from before.
func (d Dialer) accessToken(ctx context.Context, endpoint migrate.Endpoint, mailbox migrate.Mailbox) (token string, kept bool, err error) {
	k, err := d.Tokens.take(ctx, tokenKey(endpoint, mailbox))
	if err != nil {
		return "", false, err
	}
	defer k.release()
	if err := d.storeRefresh(ctx, mailbox, k); err != nil {
		return "", false, err
	}
	if k.good() {
		return k.token.AccessToken, true, nil
	}
	secret, err := d.grantSecret(ctx, endpoint, mailbox, k)
	if err != nil {
		return "", false, err
	}
	fresh, err := fetchToken(ctx, endpoint, mailbox.Login, secret)
	if err != nil {
		return "", false, withoutSecrets(err, secret.refresh, secret.client, string(secret.account.PrivateKey))
	}
	k.token = fresh
	if fresh.RefreshToken != "" && fresh.RefreshToken != secret.refresh {
		k.refresh = fresh.RefreshToken
	}
	return fresh.AccessToken, false, d.storeRefresh(ctx, mailbox, k)
}

// storeRefresh puts a refresh token that replaced another into the vault. The old one may be worth
// nothing any more, so no access token is used before that is done.
func (d Dialer) storeRefresh(ctx context.Context, mailbox migrate.Mailbox, k *keptToken) error {
	if k.refresh == "" || d.KeepPassword == nil {
		return nil
	}
	if err := d.KeepPassword(ctx, mailbox, k.refresh); err != nil {
		return fmt.Errorf("store the new refresh token: %w", err)
	}
	k.refresh, k.given = "", ""
	return nil
}

// grantSecret is what a grant is asked for with.
type grantSecret struct {
	refresh, client string
	account         serviceAccount
}

// serviceAccount is what is needed of Google's JSON key
// (https://developers.google.com/identity/protocols/oauth2/service-account).
type serviceAccount struct {
	Email      string `json:"client_email"`
	KeyID      string `json:"private_key_id"`
	PrivateKey string `json:"private_key"`
	TokenURL   string `json:"token_uri"`
}

func (d Dialer) grantSecret(ctx context.Context, endpoint migrate.Endpoint, mailbox migrate.Mailbox, k *keptToken) (s grantSecret, err error) {
	o := endpoint.OAuth
	if o.ClientSecretSetting != "" {
		if s.client, err = d.setting(o.ClientSecretSetting); err != nil {
			return s, err
		}
	}
	switch o.Grant {
	case migrate.GrantServiceAccount:
		text, err := d.setting(o.ServiceAccountSetting)
		if err != nil {
			return s, err
		}
		if json.Unmarshal([]byte(text), &s.account) != nil || s.account.Email == "" || s.account.PrivateKey == "" {
			return s, configuration("the app setting " + o.ServiceAccountSetting + " does not hold a service account's JSON key")
		}
	case migrate.GrantRefreshToken:
		given, err := d.Password(ctx, mailbox)
		if err != nil {
			return s, fmt.Errorf("look up the refresh token: %w", err)
		}
		if given != k.given {
			k.given, k.refresh = given, ""
		}
		s.refresh = given
		if k.refresh != "" {
			s.refresh = k.refresh
		}
	}
	return s, nil
}
