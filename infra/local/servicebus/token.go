package servicebus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Tokens that a client puts to $cbs, of the two types that Service Bus knows
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-amqp-protocol-guide#claims-based-authorization).
const (
	tokenSAS = "servicebus.windows.net:sastoken"
	tokenJWT = "jwt"

	// jwtAudience is what Entra ID issues tokens of Service Bus for
	// (azservicebus internal/sbauth, getAZCoreToken), without slashes at its end.
	jwtAudience = "https://servicebus.azure.net"
)

// Key is a shared access policy of the namespace.
type Key struct {
	Name, Secret string
	Send, Listen bool // the rights it gives
}

// claim is what a token gives: rights until a point in time.
type claim struct {
	expires      time.Time
	send, listen bool
}

// readToken returns the claim that a token makes on an audience such as
// amqp://host/queue. Its errors are descriptions as Service Bus gives them
// with status 401, without the full stop.
func readToken(keys []Key, now time.Time, kind, audience, token string) (claim, error) {
	var c claim
	var err error
	switch kind {
	case tokenSAS:
		c, err = readSAS(keys, audience, token)
	case tokenJWT:
		c, err = readJWT(token)
	default:
		err = fmt.Errorf("InvalidTokenType: The token type %q is not supported", kind)
	}
	if err == nil && !c.expires.After(now) {
		// As in https://github.com/Azure/azure-service-bus-java/issues/354.
		err = fmt.Errorf("ExpiredToken: The token is expired. Expiration time: '%s'", c.expires.UTC().Format("2006-01-02 15:04:05Z"))
	}
	return c, err
}

// readSAS checks a shared access signature
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-sas).
func readSAS(keys []Key, audience, token string) (claim, error) {
	fields := map[string]string{}
	rest, ok := strings.CutPrefix(token, "SharedAccessSignature ")
	for field := range strings.SplitSeq(rest, "&") {
		name, value, _ := strings.Cut(field, "=")
		fields[name] = value
	}
	seconds, err := strconv.ParseInt(fields["se"], 10, 64)
	resource, err2 := url.QueryUnescape(fields["sr"])
	signature, err3 := url.QueryUnescape(fields["sig"])
	if !ok || err != nil || err2 != nil || err3 != nil {
		return claim{}, fmt.Errorf("MalformedToken: The token is malformed")
	}
	if !covers(resource, audience) {
		return claim{}, fmt.Errorf("InvalidAudience: The token is for another resource")
	}
	for _, key := range keys {
		if key.Name != fields["skn"] {
			continue
		}
		sum := hmac.New(sha256.New, []byte(key.Secret))
		sum.Write([]byte(fields["sr"] + "\n" + fields["se"]))
		want := base64.StdEncoding.EncodeToString(sum.Sum(nil))
		if hmac.Equal([]byte(signature), []byte(want)) {
			return claim{time.Unix(seconds, 0), key.Send, key.Listen}, nil
		}
	}
	return claim{}, fmt.Errorf("InvalidSignature: The token has an invalid signature")
}

// covers says whether a token for a resource is good for what lies at or below
// it. Schemes don't count; the resource may have none.
func covers(resource, audience string) bool {
	trim := func(s string) string {
		if _, rest, found := strings.Cut(s, "://"); found {
			s = rest
		}
		return strings.ToLower(strings.TrimRight(s, "/"))
	}
	resource, audience = trim(resource), trim(audience)
	return resource != "" && (audience == resource || strings.HasPrefix(audience, resource+"/"))
}

// readJWT reads a token of Entra ID. Its signature isn't checked, since nobody
// here issues one, and it gives both rights: roles aren't part of it.
func readJWT(token string) (claim, error) {
	malformed := fmt.Errorf("InvalidToken: The token is malformed")
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return claim{}, malformed
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claim{}, malformed
	}
	var body struct {
		Audience string `json:"aud"`
		Expires  int64  `json:"exp"`
	}
	if err := json.Unmarshal(raw, &body); err != nil || body.Expires == 0 {
		return claim{}, malformed
	}
	if strings.TrimRight(body.Audience, "/") != jwtAudience {
		return claim{}, fmt.Errorf("InvalidAudience: The token is for another audience")
	}
	return claim{time.Unix(body.Expires, 0), true, true}, nil
}
