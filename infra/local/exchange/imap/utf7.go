package imap

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// modified is the base64 of mailbox names (RFC 3501, section 5.1.3).
var modified = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// encodeName writes one level of a mailbox name in modified UTF-7. A "/" of
// the name is encoded too, as it would separate levels.
func encodeName(s string) string {
	var b strings.Builder
	var run []rune
	flush := func() {
		if len(run) == 0 {
			return
		}
		var octets []byte
		for _, u := range utf16.Encode(run) {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + modified.EncodeToString(octets) + "-")
		run = run[:0]
	}
	for _, r := range s {
		if r < 0x20 || r > 0x7e || r == '/' {
			run = append(run, r)
			continue
		}
		flush()
		b.WriteRune(r)
		if r == '&' {
			b.WriteByte('-')
		}
	}
	flush()
	return b.String()
}

var errName = errors.New("mailbox name is no modified UTF-7")

// decodeName reads one level of a mailbox name.
func decodeName(s string) (string, error) {
	var b strings.Builder
	for s != "" {
		before, after, found := strings.Cut(s, "&")
		for _, c := range []byte(before) {
			if c < 0x20 || c > 0x7e {
				return "", errName
			}
		}
		b.WriteString(before)
		if !found {
			break
		}
		run, rest, ok := strings.Cut(after, "-")
		if !ok {
			return "", errName
		}
		s = rest
		if run == "" {
			b.WriteByte('&')
			continue
		}
		octets, err := modified.DecodeString(run)
		if err != nil || len(octets)%2 != 0 {
			return "", errName
		}
		units := make([]uint16, 0, len(octets)/2)
		for i := 0; i < len(octets); i += 2 {
			units = append(units, uint16(octets[i])<<8|uint16(octets[i+1]))
		}
		text := string(utf16.Decode(units))
		if strings.ContainsRune(text, utf8.RuneError) {
			return "", errName
		}
		b.WriteString(text)
	}
	return b.String(), nil
}
