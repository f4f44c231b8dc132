package imapsource

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"

	"mailferry/shared/migrate"
)

const redactedText = "[redacted]"

// base64Run is what may be an encoded response that a server repeats.
var base64Run = regexp.MustCompile(`[A-Za-z0-9+/_-]{4,}={0,2}`)

// withoutSecrets keeps secrets that a server repeats, plain or in base64, out of an error's text.
func withoutSecrets(err error, secrets ...string) error {
	var e *migrate.Error
	if !errors.As(err, &e) || e.Err == nil {
		return err
	}
	text := e.Err.Error()
	clean := base64Run.ReplaceAllStringFunc(text, func(run string) string {
		if decoded := decodeBase64(run); decoded != "" && containsAny(decoded, secrets) {
			return redactedText
		}
		return run
	})
	for _, secret := range secrets {
		if secret != "" {
			sent := quote(secret) // as LOGIN has it
			clean = strings.ReplaceAll(clean, sent[1:len(sent)-1], redactedText)
			clean = strings.ReplaceAll(clean, secret, redactedText)
		}
	}
	if clean == text {
		return err
	}
	out := *e
	out.Err = errors.New(clean)
	return &out
}

func decodeBase64(s string) string {
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		if decoded, err := encoding.DecodeString(strings.TrimRight(s, "=")); err == nil {
			return string(decoded)
		}
	}
	return ""
}

// containsAny looks for secrets that are too long to be found by chance.
func containsAny(s string, secrets []string) bool {
	for _, secret := range secrets {
		if len(secret) >= 4 && strings.Contains(s, secret) {
			return true
		}
	}
	return false
}
