// Package token is the token endpoint of the Exchange Online stand-in: the
// client credentials grant of the Microsoft identity platform, and the check of
// the tokens it gives out. The fault point of a request is token.<METHOD>, with
// the path as detail.
package token

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
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
	UniqueID string   `json:"uti"` // so that no two tokens are the same

	// Generation counts the times that the stand-in was told to end all tokens.
	Generation int `json:"standin_gen"`
}

// Authority gives out and checks tokens of one tenant for one client.
type Authority struct {
	TenantID, ClientID, ClientSecret string
	Key                              []byte // signs the tokens
	Lifetime                         time.Duration
	Now                              func() time.Time
	// Roles are the application permissions of Microsoft Graph that an
	// administrator consented to. Tokens carry them from then on.
	Roles []string

	mu         sync.Mutex
	generation int                   // of the tokens that still hold
	expired    map[[32]byte]struct{} // single tokens that don't, by their hash
}

// DefaultRoles are what the product asks an administrator for, and what later
// parts of it will. Mail.Send is none of them.
var DefaultRoles = []string{
	"Mail.ReadWrite", "User.Read.All", "MailboxSettings.Read", "Contacts.ReadWrite", "Calendars.ReadWrite",
	"MailboxItem.ImportExport.All", "MailboxFolder.ReadWrite.All", "Domain.Read.All",
}

func (a *Authority) roles(audience string) []string {
	if audience == Outlook {
		return []string{"IMAP.AccessAsApp"}
	}
	return a.Roles
}

// ExpireAll ends every token that was given out so far.
func (a *Authority) ExpireAll() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.generation++
}

// Expire ends one token.
func (a *Authority) Expire(raw string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.expired == nil {
		a.expired = map[[32]byte]struct{}{}
	}
	a.expired[sha256.Sum256([]byte(raw))] = struct{}{}
}

// ended tells whether a token was ended before its time.
func (a *Authority) ended(raw string, c Claims) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	_, ended := a.expired[sha256.Sum256([]byte(raw))]
	return ended || c.Generation < a.generation
}

// audience returns what a ".default" scope asks for.
func (a *Authority) audience(scope string) (string, *refusal) {
	for _, s := range strings.Fields(scope) {
		resource, ok := strings.CutSuffix(s, "/.default")
		resource = strings.TrimSuffix(resource, "/")
		switch {
		case !ok:
		case resource == Graph:
			return Graph, nil
		case resource == Outlook, resource == "https://outlook.office.com", resource == "https://ps.outlook.com":
			return Outlook, nil
		default:
			return "", &refusal{400, "invalid_resource", 500011,
				"The resource principal named " + resource + " was not found in the tenant named " + a.TenantID + "."}
		}
	}
	return "", &refusal{400, "invalid_scope", 1002012, "The provided value for scope " + scope + " is not valid. " +
		"Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."}
}

// Issue makes a token for an audience.
func (a *Authority) Issue(audience string) (string, Claims) {
	now := a.Now()
	a.mu.Lock()
	generation := a.generation
	a.mu.Unlock()
	c := Claims{
		Audience: audience, Issuer: "https://sts.windows.net/" + a.TenantID + "/",
		IssuedAt: now.Unix(), Expires: now.Add(a.Lifetime).Unix(),
		AppID: a.ClientID, TenantID: a.TenantID, Roles: a.roles(audience), IDType: "app", Version: "1.0",
		UniqueID: rand.Text(), Generation: generation,
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
	if a.Now().Unix() >= c.Expires || a.ended(raw, c) {
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

// HasRole tells whether the token carries one of the application permissions.
func (c Claims) HasRole(roles ...string) bool {
	return slices.ContainsFunc(roles, func(role string) bool { return slices.Contains(c.Roles, role) })
}
