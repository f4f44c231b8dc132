package migrate

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

// box builds what a source lists: "path=role", "!" behind it for what cannot be opened, "@shared" for
// what belongs to others. Segments are parted by ">".
func box(folders ...string) (list []SourceFolder) {
	for _, text := range folders {
		f := SourceFolder{Selectable: true}
		text, f.Selectable = strings.CutSuffix(text, "!")
		f.Selectable = !f.Selectable
		text, space, _ := strings.Cut(text, "@")
		f.Space = Space(space)
		path, use, _ := strings.Cut(text, "=")
		f.Use, f.Path, f.Name = SpecialUse(use), strings.Split(path, ">"), path
		list = append(list, f)
	}
	return list
}

// placed writes where folders go: "source:target" by name, the target's role in brackets. What stays
// behind is "source:-".
func placed(t *testing.T, rules FolderRules, list []SourceFolder, held ...*FolderCursor) (string, error) {
	t.Helper()
	compiled, err := rules.compile()
	if err != nil {
		t.Fatal(err)
	}
	l, err := layOut(list, compiled, held)
	if err != nil {
		return "", err
	}
	var out []string
	for _, f := range list {
		if !f.Selectable {
			continue
		}
		if l.reason(f) != "" {
			out = append(out, f.Name+":-")
			continue
		}
		use, place := l.at[pathKey(f.Path)].address()
		if use != "" {
			place[0] = "[" + string(use) + "]"
		}
		out = append(out, f.Name+":"+strings.Join(place, ">"))
	}
	return strings.Join(out, "\n"), nil
}

