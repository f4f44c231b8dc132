// Package token is the token endpoint of the Exchange Online stand-in: the
// client credentials grant of the Microsoft identity platform, and the check of
// the tokens it gives out.
package token

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Audiences of the two faces.
const (
	Graph   = "https://graph.microsoft.com"
	Outlook = "https://outlook.office365.com"
)

// Errors of Check.
var (
	ErrMalformed = errors.New("token is malformed")
	ErrAudience  = errors.New("token is for another audience")
	ErrExpired   = errors.New("token has expired")
)

// Claims are the claims of an app-only access token that matter here
// (https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
type Claims struct {
	Audience string   `json:"aud"`
	Issuer   string   `json:"iss"`
	IssuedAt int64    `json:"iat"`
	Expires  int64    `json:"exp"`
	AppID    string   `json:"appid"`
	TenantID string   `json:"tid"`
	Roles    []string `json:"roles"`
	IDType   string   `json:"idtyp"` // always "app"
	Version  string   `json:"ver"`
}

// Authority gives out and checks tokens of one tenant for one client.
type Authority struct {
	TenantID, ClientID, ClientSecret string
	Key                              []byte // signs the tokens
	Lifetime                         time.Duration
	Now                              func() time.Time
}

// roles are the application permissions an administrator consented to.
var roles = map[string][]string{
	Graph: {
		"Mail.ReadWrite", "User.Read.All", "MailboxSettings.Read", "Contacts.ReadWrite", "Calendars.ReadWrite",
		"MailboxItem.ImportExport.All", "MailboxFolder.ReadWrite.All",
	},
	Outlook: {"IMAP.AccessAsApp"},
}

// audience returns what a ".default" scope asks for.
func audience(scope string) (string, bool) {
	for _, s := range strings.Fields(scope) {
		resource, ok := strings.CutSuffix(s, "/.default")
		resource = strings.TrimSuffix(resource, "/")
		switch {
		case !ok:
		case resource == Graph:
			return Graph, true
		case resource == Outlook, resource == "https://outlook.office.com", resource == "https://ps.outlook.com":
			return Outlook, true
		}
	}
	return "", false
}

// Issue makes a token for an audience.
func (a *Authority) Issue(audience string) (string, Claims) {
	now := a.Now()
	c := Claims{
		Audience: audience, Issuer: "https://sts.windows.net/" + a.TenantID + "/",
		IssuedAt: now.Unix(), Expires: now.Add(a.Lifetime).Unix(),
		AppID: a.ClientID, TenantID: a.TenantID, Roles: roles[audience], IDType: "app", Version: "1.0",
	}
	head := encode(map[string]string{"typ": "JWT", "alg": "HS256"})
	signed := head + "." + encode(c)
	return signed + "." + base64.RawURLEncoding.EncodeToString(a.sign(signed)), c
}

