package imapsource

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"

	"github.com/emersion/go-sasl"
)

// cramMD5 is CRAM-MD5 (RFC 2195): go-sasl has none, and it is one HMAC.
type cramMD5 struct {
	credential
	answered bool
}

func cramMD5Client(c credential) (sasl.Client, error) { return &cramMD5{credential: c}, nil }

func (c *cramMD5) Start() (string, []byte, error) { return "CRAM-MD5", nil, nil }

func (c *cramMD5) Next(challenge []byte) ([]byte, error) {
	if c.answered || len(challenge) == 0 {
		return nil, errors.New("the server's CRAM-MD5 challenge is not one")
	}
	c.answered = true
	h := hmac.New(md5.New, []byte(c.password))
	h.Write(challenge)
	return []byte(c.login + " " + hex.EncodeToString(h.Sum(nil))), nil
}
