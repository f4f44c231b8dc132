// Package roster reads the CSV that names the mailboxes of a batch.
//
// Its columns are those of Microsoft's IMAP migration batches: EmailAddress, UserName, Password and,
// optionally, UserRoot, in any order
// (https://learn.microsoft.com/exchange/mailbox-migration/migrating-imap-mailboxes/csv-files-for-imap-migration-batches).
// It is UTF-8 with or without a byte order mark, separated by comma or semicolon, with lines ended by
// LF, CRLF or CR; a field may stand in double quotes, in which a quote is doubled (RFC 4180).
//
// Nothing that this package says about a file has a password in it.
package roster

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// The columns.
const (
	Address  = "EmailAddress"
	Login    = "UserName"
	Password = "Password"
	UserRoot = "UserRoot"
)

// Row is one mailbox. It prints without its password.
type Row struct {
	Line     int    // where the row begins in the file, from 1
	Address  string // the target: an SMTP address in ASCII
	Login    string // at the source
	Password string `json:"-"` // as it stands in the file, spaces included
	UserRoot string // the folder at the source whose children are the mailbox's; may be empty
}

// String leaves the password out.
func (r Row) String() string {
	return fmt.Sprintf("line %d: %s from %s %s", r.Line, r.Address, r.Login, r.UserRoot)
}

// GoString leaves the password out.
func (r Row) GoString() string { return r.String() }

// LogValue leaves everything but the line out: addresses are personal data.
func (r Row) LogValue() slog.Value { return slog.GroupValue(slog.Int("line", r.Line)) }

// Problem is what is wrong with a line, and what to do about it.
type Problem struct {
	Line   int    `json:"line,omitempty"`   // 0: it is about the whole file
	Column string `json:"column,omitempty"` // the column's name, if it is about one
	Reason string `json:"reason"`
	Advice string `json:"advice"`
}

// String is "line 3, EmailAddress: reason".
func (p Problem) String() string {
	if p.Column == "" {
		return fmt.Sprintf("line %d: %s", p.Line, p.Reason)
	}
	return fmt.Sprintf("line %d, %s: %s", p.Line, p.Column, p.Reason)
}

// Roster is a file that was read: the good rows, and what is wrong with the others, both in the
// order of the file.
type Roster struct {
	Rows     []Row
	Problems []Problem
}

// FileError refuses a whole file: it cannot be told what its rows are.
type FileError struct {
	Problems []Problem // at least one
}

// Error has the first problem.
func (e *FileError) Error() string {
	if more := len(e.Problems) - 1; more > 0 {
		return fmt.Sprintf("%s (and %d more)", e.Problems[0], more)
	}
	return e.Problems[0].String()
}

func refuse(line int, reason, advice string) error {
	return &FileError{Problems: []Problem{{Line: line, Reason: reason, Advice: advice}}}
}

// Rules say what rows must have.
type Rules struct {
	// PasswordOptional lets rows have no password, and files no such column: the endpoint signs in
	// with its own credentials.
	PasswordOptional bool
}

// Read is Rules.Read with a password in every row.
func Read(r io.Reader) (Roster, error) { return Rules{}.Read(r) }

// Read reads a whole file, in memory that grows with its good rows and its problems only. A file
// that cannot be read as a roster is a *FileError; any other error is r's. Of two rows for the same
// target, or from the same login and UserRoot, the first is kept.
func (rules Rules) Read(r io.Reader) (Roster, error) {
	l := newLexer(r)
	header, err := rules.readHeader(l)
	if err != nil {
		return Roster{}, fmt.Errorf("read CSV: %w", err)
	}
	c := newChecker(rules, header)
	some := false
	for {
		rec, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return Roster{}, fmt.Errorf("read CSV: %w", err)
		}
		if !rec.blank() {
			some = true
			c.check(rec)
		}
	}
	if !some {
		return Roster{}, fmt.Errorf("read CSV: %w", refuse(l.line, "there is no row below the header", "Add a line for each mailbox."))
	}
	return c.roster, nil
}

// readHeader returns the column of each field.
func (rules Rules) readHeader(l *lexer) ([]string, error) {
	var rec record
	for rec.blank() {
		var err error
		if rec, err = l.next(); errors.Is(err, io.EOF) {
			return nil, refuse(l.line, "the file is empty", "The first line is "+want+".")
		} else if err != nil {
			return nil, err
		}
	}
	return rules.columns(rec)
}

const want = Address + "," + Login + "," + Password + " and optionally " + UserRoot

// columns checks the header. A first line that shares fewer than two names with a header is taken
// for a row and not quoted: it may hold a password.
func (rules Rules) columns(rec record) ([]string, error) {
	var header []string
	var problems []Problem
	seen := map[string]int{}
	for _, field := range rec.fields {
		name, known := canonical(field)
		header = append(header, name)
		seen[name]++
		switch {
		case !known:
			problems = append(problems, Problem{Line: rec.line, Column: shortened(name), Reason: "there is no such column", Advice: "Remove the column; there are " + want + "."})
		case seen[name] == 2:
			problems = append(problems, Problem{Line: rec.line, Column: name, Reason: "the column is there twice", Advice: "Remove one of the two."})
		}
	}
	known := 0
	for _, name := range []string{Address, Login, Password, UserRoot} {
		if seen[name] > 0 {
			known++
		} else if name != UserRoot && !(name == Password && rules.PasswordOptional) {
			problems = append(problems, Problem{Line: rec.line, Column: name, Reason: "the column is missing", Advice: "Add the column " + name + " to the header and to every line."})
		}
	}
	if known < 2 || rec.fault != "" {
		return nil, refuse(rec.line, "the first line is no header", "Begin the file with the line "+want+", separated by comma or semicolon.")
	}
	if len(problems) > 0 {
		return nil, &FileError{Problems: problems}
	}
	return header, nil
}

func canonical(field string) (string, bool) {
	field = strings.TrimSpace(field)
	for _, name := range []string{Address, Login, Password, UserRoot} {
		if strings.EqualFold(field, name) {
			return name, true
		}
	}
	return field, false
}

// shortened keeps a foreign column name printable.
func shortened(name string) string {
	const most = 40
	if runes := []rune(name); len(runes) > most {
		name = string(runes[:most]) + "…"
	}
	return strings.Trim(fmt.Sprintf("%q", name), `"`)
}
