package imapsource

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// What a server repeats of a secret does not get out, in whatever writing, also where the text is cut in the
// middle of it.
func TestRedactedHoweverItIsCut(t *testing.T) {
	for _, secret := range []string{"correct horse/battery+staple", `a"b\c"d\e`, "p\xe4ssw\xf6rt", "no\u00a0break", "Füße😀längst", "tab\tulator"} {
		blob := "\x00anna\x00" + secret
		for _, sent := range []string{
			secret, quote(secret), cleanText(secret),
			base64.StdEncoding.EncodeToString([]byte(blob)), base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
			"PLAIN/" + base64.StdEncoding.EncodeToString([]byte(blob)),
		} {
			for before := range 320 {
				answer := strings.Repeat("- ", before/2) + strings.Repeat(".", before%2) + sent + " is wrong, and so on" + strings.Repeat(" and on", 50)
				err := &migrate.Error{Op: "sign in", Err: fmt.Errorf("the server answers NO %s (%q)", shorten(cleanText(answer)), shorten(answer))}
				text := withoutSecrets(err, secret).Error()
				if leak := leaked(text, secret, 4); leak != "" {
					t.Fatalf("%q, sent as %q behind %d characters: %q is in %q", secret, sent, before, leak, text)
				}
			}
		}
	}
	err := error(&migrate.Error{Op: "sign in", Err: errors.New("the server answers NO LOGIN failed…")})
	if withoutSecrets(err, "failure") != err || withoutSecrets(err, "") != err {
		t.Error("what is no secret was redacted")
	}
}

// leaked returns so many characters of a secret that a text shows, as they are or in base64.
func leaked(text, secret string, length int) string {
	shown := append([]string{text}, decodings(text)...)
	for _, run := range base64Run.FindAllString(text, -1) {
		shown = append(shown, decodings(run)...)
	}
	for _, form := range []string{secret, cleanText(secret)} {
		runes := []rune(form)
		for i := length; i <= len(runes); i++ {
			for _, s := range shown {
				if part := string(runes[i-length : i]); strings.Contains(s, part) {
					return part
				}
			}
		}
	}
	return ""
}