func TestPlacement(t *testing.T) {
	long := strings.Repeat("x", 300)
	for _, c := range []struct {
		name  string
		rules FolderRules
		list  []SourceFolder
		want  []string
	}{
		{"plain", FolderRules{}, box("INBOX=inbox", "INBOX>a", "b>c"), []string{"INBOX:[inbox]", "INBOX>a:[inbox]>a", "b>c:b>c"}},
		{"roles merge, what lies below goes with them, and merges where the names are the same", FolderRules{},
			box("Sent=sent", "Sent Items=sent", "Sent>2019", "Sent Items>2019", "Sent Items>2020"),
			[]string{"Sent:[sent]", "Sent Items:[sent]", "Sent>2019:[sent]>2019", "Sent Items>2019:[sent]>2019", "Sent Items>2020:[sent]>2020"}},
		{"the same name but for case", FolderRules{}, box("work", "Work", "WORK>x", "WORK"), []string{"work:work (3)", "Work:Work (2)", "WORK>x:WORK>x", "WORK:WORK"}},
		{"below merged folders, too", FolderRules{}, box("Sent=sent", "Old=sent", "Sent>a", "Sent>A", "Old>a"),
			[]string{"Sent:[sent]", "Old:[sent]", "Sent>a:[sent]>a", "Sent>A:[sent]>A (2)", "Old>a:[sent]>a"}},
		{"names that Exchange does not take", FolderRules{}, box("a/b", `a\b`, "a_b", " a ", "a\x00\x1f", "\t", "..", long),
			[]string{"a/b:a_b", `a\b:a_b (2)`, "a_b:a_b (3)", " a :a", "a\x00\x1f:a (2)", "\t:_", "..:..", long + ":" + long[:255]}},
		{"reserved names", FolderRules{}, box("Calendar", "files", "Inbox ", "a>Calendar", "Notes (mail)", "Notes"),
			[]string{"Calendar:Calendar (mail)", "files:files (mail)", "Inbox :Inbox (mail)", "a>Calendar:a>Calendar", "Notes (mail):Notes (mail) (2)", "Notes:Notes (mail)"}},
		{"parents that cannot be opened or are not listed", FolderRules{}, box("a!", "a>b", "c>d>e"), []string{"a>b:a>b", "c>d>e:c>d>e"}},
		{"views", FolderRules{}, box("[G]>All=all", "[G]>Starred=flagged", "virtual>Unread=virtual"), []string{"[G]>All:[archive]", "[G]>Starred:-", "virtual>Unread:-"}},
		{"views without one of everything", FolderRules{ExcludeFolders: []string{"All"}}, box("All=all", "Starred=flagged"), []string{"All:-", "Starred:Starred"}},
		{"others' folders", FolderRules{IncludeShared: true}, box("user>b>Sent=sent@other-users", "pub>Sent=sent@shared"), []string{"user>b>Sent:-", "pub>Sent:pub>Sent"}},
		{"exclude", FolderRules{ExcludeFolders: []string{"a/b", "#SentItems#/2019", "re:^x.$"}},
			box("a", "A>B", "a>b>c", "a>bb", "Out=sent", "Out>2019", "Out>2019>q", "xy", "xyz"),
			[]string{"a:a", "A>B:-", "a>b>c:-", "a>bb:a>bb", "Out:[sent]", "Out>2019:-", "Out>2019>q:-", "xy:-", "xyz:xyz"}},
		{"include", FolderRules{IncludeFolders: []string{"#Inbox#", "a/*", "**/deep"}, ExcludeFolders: []string{"a/x"}},
			box("INBOX=inbox", "INBOX>i", "a", "a>b>c", "a>x", "q>r>deep", "q>r"), []string{"INBOX:[inbox]", "INBOX>i:[inbox]>i", "a:-", "a>b>c:a>b>c", "a>x:-", "q>r>deep:q>r>deep", "q>r:-"}},
		{"escapes", FolderRules{ExcludeFolders: []string{`a\/b`, `c\*`, "?x"}}, box("a/b", "a>b", "c*", "cc", "yx", "x"), []string{"a/b:-", "a>b:a>b", "c*:-", "cc:cc", "yx:-", "x:x"}},
		{"mapping", FolderRules{FolderMap: []FolderMapping{{From: "Kunden/*", To: "Customers/*"}, {From: "Alt", To: "#Archive#/Old"}, {From: "Ausgang", To: "#SentItems#"}, {From: `re:^P/(\d+)$`, To: "Projects/y$1"}}},
			box("Kunden", "Kunden>A", "Kunden>A>b", "Alt", "Alt>x", "Ausgang", "Ausgang>q", "Sent=sent", "P>7", "P>7>z", "P"),
			[]string{"Kunden:Kunden", "Kunden>A:Customers>A", "Kunden>A>b:Customers>A>b", "Alt:[archive]>Old", "Alt>x:[archive]>Old>x", "Ausgang:[sent]", "Ausgang>q:[sent]>q", "Sent:[sent]",
				"P>7:Projects>y7", "P>7>z:Projects>y7>z", "P:P"}},
		{"the mapping wins over attribute and name", FolderRules{FolderMap: []FolderMapping{{From: "Archive", To: "Old mail"}}}, box("Archive=archive", "Archive>x"), []string{"Archive:Old mail", "Archive>x:Old mail>x"}},
		{"a mapping of what is not listed", FolderRules{FolderMap: []FolderMapping{{From: "a", To: "z"}}}, box("a>b"), []string{"a>b:z>b"}},
		{"a mapping that merges", FolderRules{FolderMap: []FolderMapping{{From: "a", To: "b", Merge: true}}}, box("a", "a>x", "b", "b>x", "b>y"), []string{"a:b", "a>x:b>x", "b:b", "b>x:b>x", "b>y:b>y"}},
		{"a mapping says nothing of other folders of the name", FolderRules{FolderMap: []FolderMapping{{From: "x/a", To: "#Inbox#/Q"}}}, box("INBOX=inbox", "INBOX>a", "x>a"),
			[]string{"INBOX:[inbox]", "INBOX>a:[inbox]>a", "x>a:[inbox]>Q"}},
		{"below one folder", FolderRules{TargetFolder: "Old/server", FolderMap: []FolderMapping{{From: "keep", To: "Keep"}}},
			box("INBOX=inbox", "INBOX>a", "Sent=sent", "Sent Items=sent", "Calendar", "keep"),
			[]string{"INBOX:Old>server>INBOX", "INBOX>a:Old>server>INBOX>a", "Sent:Old>server>Sent", "Sent Items:Old>server>Sent Items", "Calendar:Old>server>Calendar", "keep:Keep"}},
		{"a mapping to the name it has is one, too", FolderRules{TargetFolder: "Old", FolderMap: []FolderMapping{{From: "Sent", To: "Sent"}}}, box("Sent=sent", "Out=sent"), []string{"Sent:Sent", "Out:Old>Out"}},
		{"and over a role", FolderRules{FolderMap: []FolderMapping{{From: "Sent", To: "Sent"}}}, box("Sent=sent", "Sent>a", "Out=sent"), []string{"Sent:Sent", "Sent>a:Sent>a", "Out:[sent]"}},
		{"a prefix that is taken off", FolderRules{FolderMap: []FolderMapping{{From: "re:^Mail/", To: ""}}}, box("Mail>Inbox", "Mail>INBOX>x", "Mail>a"), []string{"Mail>Inbox:[inbox]", "Mail>INBOX>x:[inbox]>x", "Mail>a:a"}},
		{"an expression that changes few", FolderRules{FolderMap: []FolderMapping{{From: "re:( old)?$", To: ""}}}, box("INBOX=inbox", "Sent=sent", "Work old", "a"), []string{"INBOX:[inbox]", "Sent:[sent]", "Work old:Work", "a:a"}},
		{"groups by number and name", FolderRules{FolderMap: []FolderMapping{{From: `re:^(?P<year>\d+)-(.*)$`, To: "${2}_${year}_$$"}}}, box("2019-a"), []string{"2019-a:a_2019_$"}},
		{"a name that looks like an expression", FolderRules{ExcludeFolders: []string{`\re: a`}}, box("re: a", "b"), []string{"re: a:-", "b:b"}},
		{"below a well-known folder", FolderRules{TargetFolder: "#Archive#/old"}, box("INBOX=inbox"), []string{"INBOX:[archive]>old>INBOX"}},
	} {
		got, err := placed(t, c.rules, c.list)
		if want := strings.Join(c.want, "\n"); err != nil || got != want {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", c.name, err, got, want)
		}
		reversed := slices.Clone(c.list)
		slices.Reverse(reversed)
		again, err := placed(t, c.rules, reversed)
		if lines := strings.Split(again, "\n"); err != nil {
			t.Errorf("%s, in another order: %v", c.name, err)
		} else if slices.Reverse(lines); strings.Join(lines, "\n") != got {
			t.Errorf("%s depends on the order: %s", c.name, again)
		}
	}
}

