package imapsource

import (
	"strconv"
	"strings"
	"time"
)

// dateLayout is date-time of RFC 9051 section 9.
const dateLayout = "_2-Jan-2006 15:04:05 -0700"

// noDate stands for a date that cannot be read. The library refuses the zero time.
var noDate = time.Time{}.Add(time.Second)

// fetchItems rewrites one line of a FETCH response: from its beginning or, if continued, from behind
// a literal. A line that makes no sense ends the response there; what is missing then is asked for
// again by those who miss it.
func (r *responses) fetchItems(head, line string, continued bool) error {
	out := []byte(head)
	count := 0
	add := func(item string) {
		if count++; count > 1 || continued {
			out = append(out, ' ')
		}
		out = append(out, item...)
	}
	for {
		line = strings.TrimLeft(line, " ")
		if line == "" || line[0] == ')' {
			break
		}
		name, rest := cutItemName(line)
		rest = strings.TrimLeft(rest, " ")
		section, isBody := bodySection(name)
		if before, size, ok := cutLiteral(rest); ok && before == "" && isBody {
			add(section + " {" + strconv.FormatInt(size, 10) + "}\r\n")
			r.out, r.literal, r.inFetch = out, size, true
			return nil
		}
		value, tail, ok := cutValue(rest)
		if name == "" || !ok {
			folded, again, err := r.foldLiteral(line)
			if err != nil {
				return err
			}
			if !again {
				break
			}
			line = folded
			continue
		}
		line = tail
		if item := cleanItem(name, section, value); item != "" {
			add(item)
		}
	}
	if count == 0 && !continued {
		return nil // an empty list: the library wants an item
	}
	r.out = append(out, ")\r\n"...)
	return nil
}

// cutItemName reads a FETCH item's name with its section (RFC 9051 section 9, msg-att).
func cutItemName(s string) (name, rest string) {
	end := strings.IndexAny(s, " ()[\"")
	if end < 0 {
		return "", s
	}
	if s[end] == '[' {
		closing := strings.IndexByte(s, ']')
		if closing < 0 {
			return "", s
		}
		end = closing + 1
		if partial := strings.IndexByte(s[end:], '>'); partial > 0 && s[end] == '<' {
			end += partial + 1
		}
	}
	return strings.ToUpper(s[:end]), s[end:]
}

// bodySection returns the name of a section that is asked for here, with its origin octet.
func bodySection(name string) (section string, ok bool) {
	section, origin, partial := strings.Cut(name, "<")
	if section != "BODY[]" && section != "BODY[HEADER]" {
		return "", false
	}
	if !partial {
		return section, true
	}
	n, err := strconv.ParseUint(strings.TrimSuffix(origin, ">"), 10, 32)
	return section + "<" + strconv.FormatUint(n, 10) + ">", err == nil
}

// cutValue reads a value in its wire form.
func cutValue(s string) (value, rest string, ok bool) {
	switch {
	case s == "":
		return "", s, false
	case s[0] == '"':
		_, rest, ok = cutQuoted(s)
	case s[0] == '(':
		_, rest, ok = cutList(s)
	default:
		end := strings.IndexAny(s, " )")
		if end <= 0 {
			return "", s, false
		}
		rest, ok = s[end:], true
	}
	return s[:len(s)-len(rest)], rest, ok
}

// cleanItem rewrites an item, or returns nothing for one that is left out.
func cleanItem(name, section, value string) string {
	switch name {
	case "UID":
		if n, err := strconv.ParseUint(value, 10, 32); err == nil && n > 0 {
			return "UID " + strconv.FormatUint(n, 10)
		}
	case "RFC822.SIZE":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
			return "RFC822.SIZE " + strconv.FormatInt(n, 10)
		}
		return "RFC822.SIZE 0"
	case "FLAGS":
		if inside, _, ok := cutList(value); ok {
			return "FLAGS (" + cleanFlags(inside) + ")"
		}
	case "INTERNALDATE":
		text, _, _ := cutQuoted(value)
		t, err := time.Parse(dateLayout, text)
		if err != nil || t.IsZero() {
			t = noDate
		}
		return `INTERNALDATE "` + t.Format(dateLayout) + `"`
	}
	if _, ok := bodySection(name); ok {
		if text, _, quoted := cutQuoted(value); quoted {
			return section + " " + quote(text)
		}
		return section + " NIL"
	}
	return ""
}
