package migrate

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// rolePath is a folder's path as seen from the folder with a role that it is or lies below.
type rolePath struct {
	role string   // "#inbox#"; empty: none
	rest []string // below it
}

// parsePattern reads a pattern. With below it fits what lies below a folder too.
func parsePattern(text string, below bool) (pattern, error) {
	if expression, ok := strings.CutPrefix(text, regexpPrefix); ok {
		re, err := regexp.Compile(expression)
		if err == nil && expression == "" {
			err = errors.New("the regular expression is empty")
		}
		return pattern{re: re}, err
	}
	if err := checkEscapes(text); err != nil {
		return pattern{}, err
	}
	segments := splitPattern(text)
	if len(segments) == 0 {
		return pattern{}, errors.New("it names no folder")
	}
	p := pattern{}
	var b strings.Builder
	b.WriteString(`(?is)^`)
	for i, s := range segments {
		last := i == len(segments)-1
		if first := s.text(); i == 0 && !s.literal[0] && strings.HasPrefix(first, "#") && strings.HasSuffix(first, "#") && len(first) > 2 && roleNames[strings.ToLower(first)] == "" {
			return pattern{}, fmt.Errorf("%s is none of %s", first, strings.Join(slices.Sorted(maps.Keys(roleNames)), ", "))
		}
		if s.deep() {
			p.stars++
			if last {
				b.WriteString(`(.+)`)
			} else {
				b.WriteString(`((?:[^\x00]*\x00)*)`)
			}
			continue
		}
		p.stars += s.write(&b)
		if !last {
			b.WriteString(`\x00`)
		}
	}
	if below {
		b.WriteString(`(?:\x00.*)?`)
	}
	b.WriteString(`$`)
	var err error
	p.path, err = regexp.Compile(b.String())
	return p, err
}

// segment is one level of a pattern: characters, and which of them are meant as they are.
type segment struct {
	runes   []rune
	literal []bool
}

func (s segment) text() string { return string(s.runes) }

func (s segment) deep() bool {
	return s.text() == "**" && !s.literal[0] && !s.literal[1]
}

// write adds the segment to an expression and returns how many "*" it has.
func (s segment) write(b *strings.Builder) (stars int) {
	for i, r := range s.runes {
		switch {
		case s.literal[i]:
			b.WriteString(regexp.QuoteMeta(string(r)))
		case r == '*':
			stars++
			b.WriteString(`([^\x00]*)`)
		case r == '?':
			b.WriteString(`[^\x00]`)
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	return stars
}

// splitPattern splits at "/" that no "\" stands before, and leaves empty segments out.
func splitPattern(text string) (segments []segment) {
	var s segment
	end := func() {
		if len(s.runes) > 0 {
			segments = append(segments, s)
		}
		s = segment{}
	}
	escaped := false
	for _, r := range text {
		switch {
		case escaped:
			s.runes, s.literal, escaped = append(s.runes, r), append(s.literal, true), false
		case r == '\\':
			escaped = true
		case r == '/':
			end()
		default:
			s.runes, s.literal = append(s.runes, r), append(s.literal, false)
		}
	}
	end()
	return segments
}

// checkEscapes refuses a "\" that has nothing to take the meaning of, as in a path that is parted by it. A
// pattern that begins with "\re:" is a folder's name.
func checkEscapes(text string) error {
	escaped := false
	for _, r := range strings.TrimPrefix(text, `\`+regexpPrefix) {
		if escaped && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return fmt.Errorf(`"\" stands before %q, which means nothing else: folders are parted by "/", and a "\" in a name is "\\"`, r)
		}
		escaped = r == '\\' && !escaped
	}
	if escaped {
		return errors.New(`nothing follows the last "\": a "\" in a name is "\\"`)
	}
	return nil
}

// splitPath is splitPattern without wildcards.
func splitPath(text string) (path []string) {
	for _, s := range splitPattern(text) {
		path = append(path, s.text())
	}
	return path
}

// joinPath writes a path the way splitPath reads it.
func joinPath(path []string) string {
	escaped := make([]string, len(path))
	for i, name := range path {
		escaped[i] = strings.NewReplacer(`\`, `\\`, "/", `\/`).Replace(name)
	}
	return strings.Join(escaped, "/")
}

// joinNUL writes a path for pattern.path.
func joinNUL(path []string) string {
	clean := make([]string, len(path))
	for i, name := range path {
		clean[i] = strings.ReplaceAll(name, "\x00", "\ufffd")
	}
	return strings.Join(clean, "\x00")
}

// subjects are the writings of a folder that a path pattern is held against.
func subjects(path []string, role rolePath) []string {
	list := []string{joinNUL(path)}
	if role.role != "" {
		list = append(list, joinNUL(append([]string{role.role}, role.rest...)))
	}
	return list
}

func (p pattern) fits(path []string, role rolePath) bool {
	if p.re != nil {
		return p.re.MatchString(joinPath(path))
	}
	return p.path != nil && slices.ContainsFunc(subjects(path, role), p.path.MatchString)
}

// replace fills what the pattern's wildcards stood for into to.
func (p pattern) replace(path []string, role rolePath, to string) (string, bool) {
	if p.re != nil {
		whole := joinPath(path)
		return p.re.ReplaceAllString(whole, to), p.re.MatchString(whole)
	}
	for _, subject := range subjects(path, role) {
		found := p.path.FindStringSubmatch(subject)
		if found == nil {
			continue
		}
		return fillStars(to, found[1:]), true
	}
	return "", false
}

// fillStars replaces the stars of to by what was found, in order.
func fillStars(to string, found []string) string {
	var b strings.Builder
	for to != "" {
		before, after, ok := strings.Cut(to, "*")
		b.WriteString(before)
		if !ok {
			break
		}
		after = strings.TrimPrefix(after, "*") // "**" is one
		if len(found) > 0 {
			b.WriteString(joinPath(strings.Split(strings.Trim(found[0], "\x00"), "\x00")))
			found = found[1:]
		}
		to = after
	}
	return b.String()
}
