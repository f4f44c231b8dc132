// Package layering checks that imports point inwards: handlers wire, adapters know the domain, the
// domain knows nobody, and adapters don't know each other.
package layering

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const (
	module = "mailferry/"
	domain = "mailferry/shared/migrate"
)

// adapters may import of this module only the domain.
var adapters = []string{"imapsource", "exchange", "blobstore", "wakeups", "credentials", "roster"}

// owners are the only packages of shared/ and handlers/ that may import a client library.
var owners = []struct {
	library string
	by      []string
}{
	{"github.com/microsoftgraph/msgraph-sdk-go", []string{"exchange"}},
	{"github.com/microsoftgraph/msgraph-sdk-go-core", []string{"exchange"}},
	{"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob", []string{"blobstore"}},
	{"github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus", []string{"wakeups"}},
	{"github.com/emersion/go-imap/v2", []string{"imapsource", "exchange"}},
}

// shapes are names that say what a package looks like and not what it provides.
var shapes = []string{"util", "utils", "common", "helper", "helpers", "model", "models", "shared"}

// pkg is a package of this module with the imports of its non-test files, as go list prints it.
type pkg struct {
	ImportPath, Name, Dir string
	Imports               []string
}

// violations returns a sentence for each import and name that breaks a rule.
func violations(p pkg) []string {
	var broken []string
	if slices.Contains(shapes, p.Name) {
		broken = append(broken, fmt.Sprintf("%s is named for its shape: %s", p.ImportPath, p.Name))
	}
	for _, imported := range p.Imports {
		if reason := forbidden(p.ImportPath, imported); reason != "" {
			broken = append(broken, fmt.Sprintf("%s imports %s: %s", p.ImportPath, imported, reason))
		}
	}
	return broken
}

// forbidden says why a package must not import another, or nothing.
func forbidden(path, imported string) string {
	product := within(path, module+"shared") || within(path, module+"handlers")
	switch {
	case path == domain && !standard(imported):
		return "the domain imports the standard library only"
	case within(imported, module+"handlers"):
		return "handlers are imported by nobody"
	case product && within(imported, module+"infra"):
		return "the program must not need its infrastructure"
	case isAdapter(path) && own(imported) && imported != domain:
		return "an adapter imports of this module only " + domain
	case within(path, domain) && own(imported) && imported != domain:
		return "what lies below the domain knows only the domain"
	}
	if !product {
		return ""
	}
	for _, o := range owners {
		if within(imported, o.library) && !slices.ContainsFunc(o.by, func(name string) bool { return within(path, module+"shared/"+name) }) {
			return "of shared and handlers, only " + strings.Join(o.by, " and ") + " may"
		}
	}
	return ""
}

func isAdapter(path string) bool {
	return slices.ContainsFunc(adapters, func(name string) bool { return path == module+"shared/"+name })
}

// within reports whether path is folder or lies below it.
func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func own(path string) bool { return strings.HasPrefix(path, module) }

// standard reports whether path is of the standard library, whose first element has no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return !own(path) && !strings.Contains(first, ".")
}

// strays returns what lies in functions/ besides one function.json in each folder.
func strays(functions fs.FS) ([]string, error) {
	var found []string
	err := fs.WalkDir(functions, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		depth, name := strings.Count(path, "/"), filepath.Base(path)
		folder := path == "." || (entry.IsDir() && depth == 0)
		if !folder && (entry.IsDir() || depth != 1 || name != "function.json") {
			found = append(found, path)
		}
		return nil
	})
	return found, err
}

const root = "../.."

func TestImportsPointInwards(t *testing.T) {
	list := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Name,Dir,Imports", "./...")
	var stderr bytes.Buffer
	list.Dir, list.Stderr = root, &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	seen := map[string]bool{}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		seen[p.ImportPath] = true
		look(t, p.Dir)
		for _, v := range violations(p) {
			t.Error(v)
		}
	}
	wanted := []string{domain, module + "handlers"}
	for _, name := range adapters {
		wanted = append(wanted, module+"shared/"+name)
	}
	for _, path := range wanted {
		if !seen[path] {
			t.Errorf("%s was not listed: a rule about it checks nothing", path)
		}
	}
}

// look reads a package's folder and the one above. The go command knows which folders a test read but
// not what its child processes did, and would take an old result from its cache.
func look(t *testing.T, dir string) {
	for _, folder := range []string{dir, filepath.Dir(dir)} {
		if _, err := os.ReadDir(folder); err != nil {
			t.Errorf("look at %s: %v", folder, err)
		}
	}
}

func TestFunctionFoldersHoldTheirFunctionOnly(t *testing.T) {
	folders, err := fs.Glob(os.DirFS(root), "functions/*/function.json")
	if err != nil || len(folders) == 0 {
		t.Fatalf("no function found: %v", err)
	}
	found, err := strays(os.DirFS(filepath.Join(root, "functions")))
	if err != nil || len(found) > 0 {
		t.Errorf("besides function.json there are %v (%v)", found, err)
	}
}

func TestEachRuleRefusesItsBreach(t *testing.T) {
	for _, c := range []struct {
		path, imported string
		broken         bool
	}{
		{domain, "net/mail", false},
		{domain, "golang.org/x/text/encoding", true},
		{domain, module + "shared/roster", true},
		{domain + "/migratetest", domain, false},
		{domain + "/migratetest", module + "shared/blobstore", true},
		{module + "shared/imapsource", domain, false},
		{module + "shared/imapsource", module + "shared/exchange", true},
		{module + "shared/roster", module + "shared/credentials", true},
		{module + "shared/intake", module + "shared/roster", false},
		{module + "shared/exchange", "github.com/microsoftgraph/msgraph-sdk-go/models", false},
		{module + "shared/migrate2", "github.com/microsoftgraph/msgraph-sdk-go/models", true},
		{module + "handlers", "github.com/microsoftgraph/msgraph-sdk-go-core", true},
		{module + "shared/blobstore", "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease", false},
		{module + "handlers", "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob", true},
		{module + "shared/wakeups", "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus", false},
		{module + "shared/intake", "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus", true},
		{module + "infra/local/functionhost", "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus", false},
		{module + "shared/imapsource", "github.com/emersion/go-imap/v2/imapclient", false},
		{module + "shared/exchange", "github.com/emersion/go-imap/v2", false},
		{module + "handlers", "github.com/emersion/go-imap/v2", true},
		{module + "handlers", module + "shared/exchange", false},
		{module + "handlers", module + "infra/local/stack", true},
		{module + "shared/settings", module + "infra/local/needs", true},
		{module + "infra/local/stack", module + "shared/blobstore", false},
		{module + "infra/local/stack", module + "handlers/envelope", true},
	} {
		if got := violations(pkg{ImportPath: c.path, Name: "x", Imports: []string{c.imported}}); (len(got) > 0) != c.broken {
			t.Errorf("%s importing %s: broken is %v, want %v", c.path, c.imported, got, c.broken)
		}
	}
	for _, name := range []string{"util", "common", "helpers", "models"} {
		if len(violations(pkg{ImportPath: module + "shared/" + name, Name: name})) == 0 {
			t.Errorf("a package named %s is let through", name)
		}
	}
}

func TestStrayFilesAreFound(t *testing.T) {
	found, err := strays(fstest.MapFS{
		"run/function.json": {}, "run/main.go": {}, "README.md": {}, "run/deep/function.json": {},
	})
	if want := []string{"README.md", "run/deep", "run/deep/function.json", "run/main.go"}; err != nil || !slices.Equal(found, want) {
		t.Errorf("found %v (%v), want %v", found, err, want)
	}
}
