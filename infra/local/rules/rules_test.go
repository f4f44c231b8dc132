// Package rules holds the tables of rules to their tests: what a table says is shown by a test has to
// have that test.
package rules

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// tables are the files with rows "| rule | source | test |" or "| server | quirk | evidence | test |",
// below the repository's root.
var tables = []string{"infra/local/README.md", "shared/imapsource/QUIRKS.md"}

var (
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	testName = regexp.MustCompile(`\b((?:Test|Fuzz)[A-Z0-9]\w*)`)
	header   = regexp.MustCompile(`^\|.*\| *test *\|$`)
)

func TestEveryRuleHasItsTest(t *testing.T) {
	root := repository(t)
	known := testsOf(t, root)
	for _, table := range tables {
		content, err := os.ReadFile(filepath.Join(root, table))
		if err != nil {
			t.Error(err)
			continue
		}
		rows := rowsOf(string(content))
		if len(rows) == 0 {
			t.Errorf("%s has no table of rules", table)
		}
		for _, row := range rows {
			if err := check(row, known); err != nil {
				t.Errorf("%s:%d: %v", table, row.line, err)
			}
		}
	}
}

// row is one line of a table; its last cell names tests, or is a dash with the reason why there is none.
type row struct {
	line  int
	cells []string
}

func check(r row, known map[string]bool) error {
	last := r.cells[len(r.cells)-1]
	for _, cell := range r.cells[:len(r.cells)-1] {
		if cell == "" {
			return fmt.Errorf("an empty cell before %q", last)
		}
	}
	names := testName.FindAllStringSubmatch(last, -1)
	for _, name := range names {
		if !known[name[1]] {
			return fmt.Errorf("there is no test %s", name[1])
		}
	}
	reason := strings.TrimLeft(last, "—-")
	if len(names) == 0 && (reason == last || len(strings.Fields(reason)) < 2) {
		return fmt.Errorf("%q names neither a test nor, after a dash, the reason why there is none", last)
	}
	return nil
}

// rowsOf finds the rows of every table whose last column is "test".
func rowsOf(markdown string) []row {
	var rows []row
	inside := false
	for i, line := range strings.Split(markdown, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case header.MatchString(line):
			inside = true
		case !strings.HasPrefix(line, "|"):
			inside = false
		case inside && strings.Trim(line, "|-: ") != "":
			rows = append(rows, row{i + 1, cellsOf(line)})
		}
	}
	return rows
}

// cellsOf splits a row at the bars that are not escaped.
func cellsOf(line string) []string {
	const bar = "\x00"
	line = strings.ReplaceAll(strings.Trim(line, "|"), `\|`, bar)
	cells := strings.Split(line, "|")
	for i, cell := range cells {
		cells[i] = strings.TrimSpace(strings.ReplaceAll(cell, bar, "|"))
	}
	return cells
}

// testsOf is the names of every test and fuzz target of the repository.
func testsOf(t *testing.T, root string) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && (d.Name() == "node_modules" || strings.HasPrefix(d.Name(), ".") && path != root) {
			return errOrSkip(err)
		}
		if !strings.HasSuffix(path, "_test.go") {
			return nil
		}
		content, err := os.ReadFile(path)
		for _, found := range testFunc.FindAllSubmatch(content, -1) {
			known[string(found[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return known
}

func errOrSkip(err error) error {
	if err != nil {
		return err
	}
	return fs.SkipDir
}

func repository(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		content, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(content, []byte("module mailferry")) {
			return dir
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the tests do not run inside of the repository")
		}
	}
}

// A table that names no test, a test that is not there, or no reason, does not pass.
func TestCheck(t *testing.T) {
	known := map[string]bool{"TestThere": true}
	for text, want := range map[string]bool{
		"| a rule | 4.3 | `TestThere` |":               true,
		"| a rule | 4.3 | `TestThere/with a part` |":   true,
		"| a rule | 4.3 | — sessions are not used |":   true,
		"| a \\| rule | 4.3 | `TestThere` |":           true,
		"| a rule | 4.3 | `TestGone` |":                false,
		"| a rule | 4.3 | `TestThere`, `TestGone/b` |": false,
		"| a rule | 4.3 | |":                           false,
		"| a rule | 4.3 | — |":                         false,
		"| a rule |  | `TestThere` |":                  false,
		"| a rule | 4.3 | seen to work |":              false,
	} {
		rows := rowsOf("| rule | source | test |\n|---|---|---|\n" + text + "\n\n| no | row | here |\n")
		if len(rows) != 1 {
			t.Fatalf("%d rows in %s", len(rows), text)
		}
		if err := check(rows[0], known); (err == nil) != want {
			t.Errorf("%s: %v", text, err)
		}
	}
}
