package exchange

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"mailferry/infra/local/exchange/token"
)

func httpClient(t *testing.T, s *Server) *http.Client {
	t.Helper()
	tr := &http.Transport{TLSClientConfig: trust(t, s), ForceAttemptHTTP2: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// fetchToken asks the endpoint as azidentity does for an unattended program.
func fetchToken(t *testing.T, s *Server, scope string) string {
	t.Helper()
	cred, err := azidentity.NewClientSecretCredential(DefaultTenantID, DefaultClientID, DefaultClientSecret,
		&azidentity.ClientSecretCredentialOptions{
			ClientOptions: azcore.ClientOptions{
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: s.TokenURL()},
				Transport: httpClient(t, s),
			},
			DisableInstanceDiscovery: true,
		})
	if err != nil {
		t.Fatal(err)
	}
	got, err := cred.GetToken(context.Background(), policy.TokenRequestOptions{Scopes: []string{scope}})
	if err != nil {
		t.Fatal(err)
	}
	return got.Token
}

func TestTokenForCredential(t *testing.T) {
	s := start(t, Options{})
	if raw := fetchToken(t, s, token.Graph+"/.default"); strings.Count(raw, ".") != 2 {
		t.Errorf("token has %d dots, want 2", strings.Count(raw, "."))
	}
}

// tokenForm is a request that is granted.
func tokenForm() url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {DefaultClientID},
		"client_secret": {DefaultClientSecret}, "scope": {token.Graph + "/.default"},
	}
}

// TestTokenRefused shows the codes that a client of the Microsoft identity
// platform sees
// (https://learn.microsoft.com/entra/identity-platform/reference-error-codes).
func TestTokenRefused(t *testing.T) {
	s := start(t, Options{})
	good := tokenForm()
	tests := []struct {
		name, tenant, key, value string
		status                   int
		code                     string
		aadsts                   float64
	}{
		{"none", DefaultTenantID, "scope", token.Graph + "/.default", 200, "", 0},
		{"secret", DefaultTenantID, "client_secret", "wrong", 401, "invalid_client", 7000215},
		{"no secret", DefaultTenantID, "client_secret", "", 401, "invalid_client", 7000216},
		{"client", DefaultTenantID, "client_id", "wrong", 400, "unauthorized_client", 700016},
		{"grant", DefaultTenantID, "grant_type", "password", 400, "unsupported_grant_type", 70003},
		{"resource", DefaultTenantID, "scope", "https://elsewhere.test/.default", 400, "invalid_resource", 500011},
		{"scope", DefaultTenantID, "scope", token.Graph + "/Mail.ReadWrite", 400, "invalid_scope", 1002012},
		{"tenant", "other", "scope", token.Graph + "/.default", 400, "invalid_tenant", 90002},
	}
	c := httpClient(t, s)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			form := url.Values{}
			for k, v := range good {
				form[k] = v
			}
			form.Set(tt.key, tt.value)
			r, err := c.PostForm(s.TokenURL()+"/"+tt.tenant+"/oauth2/v2.0/token", form)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Body.Close()
			var body struct {
				Error string    `json:"error"`
				Codes []float64 `json:"error_codes"`
			}
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			if tt.aadsts != 0 && (len(body.Codes) != 1 || body.Codes[0] != tt.aadsts) {
				t.Errorf("got codes %v, want %v", body.Codes, tt.aadsts)
			}
			if r.StatusCode != tt.status || body.Error != tt.code {
				t.Errorf("got %d %q, want %d %q", r.StatusCode, body.Error, tt.status, tt.code)
			}
		})
	}
}
