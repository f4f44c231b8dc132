package imapsource

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// oauthEndpoint is the realm's Dovecot, whose users sign in with tokens of the realm's service.
func oauthEndpoint(r *realm, auth string, o migrate.OAuth) migrate.Endpoint {
	e := r.endpoint(migrate.SecurityTLS, auth)
	o.Provider, o.TokenURL, o.Scope = "custom", r.tokens.url(), "https://mail.example/"
	if o.Grant == migrate.GrantClientCredentials {
		o.Scope += ".default"
	}
	e.Name, e.OAuth, e.CA = "old", &o, e.CA+r.tokens.ca()
	return e
}

var (
	refreshGrant = migrate.OAuth{Grant: migrate.GrantRefreshToken, ClientID: clientID, ClientSecretSetting: "SOURCE_SECRET"}
	clientGrant  = migrate.OAuth{Grant: migrate.GrantClientCredentials, ClientID: clientID, ClientSecretSetting: "SOURCE_SECRET"}
	accountGrant = migrate.OAuth{Grant: migrate.GrantServiceAccount, ServiceAccountSetting: "SOURCE_ACCOUNT"}
)

// oauthDialer has the secrets, and a vault with one refresh token.
func oauthDialer(r *realm, vault *string) Dialer {
	var mu sync.Mutex
	return Dialer{
		Tokens: &Tokens{},
		Password: func(context.Context, migrate.Mailbox) (string, error) {
			mu.Lock()
			defer mu.Unlock()
			return *vault, nil
		},
		KeepPassword: func(_ context.Context, m migrate.Mailbox, token string) error {
			mu.Lock()
			defer mu.Unlock()
			*vault = token
			return nil
		},
		Setting: func(name string) (string, error) {
			return map[string]string{"SOURCE_SECRET": clientSecret, "SOURCE_ACCOUNT": r.tokens.serviceAccount()}[name], nil
		},
	}
}

// Tokens of every grant open a real Dovecot's mailbox, by both mechanisms.
func TestOAuthWithDovecot(t *testing.T) {
	r := wholeRealm(t)
	r.tokens.reset()
	for _, auth := range []string{"auto", "xoauth2", "oauthbearer"} {
		for _, grant := range []migrate.OAuth{refreshGrant, clientGrant, accountGrant} {
			vault := "refresh-of-anna"
			signsIn(t, oauthDialer(r, &vault), oauthEndpoint(r, auth, grant), "anna")
		}
		// The token is anna's, so bert's mailbox stays shut.
		vault := "refresh-of-anna"
		refusesSignIn(t, oauthDialer(r, &vault), oauthEndpoint(r, auth, refreshGrant), "bert", migrate.SignIn, migrate.TokenRefused)
	}
	vault := ""
	signsIn(t, oauthDialer(r, &vault), oauthEndpoint(r, "auto", accountGrant), "bert")
}

// One token serves many connections, also at once, and a new one is had before it expires.
func TestTokensAreKept(t *testing.T) {
	r := wholeRealm(t)
	r.tokens.reset()
	vault := "refresh-of-anna"
	d, e := oauthDialer(r, &vault), oauthEndpoint(r, "auto", refreshGrant)
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() { signsIn(t, d, e, "anna") })
	}
	all.Wait()
	if n := r.tokens.count(); n != 1 {
		t.Errorf("%d tokens for five connections", n)
	}
	r.tokens.set(func() { r.tokens.life = int(tokenMargin/time.Second) - 1 })
	d.Tokens = &Tokens{}
	for range 2 {
		signsIn(t, d, e, "anna")
	}
	if n := r.tokens.count(); n != 3 {
		t.Errorf("%d tokens although the first is about to expire", n-1)
	}
}

