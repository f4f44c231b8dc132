package roster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const header = "EmailAddress,UserName,Password\n"

func TestRead(t *testing.T) {
	anna := Row{Line: 2, Address: "anna@example.com", Login: "anna", Password: "hunter2"}
	bert := Row{Line: 3, Address: "bert@example.com", Login: "bert", Password: "x"}
	both := []Row{anna, bert}
	with := func(r Row, change func(*Row)) []Row { change(&r); return []Row{r} }
	for name, c := range map[string]struct {
		file string
		want []Row
	}{
		"LF":         {header + "anna@example.com,anna,hunter2\nbert@example.com,bert,x\n", both},
		"CRLF":       {"EmailAddress,UserName,Password\r\nanna@example.com,anna,hunter2\r\nbert@example.com,bert,x\r\n", both},
		"CR":         {"EmailAddress,UserName,Password\ranna@example.com,anna,hunter2\rbert@example.com,bert,x", both},
		"BOM":        {"\xef\xbb\xbf" + header + "anna@example.com,anna,hunter2\nbert@example.com,bert,x", both},
		"semicolon":  {"EmailAddress;UserName;Password\nanna@example.com;anna;hunter2\nbert@example.com;bert;x\n", both},
		"quoted":     {`"EmailAddress","UserName","Password"` + "\n" + `"anna@example.com","anna","hunter2"` + "\n" + `"bert@example.com",bert,"x"`, both},
		"order":      {" password , EMAILADDRESS,username\nhunter2, anna@example.com , anna \nx,bert@example.com,bert\n", both},
		"last CR":    {header + "anna@example.com,anna,hunter2\r", []Row{anna}},
		"blanks":     {"\n" + header + "\n,,\r\nanna@example.com,anna,hunter2\n\"\",,\n", with(anna, func(r *Row) { r.Line = 5 })},
		"UserRoot":   {"EmailAddress,UserName,Password,UserRoot\nanna@example.com,anna,hunter2,/users/anna\n", with(anna, func(r *Row) { r.UserRoot = "/users/anna" })},
		"no root":    {"EmailAddress,UserName,Password,UserRoot\nanna@example.com,anna,hunter2,\n", []Row{anna}},
		"separators": {header + `anna@example.com,"a,n;na","h""u,n;t"` + "\n", with(anna, func(r *Row) { r.Login, r.Password = "a,n;na", `h"u,n;t` })},
		"spaces":     {header + "anna@example.com, anna ,  hunter2 \n", with(anna, func(r *Row) { r.Password = "  hunter2 " })},
		"bare quote": {header + `anna@example.com,anna,hun"te"r2` + "\n", with(anna, func(r *Row) { r.Password = `hun"te"r2` })},
		"other ;":    {header + "anna@example.com,anna,hun;ter2\n", with(anna, func(r *Row) { r.Password = "hun;ter2" })},
		"Unicode":    {header + "anna@example.com,änna,pässwörd€\n", with(anna, func(r *Row) { r.Login, r.Password = "änna", "pässwörd€" })},
		"same login with other roots": {
			"EmailAddress,UserName,Password,UserRoot\na@example.com,admin,x,/a\nb@example.com,admin,x,/b\n",
			[]Row{{2, "a@example.com", "admin", "x", "/a"}, {3, "b@example.com", "admin", "x", "/b"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(iotest.OneByteReader(strings.NewReader(c.file)))
			if err != nil || len(got.Problems) > 0 {
				t.Fatalf("%v, %v", got.Problems, err)
			}
			if !slices.Equal(got.Rows, c.want) {
				t.Fatalf("got %v, want %v", got.Rows, c.want)
			}
		})
	}
}

// A bad row is dropped with its line and column; the rows around it stay.
func TestBadRows(t *testing.T) {
	const first, last = "first@example.com,first,x\n", "last@example.com,last,x\n"
	for name, c := range map[string]struct {
		row     string
		column  string
		reason  string
		further int // lines that the row has beyond its first
	}{
		"no address":        {",anna,x\n", Address, "empty", 0},
		"no at":             {"anna,anna,x\n", Address, "no mail address", 0},
		"no domain":         {"anna@,anna,x\n", Address, "no mail address", 0},
		"no dot":            {"anna@localhost,anna,x\n", Address, "no mail address", 0},
		"two ats":           {"anna@b@example.com,anna,x\n", Address, "no mail address", 0},
		"display name":      {"Anna <anna@example.com>,anna,x\n", Address, "no mail address", 0},
		"two dots":          {"an..na@example.com,anna,x\n", Address, "no mail address", 0},
		"umlaut":            {"änna@example.com,anna,x\n", Address, "no mail address", 0},
		"long local":        {strings.Repeat("a", 65) + "@example.com,anna,x\n", Address, "no mail address", 0},
		"no login":          {"anna@example.com, ,x\n", Login, "empty", 0},
		"zero-width":        {"anna@example.com,an\u200bna,x\n", Login, "invisible", 0},
		"no password":       {"anna@example.com,anna,\n", Password, "empty", 0},
		"quoted nothing":    {"anna@example.com,anna,\"\"\n", Password, "empty", 0},
		"tab":               {"anna@example.com,anna,hunt\ter2\n", Password, "control", 0},
		"few fields":        {"anna@example.com,anna\n", "", "2 fields", 0},
		"many fields":       {"anna@example.com,anna,hunt,er2\n", "", "4 fields", 0},
		"behind the quote":  {"anna@example.com,anna,\"hunt\"er2\n", "", "behind the closing quote", 0},
		"line in quotes":    {"anna@example.com,anna,\"hunt\ner2\"\n", "", "from line 3 to line 4", 1},
		"lines in quotes":   {"anna@example.com,\"anna\r\n\r\n,hunter2\"\n", "", "from line 3 to line 5", 2},
		"too long":          {"anna@example.com,anna," + strings.Repeat("hunter2", 10_000) + "\n", "", "more than", 0},
		"too many fields":   {strings.Repeat(",hunter2", 20_000) + "\n", "", "more than", 0},
		"duplicate address": {"FIRST@example.com,anna,x\n", Address, "in line 2 already", 0},
		"duplicate login":   {"anna@example.com,First,x\n", Login, "in line 2 already", 0},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(strings.NewReader(header + first + c.row + last))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Problems) != 1 {
				t.Fatalf("problems %v", got.Problems)
			}
			p := got.Problems[0]
			if p.Line != 3 || p.Column != c.column || !strings.Contains(p.Reason, c.reason) || p.Advice == "" {
				t.Errorf("got %q, advice %q", p, p.Advice)
			}
			if strings.Contains(fmt.Sprintf("%#v", p), "hunt") {
				t.Errorf("the password is in %#v", p)
			}
			if len(got.Rows) != 2 || got.Rows[0].Login != "first" || got.Rows[1].Login != "last" || got.Rows[1].Line != 4+c.further {
				t.Errorf("rows %v", got.Rows)
			}
		})
	}
}

