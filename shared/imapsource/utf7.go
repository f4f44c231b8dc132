package imapsource

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

var (
	errNotUTF7  = errors.New("the name is not valid modified UTF-7")
	nameBase64  = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)
	windows1252 = []rune("€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ")
)

// decodeName decodes a folder name in modified UTF-7 (RFC 3501 section 5.1.3). Raw UTF-8, which some
// servers send, is taken as it is.
func decodeName(name string) (string, error) { return decodeUTF7(name, true) }

// decodeUTF7 also reads, if it is not strict, what servers write that encode too much: a printable
// character within base64 (Yandex, modern-email/defects issue 46), or one part behind another.
func decodeUTF7(name string, strict bool) (string, error) {
	if !utf8.ValidString(name) {
		return "", errNotUTF7
	}
	var b strings.Builder
	shifted := false // the previous part was one in base64
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c < ' ' || c == 0x7f {
			return "", errNotUTF7
		}
		if c != '&' {
			b.WriteByte(c)
			shifted = false
			continue
		}
		end := strings.IndexByte(name[i:], '-')
		if end < 0 {
			return "", errNotUTF7
		}
		part := name[i+1 : i+end]
		i += end
		if part == "" {
			b.WriteByte('&')
			shifted = false
			continue
		}
		text, ok := decodePart(part, strict)
		if !ok || shifted && strict {
			return "", errNotUTF7
		}
		b.WriteString(text)
		shifted = true
	}
	return b.String(), nil
}

// encodeName is the one valid spelling of a name in modified UTF-7 (RFC 3501 section 5.1.3).
func encodeName(name string) string {
	var b strings.Builder
	var units []uint16 // not written yet
	flush := func() {
		if len(units) == 0 {
			return
		}
		octets := make([]byte, 0, 2*len(units))
		for _, u := range units {
			octets = append(octets, byte(u>>8), byte(u))
		}
		b.WriteString("&" + nameBase64.EncodeToString(octets) + "-")
		units = units[:0]
	}
	for _, r := range name {
		if r < ' ' || r > '~' {
			units = utf16.AppendRune(units, r)
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

// decodePart decodes what stands between "&" and "-".
func decodePart(part string, strict bool) (string, bool) {
	octets, err := nameBase64.Strict().DecodeString(part)
	if err != nil || len(octets)%2 != 0 || strings.ContainsAny(part, "\r\n") {
		return "", false
	}
	units := make([]uint16, len(octets)/2)
	for i := range units {
		units[i] = uint16(octets[2*i])<<8 | uint16(octets[2*i+1])
	}
	for i := 0; i < len(units); i++ {
		switch u := rune(units[i]); {
		case ' ' <= u && u < 0x7f && strict:
			return "", false // would be written as itself
		case utf16.IsSurrogate(u):
			if i+1 == len(units) || utf16.DecodeRune(u, rune(units[i+1])) == utf8.RuneError {
				return "", false
			}
			i++
		}
	}
	return string(utf16.Decode(units)), true
}

// readableName makes text of a name that decodeName refuses: UTF-8 as it is, else Windows-1252.
func readableName(raw string) string {
	if utf8.ValidString(raw) {
		return cleanText(raw)
	}
	var b strings.Builder
	for i := range len(raw) {
		r := rune(raw[i])
		if 0x80 <= r && r < 0xa0 {
			r = windows1252[r-0x80]
		}
		b.WriteRune(r)
	}
	return cleanText(b.String())
}
