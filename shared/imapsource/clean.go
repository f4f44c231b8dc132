package imapsource

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-imap/v2"
)

// quote writes a quoted string. Line ends and NUL, which it cannot hold, become "?".
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case '\r', '\n', 0:
			b.WriteByte('?')
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// cutQuoted reads the quoted string that s begins with.
func cutQuoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", s, false
			}
		}
		b.WriteByte(s[i])
	}
	return "", s, false
}

// cutList reads the parenthesised list that s begins with; inside is without its parentheses.
func cutList(s string) (inside, rest string, ok bool) {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			_, tail, ok := cutQuoted(s[i:])
			if !ok {
				return "", s, false
			}
			i = len(s) - len(tail) - 1
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return s[1:i], s[i+1:], true
			}
		}
		if depth == 0 {
			return "", s, false
		}
	}
	return "", s, false
}

// isAtom reports whether go-imap reads s as one atom (RFC 9051 section 9).
func isAtom(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`(){%*"\]`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

// cleanCapabilities keeps the atoms of a list that is separated by spaces, but for IMAP4rev2: go-imap
// takes it for enabled (client.go, beginCommand: quotedUTF8), and spells folder names as servers that
// nobody told to (RFC 9051 section 6.3.1, ENABLE) do not expect.
func cleanCapabilities(s string) string {
	var kept []string
	for _, word := range strings.Fields(s) {
		if isAtom(word) && !strings.EqualFold(word, string(imap.CapIMAP4rev2)) {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}

// cleanFlags keeps the flags that go-imap can read: atoms, a backslash before them for the system's.
func cleanFlags(s string) string {
	var kept []string
	for _, word := range strings.Fields(s) {
		if isAtom(strings.TrimPrefix(word, `\`)) {
			kept = append(kept, word)
		}
	}
	return strings.Join(kept, " ")
}

// cleanText makes a text of one line.
func cleanText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, s)
}

// cleanStatus rewrites what follows OK, NO, BAD, BYE or PREAUTH: a response code without what the
// library stumbles over, and a text.
func cleanStatus(rest string) string {
	rest = cleanText(rest)
	code := ""
	if body, ok := strings.CutPrefix(rest, "["); ok {
		inside, text, closed := strings.Cut(body, "]")
		if closed {
			code, rest = cleanCode(inside), strings.TrimLeft(text, " ")
		}
	}
	// A text that begins with "[" would be read as a code.
	rest = shorten(strings.TrimLeft(rest, "[ "))
	if rest == "" {
		rest = "-"
	}
	if code != "" {
		return " [" + code + "] " + rest
	}
	return " " + rest
}

// cleanCode keeps a response code's name, and the arguments of those that are used.
func cleanCode(code string) string {
	name, args := cutWord(code)
	name = strings.ToUpper(name)
	args = strings.TrimSpace(args)
	switch name {
	case "CAPABILITY":
		if args = cleanCapabilities(args); args == "" {
			return ""
		}
		return name + " " + args
	case "UIDVALIDITY", "UIDNEXT":
		if n, err := strconv.ParseUint(args, 10, 32); err == nil {
			return name + " " + strconv.FormatUint(n, 10)
		}
		return ""
	case "HIGHESTMODSEQ":
		if n, err := strconv.ParseUint(args, 10, 64); err == nil {
			return name + " " + strconv.FormatUint(n, 10)
		}
		return ""
	case "PERMANENTFLAGS", "COPYUID", "APPENDUID":
		return ""
	}
	if !isAtom(name) || len(name) > 100 {
		return ""
	}
	return name
}

// cleanList rewrites what follows LIST. A name that is not the one spelling that modified UTF-7 has
// for it is replaced by what hide gives: a server that lists raw UTF-8 wants it back as it is. Not ok
// is a line that is no list response.
func cleanList(s string, hide func(string) string) (list string, ok bool) {
	attrs, rest, ok := cutList(s)
	if !ok {
		return "", false
	}
	rest = strings.TrimLeft(rest, " ")
	delimiter := "NIL"
	if text, tail, quoted := cutQuoted(rest); quoted {
		if isRune(text) {
			delimiter = quote(text)
		}
		rest = strings.TrimLeft(tail, " ")
	} else {
		_, rest = cutWord(rest)
	}
	name, _, quoted := cutQuoted(rest)
	if !quoted {
		name, _, _ = strings.Cut(rest, " (")
		name = strings.TrimSpace(name)
	}
	if isOdd(name) {
		name = hide(name)
	}
	return "(" + cleanFlags(attrs) + ") " + delimiter + " " + quote(name), true
}

// isOdd reports whether a name is not the one spelling that modified UTF-7 has for it.
func isOdd(name string) bool {
	decoded, err := decodeName(name)
	return err != nil || encodeName(decoded) != name || strings.HasPrefix(name, placeholder)
}

// cleanNamespaces rewrites what follows NAMESPACE (RFC 2342 section 6): personal, others', shared.
// Extensions are left out. What cannot be read counts as not said.
func cleanNamespaces(s string) string {
	out := make([]string, 3)
	for i := range out {
		out[i] = "NIL"
		s = strings.TrimLeft(s, " ")
		inside, rest, ok := cutList(s)
		if !ok {
			_, s = cutWord(s)
			continue
		}
		s = rest
		if kept := cleanDescriptors(inside); kept != "" {
			out[i] = "(" + kept + ")"
		}
	}
	return strings.Join(out, " ")
}

// cleanDescriptors keeps prefix and delimiter of each namespace.
func cleanDescriptors(s string) string {
	var kept strings.Builder
	for {
		inside, rest, ok := cutList(strings.TrimLeft(s, " "))
		if !ok {
			return kept.String()
		}
		s = rest
		prefix, tail, ok := cutQuoted(strings.TrimLeft(inside, " "))
		if !ok {
			continue
		}
		delimiter := "NIL"
		if text, _, ok := cutQuoted(strings.TrimLeft(tail, " ")); ok && isRune(text) {
			delimiter = quote(text)
		}
		kept.WriteString("(" + quote(prefix) + " " + delimiter + ")")
	}
}

// isRune reports whether s is one character.
func isRune(s string) bool {
	r, size := utf8.DecodeRuneInString(s)
	return r != utf8.RuneError && size == len(s)
}
