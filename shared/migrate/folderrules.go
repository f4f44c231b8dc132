package migrate

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// FolderRules are the administrator's word on which folders of the source come and where they go.
//
// A pattern names folders by their path at the source, segments joined by "/", without regard to
// case. Within a segment "*" stands for any characters and "?" for one; the segment "**" stands for
// any number of segments; "\" takes away the meaning of what follows, also of a "/" that belongs to a
// name. The first segment can be a role: #Inbox#, #SentItems#, #DeletedItems#, #JunkEmail#, #Drafts#
// or #Archive#. Behind "re:" stands a regular expression (RE2) instead, which is looked for in the
// path, where "/" and "\" within a name are written "\/" and "\\".
type FolderRules struct {
	IncludeFolders    []string        `json:"includeFolders,omitempty"`    // only these come, with what is below them; default all
	ExcludeFolders    []string        `json:"excludeFolders,omitempty"`    // these stay, with what is below them
	FolderMap         []FolderMapping `json:"folderMap,omitempty"`         // the first that fits a folder decides
	TargetFolder      string          `json:"targetFolder,omitempty"`      // everything goes below this folder, INBOX and Sent too
	IncludeShared     bool            `json:"includeShared,omitempty"`     // also folders of shared namespaces (RFC 2342)
	IncludeOtherUsers bool            `json:"includeOtherUsers,omitempty"` // also folders of other users' namespaces
	Labels            LabelRule       `json:"labels,omitempty"`            // of a server whose folders are labels, such as Gmail
}

// LabelRule says where a message comes that the source shows in several folders.
type LabelRule string

// The rules. With LabelsOnce, a folder without a role brings only what is nowhere at the target, as a view
// does: a message comes into the folder of its role, else into that of its first label.
const (
	LabelsAsFolders LabelRule = "folders" // into each of them; also if none is set
	LabelsOnce      LabelRule = "once"    // into one
)

// FolderMapping sends the folders that From fits to To. What lies below them goes with them unless
// another mapping fits it. "*" in To stands for what the same "*" of From stood for; after "re:" the
// part of the path that fits is replaced by To, in which $1 stands for the first group.
type FolderMapping struct {
	From  string `json:"from"`
	To    string `json:"to"`              // a path from the top of the target mailbox, which can begin with a role
	Merge bool   `json:"merge,omitempty"` // other folders may go there too; else that is an error
}

// Spaces are the namespaces of others that are to come.
func (r FolderRules) Spaces() (spaces []Space) {
	if r.IncludeOtherUsers {
		spaces = append(spaces, OtherUsers)
	}
	if r.IncludeShared {
		spaces = append(spaces, Shared)
	}
	return spaces
}

// fingerprint tells rules apart.
func (r FolderRules) fingerprint() string {
	content, err := json.Marshal(r)
	if err != nil {
		return err.Error() // strings and booleans always encode
	}
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:8])
}

// roleNames are the well-known folders in the native tool's writing (New-MigrationBatch -ExcludeFolders).
var roleNames = map[string]SpecialUse{
	"#inbox#": UseInbox, "#sentitems#": UseSent, "#deleteditems#": UseTrash, "#junkemail#": UseJunk, "#drafts#": UseDrafts, "#archive#": UseArchive,
}

// compiledRules can be asked.
type compiledRules struct {
	include, exclude []pattern
	mappings         []mapping
	target           []string // nil: none
	spaces           []Space
	once             bool // LabelsOnce
}

type mapping struct {
	FolderMapping
	from pattern
}

// compile reads the rules. The error names every one that is wrong.
func (r FolderRules) compile() (*compiledRules, error) {
	c := &compiledRules{spaces: r.Spaces(), once: r.Labels == LabelsOnce}
	var errs []error
	if !slices.Contains([]LabelRule{"", LabelsAsFolders, LabelsOnce}, r.Labels) {
		errs = append(errs, fmt.Errorf("labels %q is none of folders, once", r.Labels))
	}
	list := func(field string, texts []string) (patterns []pattern) {
		for _, text := range texts {
			p, err := parsePattern(text, true)
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %q: %w", field, text, err))
			}
			patterns = append(patterns, p)
		}
		return patterns
	}
	c.include, c.exclude = list("includeFolders", r.IncludeFolders), list("excludeFolders", r.ExcludeFolders)
	for _, m := range r.FolderMap {
		from, err := parsePattern(m.From, false)
		if err == nil {
			err = checkTo(m, from)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("folderMap: %q to %q: %w", m.From, m.To, err))
		}
		c.mappings = append(c.mappings, mapping{m, from})
	}
	if r.TargetFolder != "" {
		c.target = splitPath(r.TargetFolder)
		if err := cmp.Or(checkEscapes(r.TargetFolder), checkTarget(c.target)); err != nil {
			errs = append(errs, fmt.Errorf("targetFolder: %q: %w", r.TargetFolder, err))
		}
	}
	return c, errors.Join(errs...)
}