func encode(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings and numbers always marshal
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func (a *Authority) sign(s string) []byte {
	mac := hmac.New(sha256.New, a.Key)
	mac.Write([]byte(s))
	return mac.Sum(nil)
}

// Check returns the claims of a valid token for the audience.
func (a *Authority) Check(raw, audience string) (Claims, error) {
	signed, signature, ok := cutLast(raw, ".")
	_, body, ok2 := strings.Cut(signed, ".")
	if !ok || !ok2 {
		return Claims{}, ErrMalformed
	}
	sum, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(sum, a.sign(signed)) {
		return Claims{}, fmt.Errorf("%w: signature", ErrMalformed)
	}
	payload, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	var c Claims
	if err := json.Unmarshal(payload, &c); err != nil {
		return Claims{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if c.Audience != audience {
		return c, ErrAudience
	}
	if a.Now().Unix() >= c.Expires {
		return c, ErrExpired
	}
	return c, nil
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// refusal is an error of the token endpoint (RFC 6749, section 5.2) with
// Microsoft's AADSTS code.
type refusal struct {
	status      int
	code        string
	aadsts      int
	description string
}

// Register adds the endpoints of the authority to mux.
func (a *Authority) Register(mux *http.ServeMux) {
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", a.serveToken)
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", a.serveConfiguration)
	mux.HandleFunc("GET /common/discovery/instance", a.serveInstance)
}

func (a *Authority) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 64<<10)
	if err := r.ParseForm(); err != nil {
		a.refuse(w, refusal{400, "invalid_request", 900144, "The request body is malformed."})
		return
	}
	aud, no := a.grant(r)
	if no != nil {
		a.refuse(w, *no)
		return
	}
	raw, c := a.Issue(aud)
	lifetime := c.Expires - c.IssuedAt
	writeJSON(w, http.StatusOK, map[string]any{
		"token_type": "Bearer", "expires_in": lifetime, "ext_expires_in": lifetime, "access_token": raw,
	})
}

// grant returns the audience of the token that is asked for, or why not.
func (a *Authority) grant(r *http.Request) (string, *refusal) {
	id, secret, basic := r.BasicAuth()
	if !basic {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	switch {
	case !strings.EqualFold(r.PathValue("tenant"), a.TenantID):
		return "", &refusal{400, "invalid_tenant", 90002, "Tenant '" + r.PathValue("tenant") + "' not found."}
	case r.PostForm.Get("grant_type") != "client_credentials":
		return "", &refusal{400, "unsupported_grant_type", 70003, "The app requested an unsupported grant type."}
	case !strings.EqualFold(id, a.ClientID):
		return "", &refusal{400, "unauthorized_client", 700016, "Application with identifier '" + id + "' was not found in the directory."}
	case secret == "":
		return "", &refusal{401, "invalid_client", 7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."}
	case subtle.ConstantTimeCompare([]byte(secret), []byte(a.ClientSecret)) != 1:
		return "", &refusal{401, "invalid_client", 7000215, "Invalid client secret provided."}
	}
	aud, ok := audience(r.PostForm.Get("scope"))
	if !ok {
		return "", &refusal{400, "invalid_scope", 70011, "The provided value for the input parameter 'scope' is not valid."}
	}
	return aud, nil
}

func (a *Authority) refuse(w http.ResponseWriter, r refusal) {
	writeJSON(w, r.status, map[string]any{
		"error": r.code, "error_description": fmt.Sprintf("AADSTS%d: %s", r.aadsts, r.description),
		"error_codes": []int{r.aadsts}, "timestamp": a.Now().UTC().Format("2006-01-02 15:04:05Z"),
	})
}

// serveConfiguration answers with the metadata of the authority (OpenID
// Connect Discovery 1.0, section 4).
func (a *Authority) serveConfiguration(w http.ResponseWriter, r *http.Request) {
	tenant := r.PathValue("tenant")
	if !slices.Contains([]string{"common", "organizations", strings.ToLower(a.TenantID)}, strings.ToLower(tenant)) {
		a.refuse(w, refusal{400, "invalid_tenant", 90002, "Tenant '" + tenant + "' not found."})
		return
	}
	base := "https://" + r.Host + "/" + tenant
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer":                                base + "/v2.0",
		"authorization_endpoint":                base + "/oauth2/v2.0/authorize",
		"token_endpoint":                        base + "/oauth2/v2.0/token",
		"jwks_uri":                              base + "/discovery/v2.0/keys",
		"token_endpoint_auth_methods_supported": []string{"client_secret_post", "client_secret_basic"},
		"response_types_supported":              []string{"code", "id_token", "token"},
		"subject_types_supported":               []string{"pairwise"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (a *Authority) serveInstance(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"tenant_discovery_endpoint": "https://" + r.Host + "/" + a.TenantID + "/v2.0/.well-known/openid-configuration",
		"api-version":               "1.1",
		"metadata": []any{map[string]any{
			"preferred_network": r.Host, "preferred_cache": r.Host, "aliases": []string{r.Host},
		}},
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store, no-cache")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone
}