func TestMappingsThatCollide(t *testing.T) {
	for _, c := range []struct {
		name  string
		rules []FolderMapping
		list  []SourceFolder
		both  []string
	}{
		{"two mappings", []FolderMapping{{From: "a", To: "X"}, {From: "b", To: "x"}}, box("a", "b"), []string{`"a"`, `"b"`}},
		{"one that takes two", []FolderMapping{{From: "*/q", To: "X"}}, box("a>q", "b>q"), []string{`"a/q"`, `"b/q"`}},
		{"with a folder that stays", []FolderMapping{{From: "a", To: "Work"}}, box("a", "work"), []string{`"a"`, `"work"`}},
		{"with a parent of one", []FolderMapping{{From: "a", To: "work"}}, box("a", "work!", "work>x"), []string{`"a"`, `"work"`}},
		{"below well-known folders", []FolderMapping{{From: "a", To: "#Inbox#/x"}, {From: "b", To: "#Inbox#/x"}}, box("a", "b"), nil},
	} {
		_, err := placed(t, FolderRules{FolderMap: c.rules}, c.list)
		if c.both == nil {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if KindOf(err) != Configuration || err == nil || !strings.Contains(err.Error(), c.both[0]) || !strings.Contains(err.Error(), c.both[1]) {
			t.Errorf("%s: the error is %v", c.name, err)
		}
	}
}

// TestPlaceOutlivesThePath: where a server does not tell its namespaces, the prefix is guessed from the list,
// and one more folder changes the paths of all others.
func TestPlaceOutlivesThePath(t *testing.T) {
	list := box("INBOX=inbox", "INBOX>Sub>a", "INBOX>b", "Top", "x/y", "x>y!", "x>y>z")
	list[5].Name = "x/y" // on a server that parts names by "."
	for i, path := range [][]string{{"Sub", "a"}, {"b"}} {
		list[i+1].Name = "INBOX." + strings.Join(path, ".")
	}
	got, err := placed(t, FolderRules{}, list,
		&FolderCursor{Name: "INBOX.Sub.a", Path: []string{"Sub", "a"}, Place: []string{"Sub", "a"}, Target: TargetFolder{ID: "1"}},
		&FolderCursor{Name: "INBOX.b", Path: []string{"b"}, Place: []string{"b (2)"}, Target: TargetFolder{ID: "2"}},
		&FolderCursor{Name: "x/y", Path: []string{"x/y"}, Place: []string{"x_y (2)"}, Target: TargetFolder{ID: "3"}})
	if want := "INBOX:[inbox]\nINBOX.Sub.a:Sub>a\nINBOX.b:b (2)\nTop:Top\nx/y:x_y (2)\nx>y>z:x>y>z"; err != nil || got != want {
		t.Errorf("got\n%s\n%v, want\n%s", got, err, want)
	}
}

func TestTooDeep(t *testing.T) {
	deep := make([]string, 400)
	for i := range deep {
		deep[i] = fmt.Sprint(i % 10)
	}
	wide := slices.Repeat([]string{strings.Repeat("日", 255)}, 40)
	list := []SourceFolder{{Name: "deep", Path: deep, Selectable: true}, {Name: "deeper", Path: append(slices.Clone(deep), "x"), Selectable: true}, {Name: "wide", Path: wide, Selectable: true}}
	checkLayout(t, list, nil)
}

// checkLayout fails the test unless every folder has a place that Exchange takes, and no two the same.
// It returns cursors that have these places.
func checkLayout(t *testing.T, list []SourceFolder, held []*FolderCursor) []*FolderCursor {
	t.Helper()
	rules, err := FolderRules{IncludeShared: true, IncludeOtherUsers: true}.compile()
	if err != nil {
		t.Fatal(err)
	}
	l, err := layOut(list, rules, held)
	if err != nil {
		t.Fatal(err)
	}
	seen, cursors := make(map[string]string), slices.Clone(held)
	for _, f := range list {
		if !f.Selectable || l.reason(f) != "" {
			continue
		}
		use, place := l.at[pathKey(f.Path)].address()
		if len(place) == 0 || len(place) > maxFolderDepth+1 {
			t.Fatalf("%q is %d folders deep", f.Path, len(place))
		}
		octets := 0
		for i, name := range place {
			if cleaned, _ := cleanName(name, false); cleaned != name || name == "" || len(utf16.Encode([]rune(name))) > maxFolderName || !utf8.ValidString(name) {
				t.Fatalf("%q goes to %q", f.Path, place)
			}
			if i == 0 && use == "" && reserved(name) {
				t.Fatalf("%q goes to the reserved %q", f.Path, place)
			}
			octets += wireLength(name) + 1
		}
		if octets > maxFolderPath+maxFolderName*3 {
			t.Fatalf("%q takes %d octets", f.Path, octets)
		}
		key := string(use) + foldName(pathKey(place))
		if other, twice := seen[key]; twice && other != pathKey(f.Path) && use == "" {
			t.Fatalf("%q and %s both go to %q", f.Path, other, place)
		}
		seen[key] = pathKey(f.Path)
		if i := slices.IndexFunc(cursors, func(c *FolderCursor) bool { return c.Name == f.Name }); i >= 0 {
			if cursors[i].Use != use || !slices.Equal(cursors[i].Place, place) {
				t.Fatalf("%q has moved from %q to %q", f.Path, cursors[i].Place, place)
			}
			continue
		}
		cursors = append(cursors, &FolderCursor{Name: f.Name, Path: f.Path, Use: use, Place: place, Target: TargetFolder{ID: key}})
	}
	return cursors
}

// TestPlacesStay lets folders come and go at random: what has a place keeps it.
func TestPlacesStay(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"a", "A", "a (2)", "A ", "b/c", "b_c", "Notes", "Inbox", "notes", "é"}
	for range 300 {
		var all []SourceFolder
		known := make(map[string]bool)
		for range 12 {
			var path []string
			for range 1 + r.IntN(3) {
				path = append(path, names[r.IntN(len(names))])
			}
			f := SourceFolder{Name: strings.Join(path, "\x01"), Path: path, Selectable: r.IntN(5) > 0}
			if !known[f.Name] {
				known[f.Name] = true
				all = append(all, f)
			}
		}
		var held []*FolderCursor
		for range 4 {
			some := slices.DeleteFunc(slices.Clone(all), func(SourceFolder) bool { return r.IntN(3) == 0 })
			held = checkLayout(t, some, held)
		}
	}
}

