package imapsource

import (
	"encoding/base64"
	"errors"
	"regexp"
	"slices"
	"strconv"
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
	clean := redact(text, secrets)
	if clean == text {
		return err
	}
	out := *e
	out.Err = errors.New(clean)
	return &out
}

// redact replaces secrets in a text, as they are, as LOGIN has them, as %q or cleanText write them, and in
// base64. Of one that shorten cut off, what is left goes.
func redact(text string, secrets []string) string {
	var forms []string
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, sent := range []string{secret, unquoted(quote(secret))} {
			for _, shown := range []string{sent, cleanText(sent)} {
				forms = append(forms, shown, unquoted(strconv.Quote(shown)))
			}
		}
	}
	clean := base64Run.ReplaceAllStringFunc(text, func(run string) string {
		if slices.ContainsFunc(decodings(run), func(decoded string) bool { return containsAny(decoded, secrets) }) {
			return redactedText
		}
		return run
	})
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, form := range forms {
		clean = strings.ReplaceAll(clean, form, redactedText)
	}
	parts := strings.SplitAfter(clean, cutMark)
	for i, part := range parts[:len(parts)-1] {
		parts[i] = withoutBeginning(strings.TrimSuffix(part, cutMark), forms) + cutMark
	}
	return strings.Join(parts, "")
}

func unquoted(s string) string { return s[1 : len(s)-1] }

// withoutBeginning takes the beginning of a secret off the end of a text.
func withoutBeginning(text string, forms []string) string {
	for _, form := range forms {
		for n := min(len(form), len(text)); n >= leastSecret-1; n-- {
			if strings.HasSuffix(text, form[:n]) {
				return text[:len(text)-n] + redactedText
			}
		}
	}
	return text
}

// decodings are what a run may be the base64 of: a word may stand before it, and its end may be cut off.
func decodings(run string) (list []string) {
	run = strings.TrimRight(run, "=")
	for skip := range min(4, len(run)) {
		part := run[skip:]
		if len(part)%4 == 1 {
			part = part[:len(part)-1]
		}
		for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			if decoded, err := encoding.DecodeString(part); err == nil {
				list = append(list, string(decoded))
			}
		}
	}
	return list
}

// leastSecret is how long what is looked for in base64 has to be, so that it is not found by chance.
const leastSecret = 4

// containsAny looks for secrets, also for one whose end was cut off.
func containsAny(decoded string, secrets []string) bool {
	return slices.ContainsFunc(secrets, func(secret string) bool {
		return len(secret) >= leastSecret && (strings.Contains(decoded, secret) || withoutBeginning(decoded, []string{secret}) != decoded)
	})
}
