package imapsource

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"
)

// tokenService issues tokens as strictly as Google and Microsoft document it: RFC 6749,
// https://developers.google.com/identity/protocols/oauth2/service-account,
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow. It also
// answers the source server's introspection (RFC 7662).
type tokenService struct {
	issuer, introspector *httptest.Server
	key                  *rsa.PrivateKey

	mu       sync.Mutex
	rotate   bool // a refresh token is good for once
	life     int  // of a token in seconds
	fail     func(w http.ResponseWriter) bool
	refresh  map[string]string // refresh token → user
	tokens   map[string]string // access token → user
	requests int
	counter  int
}

const (
	clientID     = "client-1"
	clientSecret = "client+secret/äöü 1"
	accountEmail = "robot@project.iam.gserviceaccount.example"
)

func newTokenService() *tokenService {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err) // no randomness: nothing works
	}
	s := &tokenService{key: key}
	s.reset()
	s.issuer = httptest.NewTLSServer(http.HandlerFunc(s.issue))
	s.introspector = httptest.NewServer(http.HandlerFunc(s.introspect))
	return s
}

// reset forgets what tests set.
func (s *tokenService) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rotate, s.life, s.fail, s.requests = false, 3600, nil, 0
	s.refresh, s.tokens = map[string]string{"refresh-of-anna": "anna"}, map[string]string{}
}

func (s *tokenService) close() {
	s.issuer.Close()
	s.introspector.Close()
}

func (s *tokenService) url() string { return s.issuer.URL + "/token" }

func (s *tokenService) introspectionURL() string { return s.introspector.URL + "/introspect?token=" }

// ca is the authority of the issuer.
func (s *tokenService) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.issuer.Certificate().Raw}))
}

// serviceAccount is the JSON key, as Google writes it.
func (s *tokenService) serviceAccount() string {
	der, err := x509.MarshalPKCS8PrivateKey(s.key)
	if err != nil {
		panic(err) // of a key that was just made
	}
	text, _ := json.Marshal(map[string]string{
		"type": "service_account", "client_email": accountEmail, "private_key_id": "key-1", "token_uri": s.url(),
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	return string(text)
}

func (s *tokenService) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// set changes the service between requests.
func (s *tokenService) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *tokenService) introspect(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	user, active := s.tokens[r.URL.Query().Get("token")]
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"active": active, "username": user})
}

func (s *tokenService) issue(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	refuse := func(status int, code, description string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
	}
	if s.fail != nil && s.fail(w) {
		return
	}
	if r.Method != http.MethodPost || r.URL.Path != "/token" || r.Header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.Header.Get("Authorization") != "" {
		refuse(400, "invalid_request", "not a form of POST")
		return
	}
	if err := r.ParseForm(); err != nil || len(r.URL.RawQuery) > 0 {
		refuse(400, "invalid_request", "parameters in the address")
		return
	}
	for name, values := range r.PostForm {
		if len(values) != 1 {
			refuse(400, "invalid_request", "parameter "+name+" is repeated") // RFC 6749 section 3.2
			return
		}
	}
	user, code, description := s.check(r.PostForm.Get)
	if code != "" {
		refuse(map[bool]int{true: 401, false: 400}[code == "invalid_client"], code, description)
		return
	}
	s.counter++
	answer := map[string]any{"access_token": fmt.Sprintf("access-token-%d-of-%s", s.counter, user), "token_type": "Bearer", "expires_in": s.life}
	s.tokens[answer["access_token"].(string)] = user
	if old := r.PostForm.Get("refresh_token"); old != "" && s.rotate {
		next := fmt.Sprintf("refresh-%d-of-%s", s.counter, user)
		delete(s.refresh, old)
		s.refresh[next] = user
		answer["refresh_token"] = next
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// check returns whose token is granted, or why none is.
func (s *tokenService) check(get func(string) string) (user, code, description string) {
	grant := get("grant_type")
	if grant != "urn:ietf:params:oauth:grant-type:jwt-bearer" && (get("client_id") != clientID || get("client_secret") != clientSecret) {
		return "", "invalid_client", "AADSTS7000215: Invalid client secret provided: " + get("client_secret")
	}
	switch grant {
	case "refresh_token":
		user = s.refresh[get("refresh_token")]
		if user == "" {
			return "", "invalid_grant", "AADSTS70008: The refresh token " + get("refresh_token") + " has expired."
		}
		return user, "", ""
	case "client_credentials":
		if !strings.HasSuffix(get("scope"), "/.default") {
			return "", "invalid_scope", "AADSTS1002012: The provided value for scope is not valid."
		}
		return "anna", "", ""
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		return s.checkAssertion(get("assertion"))
	}
	return "", "unsupported_grant_type", "Invalid grant_type: " + grant
}

func (s *tokenService) checkAssertion(assertion string) (user, code, description string) {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return "", "invalid_grant", "Invalid JWT"
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return "", "invalid_grant", "Invalid JWT"
		}
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	var header struct{ Alg, Typ, Kid string }
	var claims struct {
		Iss, Sub, Scope, Aud string
		Iat, Exp             int64
	}
	now := time.Now().Unix()
	switch {
	case json.Unmarshal(decoded[0], &header) != nil, json.Unmarshal(decoded[1], &claims) != nil:
		return "", "invalid_grant", "Invalid JWT"
	case header.Alg != "RS256", header.Kid != "key-1", rsa.VerifyPKCS1v15(&s.key.PublicKey, crypto.SHA256, sum[:], decoded[2]) != nil:
		return "", "invalid_grant", "Invalid JWT Signature."
	case claims.Iss != accountEmail:
		return "", "invalid_grant", "Invalid grant: account not found"
	case claims.Aud != s.url(), claims.Iat > now+5, claims.Exp <= now, claims.Exp > claims.Iat+3600:
		return "", "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe."
	case claims.Scope != "https://mail.example/":
		return "", "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."
	case !slices.Contains([]string{"anna", "bert"}, claims.Sub):
		return "", "invalid_grant", "Invalid email or User ID"
	}
	return claims.Sub, "", ""
}