func TestAllThatIsWrongWithARow(t *testing.T) {
	got, err := Read(strings.NewReader(header + "anna,,\n"))
	if err != nil || len(got.Rows) != 0 || len(got.Problems) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
}

// A row that is dropped is not in the way of a good one.
func TestDuplicateOfABadRow(t *testing.T) {
	got, err := Read(strings.NewReader(header + "anna@example.com,anna,\nanna@example.com,anna,x\n"))
	if err != nil || len(got.Rows) != 1 || got.Rows[0].Line != 3 || len(got.Problems) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
}

func TestRefusedFiles(t *testing.T) {
	const row = "anna@example.com,anna,hunter2\n"
	for name, c := range map[string]struct {
		file   string
		line   int
		reason string
	}{
		"empty":              {"", 1, "empty"},
		"only BOM":           {"\xef\xbb\xbf", 1, "empty"},
		"only blanks":        {"\n\n", 3, "empty"},
		"no header":          {row + row, 1, "no header"},
		"one name only":      {"password,hunter2,anna@example.com\n" + row, 1, "no header"},
		"tabs":               {"EmailAddress\tUserName\tPassword\n", 1, "no header"},
		"missing column":     {"EmailAddress,UserName\nanna@example.com,anna\n", 1, "missing"},
		"unknown column":     {"EmailAddress,UserName,Password,Phone\n" + row, 1, "no such column"},
		"column twice":       {"EmailAddress,UserName,Password,username\n" + row, 1, "twice"},
		"no row":             {header, 2, "no row"},
		"no row but blanks":  {header + "\n,,\n", 4, "no row"},
		"Latin-1":            {header + row + "bert@example.com,bert,p\xe4ss\n", 3, "UTF-8"},
		"Latin-1 header":     {"EmailAddress,UserName,Password\xe4\n", 1, "UTF-8"},
		"UTF-16LE":           {"\xff\xfeE\x00m\x00", 1, "UTF-16"},
		"UTF-16BE":           {"\xfe\xff\x00E\x00m", 1, "UTF-16"},
		"NUL":                {header + row + "bert@example.com,be\x00rt,x\n", 3, "NUL"},
		"unclosed quote":     {header + row + "bert@example.com,bert,\"hunter2\n" + row, 3, "never closed"},
		"unclosed in header": {"\"EmailAddress,UserName,Password\n" + row, 1, "never closed"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Read(strings.NewReader(c.file))
			var refused *FileError
			if !errors.As(err, &refused) || len(got.Rows)+len(got.Problems) > 0 {
				t.Fatalf("%v, %v", got, err)
			}
			p := refused.Problems[0]
			if p.Line != c.line || !strings.Contains(p.Reason, c.reason) || p.Advice == "" {
				t.Errorf("got %q, advice %q", p, p.Advice)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, refused.Problems), "hunter2") {
				t.Errorf("the password is in %v", refused.Problems)
			}
		})
	}
}