func FuzzPlacement(f *testing.F) {
	f.Add("a>b\na>B\nA\n \n>\nFiles", uint8(3))
	f.Add("INBOX=inbox\nSent=sent\nsent>x\nCalendar\n\x00\x01\nn\u0303", uint8(1))
	f.Fuzz(func(t *testing.T, text string, drop uint8) {
		var list []SourceFolder
		known := make(map[string]bool)
		for i, line := range strings.Split(text, "\n") {
			path := strings.Split(line, ">")
			if i == 200 || known[line] || len(path) > 60 {
				return
			}
			known[line] = true
			list = append(list, SourceFolder{Name: line, Path: path, Selectable: true})
		}
		some := slices.Clone(list)
		if n := int(drop) % len(list); n > 0 {
			some = slices.Delete(some, 0, n)
		}
		held := checkLayout(t, some, nil)
		held = checkLayout(t, list, held)
		checkLayout(t, some, held)
	})
}

func FuzzRules(f *testing.F) {
	f.Add("a/*", "b/*", "a/c")
	f.Add(`re:^(a)(b)?`, "$1x", "ab")
	f.Add(`#Inbox#/**/x\/`, "#Archive#", "INBOX/q/x")
	f.Fuzz(func(t *testing.T, from, to, folder string) {
		rules, err := FolderRules{IncludeFolders: []string{from}, ExcludeFolders: []string{from}, TargetFolder: to, FolderMap: []FolderMapping{{From: from, To: to, Merge: true}}}.compile()
		if err != nil {
			return
		}
		if path := splitPath(folder); len(path) > 0 {
			if _, err := layOut([]SourceFolder{{Name: folder, Path: path, Selectable: true}}, rules, nil); err != nil {
				t.Error(err)
			}
			if again := splitPath(joinPath(path)); !slices.Equal(again, path) {
				t.Errorf("%q is written %q, which reads %q", path, joinPath(path), again)
			}
		}
		rules.exclude, rules.include, rules.target = nil, nil, nil
		l, err := layOut(box("INBOX=inbox", "a", "a>c", "ab"), rules, nil)
		if err != nil {
			return
		}
		for _, s := range l.at {
			if use, place := s.address(); len(place) == 0 || use == "" && place[0] == "" {
				t.Errorf("a place is %q %q", use, place)
			}
		}
	})
}