// A token that was revoked while it was kept is replaced once, and a fresh one that is refused is not.
func TestRevokedTokens(t *testing.T) {
	r := wholeRealm(t)
	r.tokens.reset()
	vault := "refresh-of-anna"
	d, e := oauthDialer(r, &vault), oauthEndpoint(r, "auto", refreshGrant)
	signsIn(t, d, e, "anna")
	r.tokens.set(func() { clear(r.tokens.tokens) })
	signsIn(t, d, e, "anna")
	if n := r.tokens.count(); n != 2 {
		t.Errorf("%d tokens", n)
	}
	d.Tokens = &Tokens{}
	refusesSignIn(t, d, e, "bert", migrate.SignIn, migrate.TokenRefused)
	if n := r.tokens.count(); n != 3 {
		t.Errorf("%d tokens for one that is refused", n-2)
	}
}

// A refresh token that is good for once is replaced in the vault before the access token is used.
func TestRotatedRefreshTokens(t *testing.T) {
	r := wholeRealm(t)
	r.tokens.reset()
	r.tokens.set(func() { r.tokens.rotate, r.tokens.life = true, 1 })
	vault := "refresh-of-anna"
	d, e := oauthDialer(r, &vault), oauthEndpoint(r, "auto", refreshGrant)
	for range 3 {
		before := vault
		signsIn(t, d, e, "anna")
		if vault == before {
			t.Error("the vault keeps the old refresh token")
		}
	}
	d.KeepPassword = nil // then the process alone remembers
	for range 2 {
		signsIn(t, d, e, "anna")
	}
	keep := oauthDialer(r, &vault).KeepPassword
	r.tokens.set(func() { r.tokens.life = 3600 })
	d.KeepPassword = func(context.Context, migrate.Mailbox, string) error { return errors.New("the vault is shut") }
	for range 2 { // also when the access token itself is good
		if _, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: "anna"}); err == nil || !strings.Contains(err.Error(), "vault") {
			t.Errorf("got %v", err)
		}
	}
	d.KeepPassword = keep
	signsIn(t, d, e, "anna")
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	if r.tokens.refresh[vault] != "anna" {
		t.Error("the vault has a refresh token that is worth nothing")
	}
}

// TestTokenRefusals gives each answer of a token service its meaning.
func TestTokenRefusals(t *testing.T) {
	r := wholeRealm(t)
	answer := func(status int, header, body string) func(http.ResponseWriter) bool {
		return func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Retry-After", header)
			w.Header().Set("Location", r.tokens.url())
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	wrongScope := accountGrant
	wrongSecret := refreshGrant
	wrongSecret.ClientSecretSetting = "SOURCE_MISSING"
	for name, c := range map[string]struct {
		grant  migrate.OAuth
		login  string
		vault  string
		fail   func(http.ResponseWriter) bool
		kind   migrate.Kind
		reason migrate.Reason
	}{
		"dead refresh token": {refreshGrant, "anna", "refresh-of-nobody", nil, migrate.SignIn, migrate.RefreshTokenDead},
		"no such setting":    {wrongSecret, "anna", "refresh-of-anna", nil, migrate.Configuration, migrate.SettingMissing},
		"user unknown":       {accountGrant, "nobody", "", nil, migrate.SignIn, migrate.TokenRefused},
		"bad client":         {clientGrant, "anna", "", answer(401, "", `{"error":"invalid_client"}`), migrate.Configuration, migrate.ConsentMissing},
		"no consent":         {accountGrant, "anna", "", answer(401, "", `{"error":"unauthorized_client"}`), migrate.Configuration, migrate.ConsentMissing},
		"clock":              {accountGrant, "anna", "", answer(400, "", `{"error":"invalid_grant","error_description":"Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values and use a clock with skew to account for clock differences between systems."}`), migrate.Configuration, migrate.ClockSkew},
		"bad key":            {accountGrant, "anna", "", answer(400, "", `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`), migrate.Configuration, migrate.ConsentMissing},
		"slow down":          {wrongScope, "anna", "", answer(429, "7", `{}`), migrate.Throttled, ""},
		"down":               {refreshGrant, "anna", "refresh-of-anna", answer(500, "", `<html>`), migrate.Unreachable, ""},
		"redirect":           {refreshGrant, "anna", "refresh-of-anna", answer(307, "", ``), migrate.Configuration, migrate.ConsentMissing},
		"no token":           {refreshGrant, "anna", "refresh-of-anna", answer(200, "", `{"token_type":"Bearer"}`), migrate.Unreachable, ""},
		"other token":        {refreshGrant, "anna", "refresh-of-anna", answer(200, "", `{"access_token":"x","token_type":"mac"}`), migrate.Configuration, ""},
	} {
		r.tokens.reset()
		r.tokens.set(func() { r.tokens.fail = c.fail })
		vault := c.vault
		d, e := oauthDialer(r, &vault), oauthEndpoint(r, "auto", c.grant)
		_, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: c.login})
		var failed *migrate.Error
		if !errors.As(err, &failed) || failed.Kind != c.kind || failed.Reason != c.reason {
			t.Errorf("%s: got %v, want %s %s", name, err, c.kind, c.reason)
		}
		if name == "slow down" && failed != nil && failed.RetryAfter != 7*time.Second {
			t.Errorf("%s: retry after %s", name, failed.RetryAfter)
		}
		if c.fail != nil && r.tokens.count() != 1 {
			t.Errorf("%s: asked %d times", name, r.tokens.count())
		}
	}
	r.tokens.reset()
}

