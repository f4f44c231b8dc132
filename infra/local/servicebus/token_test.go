package servicebus

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
	"github.com/Azure/go-amqp"
)

// sasToken signs a token as
// https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas says.
func sasToken(key Key, resource string, expires time.Time) string {
	resource = url.QueryEscape(resource)
	sum := hmac.New(sha256.New, []byte(key.Secret))
	fmt.Fprintf(sum, "%s\n%d", resource, expires.Unix())
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s", resource,
		url.QueryEscape(base64.StdEncoding.EncodeToString(sum.Sum(nil))), expires.Unix(), key.Name)
}

func TestTokens(t *testing.T) {
	key := Key{Name: "k", Secret: "s", Send: true}
	foreign := Key{Name: "k", Secret: "other"}
	later := start.Add(time.Hour)
	body := func(s string) string { return "h." + base64.RawURLEncoding.EncodeToString([]byte(s)) + ".s" }
	for name, c := range map[string]struct {
		kind, token, want string
	}{
		"SAS for the queue":      {tokenSAS, sasToken(key, "amqp://host/q", later), ""},
		"SAS for the namespace":  {tokenSAS, sasToken(key, "sb://HOST/", later), ""},
		"SAS without a scheme":   {tokenSAS, sasToken(key, "host", later), ""},
		"SAS for another queue":  {tokenSAS, sasToken(key, "amqp://host/qq", later), "InvalidAudience"},
		"SAS for another host":   {tokenSAS, sasToken(key, "amqp://hos", later), "InvalidAudience"},
		"SAS for nothing":        {tokenSAS, sasToken(key, "", later), "InvalidAudience"},
		"SAS with a wrong key":   {tokenSAS, sasToken(foreign, "host", later), "InvalidSignature"},
		"SAS of an unknown key":  {tokenSAS, sasToken(Key{Name: "x"}, "host", later), "InvalidSignature"},
		"SAS that has expired":   {tokenSAS, sasToken(key, "host", start), "ExpiredToken: The token is expired. Expiration time: '2026-03-01 12:00:00Z'"},
		"SAS without a word":     {tokenSAS, "sr=host&sig=x&se=1&skn=k", "MalformedToken"},
		"SAS without an expiry":  {tokenSAS, "SharedAccessSignature sr=host&sig=x&skn=k", "MalformedToken"},
		"JWT":                    {tokenJWT, jwt(later), ""},
		"JWT that has expired":   {tokenJWT, jwt(start), "ExpiredToken"},
		"JWT for Storage":        {tokenJWT, body(`{"aud":"https://storage.azure.com","exp":9999999999}`), "InvalidAudience"},
		"JWT without an end":     {tokenJWT, body(`{"aud":"https://servicebus.azure.net"}`), "InvalidToken"},
		"JWT of two parts":       {tokenJWT, "a.b", "InvalidToken"},
		"JWT that isn't base64":  {tokenJWT, "a.*.c", "InvalidToken"},
		"JWT that isn't JSON":    {tokenJWT, body("x"), "InvalidToken"},
		"a type nobody knows":    {"password", "x", "InvalidTokenType"},
		"no type, as a SAS sent": {"", sasToken(key, "host", later), "InvalidTokenType"},
	} {
		got, err := readToken([]Key{key}, start, c.kind, "amqp://host/q", c.token)
		switch {
		case c.want == "" && (err != nil || !got.expires.Equal(later) || !got.send):
			t.Errorf("%s: %+v, %v", name, got, err)
		case c.want != "" && (err == nil || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func FuzzToken(f *testing.F) {
	key := Key{Name: "k", Secret: "s", Send: true}
	f.Add(tokenSAS, "amqp://host/q", sasToken(key, "host", start))
	f.Add(tokenSAS, "amqp://host/q", "SharedAccessSignature sr=%&sig=%zz&se=9223372036854775807&skn")
	f.Add(tokenJWT, "amqp://host/q", jwt(start))
	f.Fuzz(func(t *testing.T, kind, audience, token string) {
		if c, err := readToken([]Key{key}, start, kind, audience, token); err == nil && !c.expires.After(start) {
			t.Fatalf("an expired token was taken: %+v", c)
		}
	})
}

func TestPutTokenRefusals(t *testing.T) {
	b := startBroker(t, Options{})
	c := &conn{broker: b, claims: map[string]claim{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	put := func(operation, kind, audience string) answer {
		return c.putToken(time.Now(), operation, &amqp.Message{
			ApplicationProperties: map[string]any{"type": kind, "name": audience}, Value: jwt(time.Now().Add(time.Hour))})
	}
	for name, want := range map[string]struct {
		got    answer
		status int32
	}{
		"an operation nobody knows": {put("take-token", tokenJWT, "amqp://host/q"), statusNotImplemented},
		"no audience":               {put("put-token", tokenJWT, ""), statusBadRequest},
		"no host":                   {put("put-token", tokenJWT, "q"), statusBadRequest},
		"bad URL":                   {put("put-token", tokenJWT, "amqp://host/%zz"), statusBadRequest},
		"no type":                   {put("put-token", "", "amqp://host/q"), statusUnauthorized},
		"unknown entity":            {put("put-token", tokenJWT, "amqp://host/nowhere"), statusNotFound},
		"unknown management":        {put("put-token", tokenJWT, "amqp://host/nowhere/$management"), statusNotFound},
		"queue":                     {put("put-token", tokenJWT, "amqp://host/Q"), statusAccepted},
		"management":                {put("put-token", tokenJWT, "amqp://host/q/$management"), statusAccepted},
	} {
		if want.got.status != want.status {
			t.Errorf("%s: status %d %s, want %d", name, want.got.status, want.got.text, want.status)
		}
	}
}

// A claim is good for its own path only: a queue's management is claimed apart.
func TestClaimsAreForOnePath(t *testing.T) {
	yes := claim{start.Add(time.Hour), true, true}
	c := &conn{claims: map[string]claim{"q": yes}}
	for path, want := range map[string]claim{"q": yes, "q/$management": {}, "q/$deadletterqueue": {}, "qq": {}, "": {}} {
		if got := c.claimed(start, path); got != want {
			t.Errorf("claimed(%q) = %v", path, got)
		}
	}
	if got := c.claimed(start.Add(time.Hour), "q"); got != (claim{}) {
		t.Errorf("an expired claim gives %v", got)
	}
	c.claims = map[string]claim{"": yes}
	if c.claimed(start, "anything") != yes {
		t.Error("a claim on the namespace claims no queue")
	}
}

func TestRightsOfKeys(t *testing.T) {
	keys := []Key{{"both", "1", true, true}, {"sender", "2", true, false}, {"listener", "3", false, true}}
	b := benchOn(t, startBroker(t, Options{Keys: keys}), patience, nil)
	as := func(k Key) *bench {
		other := *b
		other.client = b.connect("Endpoint=sb://" + b.Addr() + ";SharedAccessKeyName=" + k.Name + ";SharedAccessKey=" + k.Secret + ";UseDevelopmentEmulator=true")
		other.sender = other.senderTo("q")
		return &other
	}
	refused := func(err error, right string) {
		t.Helper()
		b.code(err, sb.CodeUnauthorizedAccess)
		if !strings.Contains(err.Error(), right+"' claim(s) are required to perform this operation") {
			t.Errorf("refused with %v", err)
		}
	}
	sender, listener, forger := as(keys[1]), as(keys[2]), as(Key{Name: "both", Secret: "9"})
	sender.send("a")
	_, err := sender.receiver(nil).ReceiveMessages(b.ctx, 1, nil)
	refused(err, "'Listen")
	refused(listener.sender.SendMessage(b.ctx, &sb.Message{}, nil), "'Send")
	listener.take(listener.receiver(nil), "a")
	err = forger.sender.SendMessage(b.ctx, &sb.Message{}, nil)
	b.code(err, sb.CodeUnauthorizedAccess)
	if !strings.Contains(err.Error(), "InvalidSignature: The token has an invalid signature.") {
		t.Errorf("refused with %v", err)
	}
}

// credential gives out tokens as Entra ID does, for a managed identity.
type credential struct{ scopes []string }

func (c *credential) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.scopes = o.Scopes
	expires := time.Now().Add(time.Hour)
	return azcore.AccessToken{Token: jwt(expires), ExpiresOn: expires}, nil
}

// With a credential azservicebus puts tokens of type jwt, and insists on TLS.
func TestTokenCredential(t *testing.T) {
	https := httptest.NewTLSServer(nil) // has a certificate for example.com
	defer https.Close()
	roots := x509.NewCertPool()
	roots.AddCert(https.Certificate())
	b := startBroker(t, Options{TLS: &tls.Config{Certificates: https.TLS.Certificates}})
	credential := &credential{}
	client, err := sb.NewClient("example.com", credential, &sb.ClientOptions{CustomEndpoint: b.Addr(), TLSConfig: &tls.Config{RootCAs: roots}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	defer client.Close(ctx)
	sender, err := client.NewSender("q", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := sender.SendMessage(ctx, &sb.Message{}, nil); err != nil {
		t.Fatal(err)
	}
	if c := b.Counts("q"); c.Active != 1 || len(credential.scopes) != 1 || credential.scopes[0] != "https://servicebus.azure.net//.default" {
		t.Errorf("counts %+v, scopes %v", c, credential.scopes)
	}
}