func checkTo(m FolderMapping, from pattern) error {
	if err := checkEscapes(m.To); err != nil {
		return err
	}
	if from.re != nil {
		return checkGroups(m.To, from.re) // what comes out is cleaned like any other name
	}
	if strings.Count(m.To, "*") > from.stars {
		return errors.New(`it has more "*" than what it is made from`)
	}
	return checkTarget(splitPath(m.To))
}

// groupReference is what regexp.Expand takes for a group, or for a "$".
var groupReference = regexp.MustCompile(`\$(?:\$|([\pL\p{Nd}_]+)|\{([\pL\p{Nd}_]+)\})`)

// checkGroups refuses a reference to a group that the expression does not have, which would stand for
// nothing: "$1x" is the group "1x".
func checkGroups(to string, re *regexp.Regexp) error {
	for _, found := range groupReference.FindAllStringSubmatch(to, -1) {
		name := found[1] + found[2]
		n, err := strconv.Atoi(name)
		switch {
		case name == "", re.SubexpIndex(name) >= 0:
		case err != nil || strconv.Itoa(n) != name || n > re.NumSubexp():
			return fmt.Errorf("the regular expression has no group %q; the first one is $1, or ${1} where a letter, digit or _ follows", name)
		}
	}
	return nil
}

// checkTarget refuses a path that no folder of the target can have.
func checkTarget(path []string) error {
	if len(path) == 0 {
		return errors.New("it names no folder")
	}
	for i, name := range path {
		if i == 0 && strings.HasPrefix(name, "#") && strings.HasSuffix(name, "#") && len(name) > 1 {
			if roleNames[strings.ToLower(name)] == "" {
				return fmt.Errorf("%s is none of %s", name, strings.Join(slices.Sorted(maps.Keys(roleNames)), ", "))
			}
			continue
		}
		if _, why := cleanName(name, i == 0); why != "" {
			return fmt.Errorf("the name %q is not taken by Exchange: %s", name, why)
		}
	}
	if len(path) > maxFolderDepth {
		return fmt.Errorf("it is deeper than %d folders", maxFolderDepth)
	}
	return nil
}

// left says why a folder does not come; empty is that it comes.
func (c *compiledRules) left(f SourceFolder, role rolePath) string {
	fits := func(patterns []pattern) bool {
		return slices.ContainsFunc(patterns, func(p pattern) bool { return p.fits(f.Path, role) })
	}
	switch {
	case f.Space != Own && !slices.Contains(c.spaces, f.Space):
		return "belongs to others"
	case fits(c.exclude):
		return "left out by excludeFolders"
	case len(c.include) > 0 && !fits(c.include):
		return "not among includeFolders"
	}
	return ""
}

// label reports whether a folder is one label of several that its messages may have.
func (c *compiledRules) label(f SourceFolder) bool { return c.once && f.Use == "" && f.Space == Own }

// mapped returns where the administrator's mapping sends a folder.
func (c *compiledRules) mapped(from []string, role rolePath) (to []string, merge, ok bool) {
	for _, m := range c.mappings {
		if to, ok := m.from.replace(from, role, m.To); ok {
			path := splitPath(to)
			// An expression that fits the empty text, such as "( old)?$", fits every folder and changes few.
			return path, m.Merge, len(path) > 0 && (m.from.re == nil || !slices.Equal(path, from))
		}
	}
	return nil, false, false
}

// regexpPrefix begins a pattern that is a regular expression.
const regexpPrefix = "re:"

// pattern is a compiled pattern.
type pattern struct {
	re    *regexp.Regexp // of a regular expression
	path  *regexp.Regexp // of a path, against segments that are parted by NUL
	stars int
}
