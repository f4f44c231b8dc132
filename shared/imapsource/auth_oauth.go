package imapsource

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/emersion/go-sasl"
)

// bearer is XOAUTH2 (https://developers.google.com/workspace/gmail/imap/xoauth2-protocol, and
// Microsoft's the same) and OAUTHBEARER (RFC 7628). go-sasl has no XOAUTH2, and its OAUTHBEARER
// makes a refusal's JSON an error before the server could end the exchange.
type bearer struct {
	name    string
	initial string
	cancel  string // what ends the exchange after an error
	refused string // what the server says of the token
}

func xoauth2Client(c credential) (sasl.Client, error) {
	return &bearer{name: "XOAUTH2", initial: "user=" + c.login + "\x01auth=Bearer " + c.token + "\x01\x01"}, nil
}

func oauthBearerClient(c credential) (sasl.Client, error) {
	initial := fmt.Sprintf("n,a=%s,\x01host=%s\x01port=%d\x01auth=Bearer %s\x01\x01", saslName(c.login), c.host, c.port, c.token)
	return &bearer{name: "OAUTHBEARER", initial: initial, cancel: "\x01"}, nil
}

func (b *bearer) Start() (string, []byte, error) { return b.name, []byte(b.initial), nil }

// Next answers the JSON of a refusal, so that the server ends the exchange.
func (b *bearer) Next(challenge []byte) ([]byte, error) {
	if b.refused != "" {
		return nil, errors.New("the server goes on after it refused the token")
	}
	b.refused = bearerRefusal(challenge)
	return []byte(b.cancel), nil
}

// bearerRefusal reads the JSON (RFC 7628 section 3.2.2). Its status is an HTTP status in XOAUTH2.
func bearerRefusal(challenge []byte) string {
	var body struct {
		Status, Scope string
	}
	if json.Unmarshal(challenge, &body) != nil || body.Status == "" {
		return "it refuses the access token"
	}
	return fmt.Sprintf("it refuses the access token with status %q, scope %q", shorten(cleanText(body.Status)), shorten(cleanText(body.Scope)))
}