func TestRulesThatAreWrong(t *testing.T) {
	for want, rules := range map[string]FolderRules{
		"includeFolders: \"\": it names no folder":                         {IncludeFolders: []string{""}},
		"excludeFolders: \"re:(\": error parsing regexp":                   {ExcludeFolders: []string{"re:("}},
		"#sent# is none of #archive#, #deleteditems#":                      {ExcludeFolders: []string{"#sent#/x"}},
		"folderMap: \"a\" to \"\": it names no folder":                     {FolderMap: []FolderMapping{{From: "a"}}},
		"it has more \"*\" than what it is made from":                      {FolderMap: []FolderMapping{{From: "a", To: "b/*"}}},
		"the name \"Calendar\" is not taken by Exchange":                   {FolderMap: []FolderMapping{{From: "a", To: "Calendar/x"}}},
		"targetFolder: \"#Outbox#\": #Outbox# is none of":                  {TargetFolder: "#Outbox#"},
		"targetFolder: \"a/b \": the name \"b \" is not taken by Exchange": {TargetFolder: "a/b "},
		"targetFolder: \"/\": it names no folder":                          {TargetFolder: "/"},
		"excludeFolders: \"re:\": the regular expression is":               {ExcludeFolders: []string{"re:"}},
		"the regular expression has no group \"1_old\"":                    {FolderMap: []FolderMapping{{From: "re:^(.*)$", To: "Archive/$1_old"}}},
		"the regular expression has no group \"2\"":                        {FolderMap: []FolderMapping{{From: "re:^(.*)$", To: "a/${2}"}}},
		"the regular expression has no group \"01\"":                       {FolderMap: []FolderMapping{{From: "re:^(.*)$", To: "$01"}}},
		"the regular expression has no group \"q\"":                        {FolderMap: []FolderMapping{{From: "re:^(?P<p>.*)$", To: "$p/$q"}}},
		"excludeFolders: \"Public\\\\Old\": \"\\\" stands before 'O'":      {ExcludeFolders: []string{`Public\Old`}},
		"includeFolders: \"a\\\\\": nothing follows the last":              {IncludeFolders: []string{`a\`}},
		"targetFolder: \"Old\\\\2019\": \"\\\" stands before '2'":          {TargetFolder: `Old\2019`},
		"folderMap: \"a\" to \"b\\\\c\"":                                   {FolderMap: []FolderMapping{{From: "a", To: `b\c`}}},
		"invalid repeat count":                                             {ExcludeFolders: []string{"re:a{1001}"}},
		"error parsing regexp: invalid repeat count: `{100}`":              {ExcludeFolders: []string{"re:((((a{100}){100}){100}){100})"}},
	} {
		if _, err := rules.compile(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}

func TestFolderNotes(t *testing.T) {
	rules, err := FolderRules{ExcludeFolders: []string{"no"}}.compile()
	if err != nil {
		t.Fatal(err)
	}
	list := box("INBOX=inbox", "no", "a/b", "w", "W", "Sent=sent", "Gesendet=sent", "x>y@shared", "x>z@shared", "u@other-users", "Notes", "All=all", "Starred=flagged")
	list[2].Odd = "the server's name is no valid modified UTF-7"
	l, err := layOut(list, rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range l.notes(list, nil) {
		got = append(got, n.Folder+" > "+n.Target+": "+n.Text)
	}
	want := []string{
		"no > : left out by excludeFolders",
		`a\/b > a_b: the name had to be changed: "/" or "\"; the server's name is no valid modified UTF-7`,
		"w > w (2): the name had to be changed: another folder has the name",
		`Gesendet > Sent Items: shares its folder with "Sent"`,
		"Notes > Notes (mail): the name had to be changed: Exchange keeps the name for itself",
		"Starred > : shows messages of other folders only",
		" > : folders of other users stay behind (1); includeOtherUsers brings them",
		" > : folders of shared namespaces stay behind (2); includeShared brings them",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// BenchmarkPlacement places 5,000 folders with ten rules, half of them held.
func BenchmarkPlacement(b *testing.B) {
	var list []SourceFolder
	for i := range 5000 {
		path := []string{fmt.Sprint("top", i%50), fmt.Sprint("mid", i%700), fmt.Sprint("leaf", i)}
		list = append(list, SourceFolder{Name: strings.Join(path, "/"), Path: path, Selectable: true})
	}
	rules := FolderRules{}
	for i := range 10 {
		rules.FolderMap = append(rules.FolderMap, FolderMapping{From: fmt.Sprint("top", i, "/mid*"), To: fmt.Sprint("T", i, "/m*")})
		rules.ExcludeFolders = append(rules.ExcludeFolders, fmt.Sprint("**/leaf", i))
	}
	compiled, err := rules.compile()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := layOut(list, compiled, nil); err != nil {
			b.Fatal(err)
		}
	}
}
