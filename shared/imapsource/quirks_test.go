package imapsource

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Every row of QUIRKS.md has evidence and names tests that exist.
func TestQuirksHaveTests(t *testing.T) {
	table, err := os.ReadFile("QUIRKS.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(text)
	}
	rows := 0
	for line := range strings.Lines(string(table)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 || strings.Contains(cells[1], "---") || strings.TrimSpace(cells[1]) == "server" {
			if strings.HasPrefix(line, "|") && len(cells) != 6 {
				t.Errorf("a row has not four cells: %s", line)
			}
			continue
		}
		rows++
		for i, name := range []string{"server", "quirk", "evidence", "test"} {
			if strings.TrimSpace(cells[i+1]) == "" {
				t.Errorf("no %s: %s", name, line)
			}
		}
		for name := range strings.SplitSeq(cells[4], ",") {
			if name = strings.Trim(name, " `"); !strings.Contains(code.String(), "func "+name+"(t *testing.T)") {
				t.Errorf("there is no test %s: %s", name, line)
			}
		}
	}
	if rows < 10 {
		t.Errorf("%d rows", rows)
	}
}
