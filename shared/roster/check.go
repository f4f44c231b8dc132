package roster

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// checker sorts records into rows and problems.
type checker struct {
	rules   Rules
	header  []string
	roster  Roster
	targets map[string]int // line of each target address in lower case
	sources map[string]int // line of each login and root in lower case
}

func newChecker(rules Rules, header []string) *checker {
	return &checker{rules: rules, header: header, targets: map[string]int{}, sources: map[string]int{}}
}

// check takes a record as a row, or notes all that is wrong with it.
func (c *checker) check(rec record) {
	known := len(c.roster.Problems)
	note := func(column, reason, advice string) {
		c.roster.Problems = append(c.roster.Problems, Problem{Line: rec.line, Column: column, Reason: reason, Advice: advice})
	}
	if rec.fault != "" {
		note("", rec.fault, `Put a field that has the separator or a quote in it in quotes, and double every quote inside ("").`)
		return
	}
	if len(rec.fields) != len(c.header) {
		note("", fmt.Sprintf("there are %d fields, the header has %d", len(rec.fields), len(c.header)),
			"Give every line as many fields as the header, and put a field that has the separator in it in quotes.")
		return
	}
	row := c.row(rec)
	c.rules.checkRow(row, note)
	if len(c.roster.Problems) > known {
		return
	}
	target, source := strings.ToLower(row.Address), strings.ToLower(row.Login)+"\x00"+row.UserRoot
	if line, ok := c.targets[target]; ok {
		note(Address, fmt.Sprintf("the address is in line %d already", line), "Keep one line for each target mailbox.")
	}
	if line, ok := c.sources[source]; ok {
		note(Login, fmt.Sprintf("the login is in line %d already", line), "Keep one line for each source mailbox.")
	}
	if len(c.roster.Problems) > known {
		return
	}
	c.targets[target], c.sources[source] = row.Line, row.Line
	c.roster.Rows = append(c.roster.Rows, row)
}

// row names the fields. Spaces around all but the password are no part of them.
func (c *checker) row(rec record) Row {
	row := Row{Line: rec.line}
	for i, column := range c.header {
		field := rec.fields[i]
		switch column {
		case Address:
			row.Address = strings.TrimSpace(field)
		case Login:
			row.Login = strings.TrimSpace(field)
		case Password:
			row.Password = field
		case UserRoot:
			row.UserRoot = strings.TrimSpace(field)
		}
	}
	return row
}

// address is a dot-atom at a domain of two labels or more (RFC 5321, section 4.1.2). Exchange Online
// has no mailbox address outside ASCII and no quoted local part.
var address = regexp.MustCompile("^[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]+)*" +
	`@([a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])$`)

// The longest local part and address, in bytes: RFC 5321, sections 4.5.3.1.1 and 4.5.3.1.3.
const (
	maxLocal   = 64
	maxAddress = 254
)

func (rules Rules) checkRow(row Row, note func(column, reason, advice string)) {
	local, _, _ := strings.Cut(row.Address, "@")
	switch {
	case row.Address == "":
		note(Address, "the address is empty", "Write the target mailbox's address, such as anna@example.com.")
	case !address.MatchString(row.Address), len(local) > maxLocal, len(row.Address) > maxAddress:
		note(Address, "this is no mail address", "Write the target mailbox's address alone, such as anna@example.com, a domain with other letters in its xn-- form.")
	}
	switch {
	case row.Login == "":
		note(Login, "the login is empty", "Write the name that signs in at the source server.")
	case strings.ContainsFunc(row.Login, invisible):
		note(Login, "there is an invisible character in the login", "Type the login anew instead of pasting it.")
	}
	switch {
	case row.Password == "" && !rules.PasswordOptional:
		note(Password, "the password is empty", "Write the password that signs in at the source server.")
	case strings.ContainsFunc(row.Password, unicode.IsControl):
		note(Password, "there is a control character in the password", "Type the password anew instead of pasting it; no tab or line end can be part of it.")
	}
	if strings.ContainsFunc(row.UserRoot, invisible) {
		note(UserRoot, "there is an invisible character in the folder's name", "Type the name anew instead of pasting it.")
	}
}

// invisible reports control and format characters, such as the zero-width space.
func invisible(c rune) bool { return unicode.IsControl(c) || unicode.Is(unicode.Cf, c) }
