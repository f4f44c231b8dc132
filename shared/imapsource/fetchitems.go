package imapsource

import (
	"net/mail"
	"strconv"
	"strings"
	"time"
)

// dateLayout is date-time of RFC 9051 section 9.
const dateLayout = "_2-Jan-2006 15:04:05 -0700"

// readDate reads an INTERNALDATE: as RFC 9051 wants it; without a zone, which counts as UTC; or as
// RFC 5322 writes dates, like asimap before its pull request 458. Anything else is noDate, such as
// the "00-Jan-0000" of Domino 10 (MailKit issue 1236) and years before there was mail.
func readDate(text string) time.Time {
	t, err := time.Parse(dateLayout, text)
	if err != nil {
		t, err = time.Parse(strings.TrimSuffix(dateLayout, " -0700"), text)
	}
	if err != nil {
		t, err = mail.ParseDate(text)
	}
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return noDate
	}
	return t
}

// noDate stands for a date that cannot be read. The library refuses the zero time.
var noDate = time.Time{}.Add(time.Second)

// fetchItems rewrites one line of a FETCH response: from its beginning or, if continued, from behind
// a message. A line that makes no sense ends the response there; what is missing then is asked for
// again by those who miss it. Behind a message, it is a sign that the message does not end where the
// server announced: Zimbra writes the size of its database before whatever the file holds
// (zm-mailbox, ImapPartSpecifier.java, write: "assert written == length").
func (r *responses) fetchItems(head, line string, continued bool) error {
	out := []byte(head)
	count, inline := 0, false
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
		if continued && !isItemName(line[:len(line)-len(rest)]) {
			return errTorn
		}
		rest = strings.TrimLeft(rest, " ")
		section, isBody := bodySection(name)
		if before, size, ok := cutLiteral(rest); ok && before == "" && isBody && size > 0 {
			add(section + " {" + strconv.FormatInt(size, 10) + "}\r\n")
			r.out, r.literal = out, size
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
		inline = inline || isBody
		if item := cleanItem(name, section, value); item != "" {
			add(item)
		}
	}
	if whole := strings.TrimRight(line, " ") == ")"; !whole && continued {
		return errTorn
	} else if !whole && inline {
		return nil // it is asked for again
	}
	if count == 0 && !continued {
		return nil // an empty list: the library wants an item
	}
	r.out = append(out, ")\r\n"...)
	return nil
}

// isItemName reports whether a word behind a message is an item's name and not its text, of which two words and
// a parenthesis look like items: servers write unknown names in capitals.
func isItemName(word string) bool {
	switch upper := strings.ToUpper(word); upper {
	case "UID", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "MODSEQ":
		return true
	default:
		return word == upper && word != "" && 'A' <= word[0] && word[0] <= 'Z'
	}
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
		return `INTERNALDATE "` + readDate(text).Format(dateLayout) + `"`
	}
	if _, ok := bodySection(name); ok {
		if text, _, quoted := cutQuoted(value); quoted {
			return section + " " + quote(text)
		}
		return section + " NIL"
	}
	return ""
}
