package imapsource

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/oauth2/jwt"

	"mailferry/shared/migrate"
)

// tokenTimeout bounds one request to a token service.
const tokenTimeout = 30 * time.Second

// fetchToken asks the token service. A redirect is not followed: what is sent is secret.
func fetchToken(ctx context.Context, endpoint migrate.Endpoint, login string, s grantSecret) (*oauth2.Token, error) {
	const op = "get an access token"
	o := endpoint.OAuth
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	if o.Provider == "custom" { // its certificate may be the endpoint's own authority's
		roots, err := trusted(endpoint)
		if err != nil {
			return nil, &migrate.Error{Op: op, Kind: migrate.Configuration, Err: err}
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport: transport, Timeout: tokenTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	token, err := tokenSource(ctx, *o, login, s).Token()
	if err != nil {
		return nil, tokenError(ctx, op, o.Grant, err)
	}
	if token.AccessToken == "" || !strings.EqualFold(token.Type(), "Bearer") {
		return nil, &migrate.Error{Op: op, Kind: migrate.Configuration, Err: errors.New("the token service's answer has no bearer token")}
	}
	return token, nil
}

func tokenSource(ctx context.Context, o migrate.OAuth, login string, s grantSecret) oauth2.TokenSource {
	if o.Grant == migrate.GrantServiceAccount {
		key := s.account
		config := &jwt.Config{Email: key.Email, PrivateKey: []byte(key.PrivateKey), PrivateKeyID: key.KeyID, Subject: login, TokenURL: key.TokenURL, Scopes: scopes(o)}
		if o.TokenURL != "" {
			config.TokenURL = o.TokenURL
		}
		return config.TokenSource(ctx)
	}
	config := &clientcredentials.Config{
		ClientID: o.ClientID, ClientSecret: s.client, TokenURL: tokenURL(o), Scopes: scopes(o),
		// In the header first, and then again, is the library's default: two failures for one.
		AuthStyle: oauth2.AuthStyleInParams,
	}
	if o.Grant == migrate.GrantRefreshToken {
		// oauth2.Config would leave the scope out, which Microsoft needs to tell Exchange from Graph.
		config.EndpointParams = url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.refresh}}
	}
	return plainSource{ctx, config}
}

// plainSource is a TokenSource without the library's own cache.
type plainSource struct {
	ctx    context.Context
	config *clientcredentials.Config
}

func (s plainSource) Token() (*oauth2.Token, error) { return s.config.Token(s.ctx) }

func tokenURL(o migrate.OAuth) string {
	switch o.Provider {
	case "google": // https://developers.google.com/identity/protocols/oauth2/web-server#offline
		return "https://oauth2.googleapis.com/token"
	case "microsoft": // https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow
		return "https://login.microsoftonline.com/" + url.PathEscape(o.Tenant) + "/oauth2/v2.0/token"
	}
	return o.TokenURL
}

// scopes are the provider's for IMAP: https://developers.google.com/workspace/gmail/imap/xoauth2-protocol
// and https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth
func scopes(o migrate.OAuth) []string {
	switch {
	case o.Scope != "":
		return strings.Fields(o.Scope)
	case o.Provider == "google":
		return []string{"https://mail.google.com/"}
	case o.Provider == "microsoft" && o.Grant == migrate.GrantClientCredentials:
		return []string{"https://outlook.office365.com/.default"}
	case o.Provider == "microsoft":
		return []string{"https://outlook.office.com/IMAP.AccessAsUser.All", "offline_access"}
	}
	return nil
}

// tokenError gives a token service's refusal its kind (RFC 6749 section 5.2).
func tokenError(ctx context.Context, op, grant string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		e := notTrusted(certificate)
		e.Op, e.Advice = op, "If this is the right token service, put the authority of its certificate into the endpoint's ca; the endpoint's fingerprint is for the mail server only."
		return e
	}
	e := &migrate.Error{Op: op, Kind: migrate.Unreachable, Err: err}
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) || refused.Response == nil {
		var private *url.Error
		if !errors.As(err, &private) && grant == migrate.GrantServiceAccount && strings.Contains(err.Error(), "private key") {
			return &migrate.Error{Op: op, Kind: migrate.Configuration, Err: errors.New("the service account's private key cannot be read")}
		}
		e.Kind, e.Reason = connectionReason(err)
		return e
	}
	code, description := oauthError(refused.Body)
	status := refused.Response.StatusCode
	e.Err = fmt.Errorf("the token service answers %d %s %s", status, code, description)
	switch {
	case status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable:
		e.Kind = migrate.Throttled
		seconds, _ := strconv.Atoi(refused.Response.Header.Get("Retry-After"))
		e.RetryAfter = time.Duration(min(max(seconds, 0), 3600)) * time.Second
	case status >= 500 || code == "temporarily_unavailable":
	case code == "invalid_grant" && grant == migrate.GrantServiceAccount && strings.Contains(description, "short-lived token"):
		// "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe": googleapis/google-cloud-cpp issue 2689
		e.Kind, e.Reason = migrate.Configuration, migrate.ClockSkew
	case code == "invalid_grant" && grant == migrate.GrantServiceAccount && strings.Contains(description, "email or User"):
		e.Kind, e.Reason = migrate.SignIn, migrate.TokenRefused // no such user in the domain
	case grant == migrate.GrantRefreshToken && (code == "invalid_grant" || code == "interaction_required" || code == "consent_required"):
		e.Kind, e.Reason = migrate.SignIn, migrate.RefreshTokenDead
	default:
		e.Kind, e.Reason = migrate.Configuration, migrate.ConsentMissing
	}
	return e
}

// oauthError reads an error answer; what is no JSON has no code.
func oauthError(body []byte) (code, description string) {
	var answer struct {
		Error       any    `json:"error"`
		Description string `json:"error_description"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return "", ""
	}
	code, _ = answer.Error.(string)
	return shorten(cleanText(code)), shorten(cleanText(answer.Description))
}

// cutMark stands where a text was cut.
const cutMark = "…"

// shorten keeps an answer printable.
func shorten(s string) string {
	const most = 300
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + cutMark
	}
	return s
}
