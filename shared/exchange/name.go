package exchange

import (
	"strings"
	"unicode"
	"unicode/utf16"

	"golang.org/x/text/unicode/norm"
)

// maxFolderName is the length of PR_DISPLAY_NAME that Exchange takes, in UTF-16 units.
const maxFolderName = 255

// folderName makes a name that Exchange takes and IMAP can address: "/" parts folders there and "\"
// is refused by some clients, so both become "_"; control characters and outer white space go. A
// folder "Files" at the top is kept by Exchange for itself in IMAP (imapsync, FAQ.Office365).
func folderName(name string, top bool) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case r == '/' || r == '\\':
			return '_'
		case unicode.IsControl(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, "_"))
	name = strings.TrimSpace(cutTo(strings.TrimSpace(name), maxFolderName))
	if name == "" {
		return "_"
	}
	if top && strings.EqualFold(name, "Files") {
		return name + "_"
	}
	return name
}

// cutTo ends a name at a length in UTF-16 units.
func cutTo(name string, length int) string {
	units := 0
	for i, r := range name {
		if units += utf16.RuneLen(r); units > length {
			return name[:i]
		}
	}
	return name
}

// nameKey is equal for names that Exchange takes for one: it ignores case, and may ignore how a letter
// with an accent is composed.
func nameKey(name string) string { return strings.ToLower(norm.NFC.String(name)) }

// imapName is the folder's name in IMAP, whose separator is "/" at Exchange.
func imapName(path []string) string { return strings.Join(path, "/") }