func TestAllThatIsWrongWithAHeader(t *testing.T) {
	_, err := Read(strings.NewReader("EmailAddress,UserName,Phone,Fax\n"))
	var refused *FileError
	if !errors.As(err, &refused) || len(refused.Problems) != 3 || !strings.HasSuffix(err.Error(), "(and 2 more)") {
		t.Fatal(err)
	}
}

func TestReaderFails(t *testing.T) {
	broken := errors.New("broken")
	_, err := Read(io.MultiReader(strings.NewReader(header+"anna@example.com,an"), iotest.ErrReader(broken)))
	var refused *FileError
	if !errors.Is(err, broken) || errors.As(err, &refused) {
		t.Fatal(err)
	}
	if _, err := Read(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Fatal(err)
	}
}

func TestManyRows(t *testing.T) {
	const n = 100_000
	r, w := io.Pipe()
	go func() {
		_, _ = io.WriteString(w, header)
		for i := range n {
			fmt.Fprintf(w, "user%d@example.com,user%d,x\n", i, i)
		}
		w.Close()
	}()
	got, err := Read(r)
	if err != nil || len(got.Rows) != n || len(got.Problems) != 0 || got.Rows[n-1].Line != n+1 {
		t.Fatalf("%d rows, %d problems, %v", len(got.Rows), len(got.Problems), err)
	}
}

func TestRowPrintsNoPassword(t *testing.T) {
	row := Row{Line: 2, Address: "anna@example.com", Login: "anna", Password: "hunter2"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("row", "row", row)
	encoded, err := json.Marshal(row)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %v", row, row, row, row, []Row{row}), log.String(), string(encoded)} {
		if strings.Contains(text, "hunter2") {
			t.Errorf("the password is in %s", text)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", header, header + "anna@example.com,anna,hunter2\r\n", "\xef\xbb\xbfEmailAddress;UserName;Password;UserRoot\r",
		header + "anna@example.com,\"an\"\"na\",\"a\r\nb\"x\n", header + "\"", header + "a\x00", header + "\xff", header + "\n,,\n\"\"\"\",b,c",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, file string) {
		got, err := Read(strings.NewReader(file))
		if err != nil {
			var refused *FileError
			if !errors.As(err, &refused) || len(refused.Problems) == 0 {
				t.Fatal(err)
			}
			got.Problems = refused.Problems
		}
		lines := 1 + strings.Count(file, "\n") + strings.Count(file, "\r") - strings.Count(file, "\r\n")
		for _, p := range got.Problems {
			if p.Line < 1 || p.Line > lines || p.Reason == "" || p.Advice == "" {
				t.Fatalf("%d lines, %+v", lines, p)
			}
		}
		last := 1
		for _, row := range got.Rows {
			if row.Line <= last || row.Line > lines || row.Address == "" || row.Login == "" || row.Password == "" {
				t.Fatalf("%d lines, %v behind line %d", lines, row, last)
			}
			last = row.Line
		}
		again, err := Read(strings.NewReader(written(got.Rows)))
		if len(got.Rows) > 0 && (err != nil || len(again.Problems) > 0 || len(again.Rows) != len(got.Rows)) {
			t.Fatalf("written and read again: %v, %v", again, err)
		}
		for i, row := range again.Rows {
			if row.Line = got.Rows[i].Line; row != got.Rows[i] {
				t.Fatalf("%q became %q", got.Rows[i].Password, row.Password)
			}
		}
	})
}

// written is the rows as a CSV with every field quoted.
func written(rows []Row) string {
	var b strings.Builder
	b.WriteString("EmailAddress,UserName,Password,UserRoot\n")
	for _, r := range rows {
		for i, field := range []string{r.Address, r.Login, r.Password, r.UserRoot} {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(`"` + strings.ReplaceAll(field, `"`, `""`) + `"`)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// An endpoint that signs in with its own credentials needs no passwords, and no column for them.
func TestPasswordOptional(t *testing.T) {
	rules := Rules{PasswordOptional: true}
	for _, file := range []string{
		"EmailAddress,UserName\na@example.com,a\n",
		"EmailAddress,UserName,Password\na@example.com,a,\n",
		"EmailAddress,UserName,Password,UserRoot\na@example.com,a,pw,\n",
	} {
		got, err := rules.Read(strings.NewReader(file))
		if err != nil || len(got.Rows) != 1 || len(got.Problems) != 0 {
			t.Errorf("%q: %+v, %v", file, got, err)
		}
	}
	if _, err := Read(strings.NewReader("EmailAddress,UserName\na@example.com,a\n")); err == nil {
		t.Error("the column may be missing without the rule")
	}
	got, err := Read(strings.NewReader("EmailAddress,UserName,Password\na@example.com,a,\n"))
	if err != nil || len(got.Rows) != 0 || len(got.Problems) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}