// TestTokenServiceOutOfReach says what is wrong with the token service, not with the mail server.
func TestTokenServiceOutOfReach(t *testing.T) {
	r := wholeRealm(t)
	r.tokens.reset()
	vault := "refresh-of-anna"
	e := oauthEndpoint(r, "auto", refreshGrant)
	e.CA = r.endpoint(migrate.SecurityTLS, "auto").CA // not the token service's
	_, err := oauthDialer(r, &vault).Dial(t.Context(), e, migrate.Mailbox{Login: "anna"})
	var failed *migrate.Error
	if !errors.As(err, &failed) || failed.Kind != migrate.Configuration || failed.Reason != migrate.UnknownAuthority ||
		!strings.Contains(err.Error(), "SHA-256") || !strings.Contains(failed.Op, "token") || !strings.Contains(failed.Advice, "ca") {
		t.Errorf("not trusted: %v", err)
	}
	e = oauthEndpoint(r, "auto", refreshGrant)
	e.OAuth.TokenURL = "https://127.0.0.1:1/token"
	_, err = oauthDialer(r, &vault).Dial(t.Context(), e, migrate.Mailbox{Login: "anna"})
	if migrate.KindOf(err) != migrate.Unreachable || migrate.ReasonOf(err) != migrate.ConnectRefused {
		t.Errorf("nobody listens: %v", err)
	}
}

// What the two providers are asked for, and where.
func TestProviders(t *testing.T) {
	for _, c := range []struct {
		o      migrate.OAuth
		url    string
		scopes []string
	}{
		{migrate.OAuth{Provider: "google", Grant: migrate.GrantRefreshToken}, "https://oauth2.googleapis.com/token", []string{"https://mail.google.com/"}},
		{migrate.OAuth{Provider: "microsoft", Tenant: "contoso.example", Grant: migrate.GrantClientCredentials},
			"https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token", []string{"https://outlook.office365.com/.default"}},
		{migrate.OAuth{Provider: "microsoft", Tenant: "t", Grant: migrate.GrantRefreshToken},
			"https://login.microsoftonline.com/t/oauth2/v2.0/token", []string{"https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"}},
	} {
		if tokenURL(c.o) != c.url || !slices.Equal(scopes(c.o), c.scopes) {
			t.Errorf("%+v: %s %s", c.o, tokenURL(c.o), scopes(c.o))
		}
	}
}

// What is kept of expired tokens is bounded, and a replaced refresh token is not thrown away.
func TestTokensForgetWhatExpired(t *testing.T) {
	tokens := &Tokens{}
	for i := range 3 * mostKept {
		k, err := tokens.take(t.Context(), strings.Repeat("x", i))
		if err != nil {
			t.Fatal(err)
		}
		if i == 7 {
			k.refresh = "rotated"
		}
		k.release()
	}
	if len(tokens.kept) > mostKept+1 || tokens.kept["xxxxxxx"] == nil {
		t.Errorf("%d are kept", len(tokens.kept))
	}
}
