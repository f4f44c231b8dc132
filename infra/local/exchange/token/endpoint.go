package token

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

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
		return "", &refusal{401, "invalid_client", 7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type."}
	case subtle.ConstantTimeCompare([]byte(secret), []byte(a.ClientSecret)) != 1:
		return "", &refusal{401, "invalid_client", 7000215, "Invalid client secret provided. Ensure the secret being sent in the request " +
			"is the client secret value, not the client secret ID, for a secret added to app '" + id + "'."}
	}
	return a.audience(r.PostForm.Get("scope"))
}

// Refuse answers as the endpoint does when it cannot or will not do its work:
// 401 for a secret that has expired, 429 with a pause, 5xx.
func (a *Authority) Refuse(w http.ResponseWriter, _ *http.Request, status int, after time.Duration) {
	if after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	switch status {
	case http.StatusUnauthorized:
		a.refuse(w, refusal{status, "invalid_client", 7000222, "The provided client secret keys for app '" + a.ClientID + "' are expired."})
	case http.StatusTooManyRequests:
		a.refuse(w, refusal{status, "temporarily_unavailable", 90055, "The request was throttled due to too many requests."})
	default:
		a.refuse(w, refusal{status, "temporarily_unavailable", 90033, "A transient error has occurred. Please try again."})
	}
}

func (a *Authority) refuse(w http.ResponseWriter, r refusal) {
	now := a.Now().UTC().Format("2006-01-02 15:04:05Z")
	trace, correlation := newID(), newID()
	writeJSON(w, r.status, map[string]any{
		"error": r.code,
		"error_description": fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s",
			r.aadsts, r.description, trace, correlation, now),
		"error_codes": []int{r.aadsts}, "timestamp": now, "trace_id": trace, "correlation_id": correlation,
		"error_uri": fmt.Sprintf("https://login.microsoftonline.com/error?code=%d", r.aadsts),
	})
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
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
