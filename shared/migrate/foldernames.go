package migrate

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
)

// What Exchange takes of folders.
const (
	// maxFolderName is the length of a display name in UTF-16 units.
	maxFolderName = 255
	// maxFolderDepth stays below the 300 levels that Exchange takes ("Folder depth",
	// https://learn.microsoft.com/exchange/collaboration/public-folders/limits), some of which lie
	// above the folders that users see.
	maxFolderDepth = 280
	// maxFolderPath is the length of a whole path in octets of modified UTF-7: it has to fit into an
	// IMAP command, of which Exchange takes 10,240 (BAD Command Error. 10), with flags and date.
	maxFolderPath = 8000
)

// reservedNames are at the top of an Exchange mailbox: folders that hold no mail, folders that
// Outlook acts upon by itself, and "Files", which IMAP cannot make (imapsync, option --office2).
// Their names follow the mailbox's language; those of other languages the target finds out
// (https://learn.microsoft.com/graph/api/resources/mailfolder, MS-OXOSFLD section 2.2).
var reservedNames = []string{
	"Inbox", "Calendar", "Contacts", "Tasks", "Notes", "Journal", "Outbox", "Conversation History", "Files",
	"Sync Issues", "Conflicts", "Local Failures", "Server Failures", "RSS Feeds", "RSS Subscriptions", "Scheduled",
	"Clutter", "Search Folders", "Recoverable Items", "Suggested Contacts", "Quick Step Settings",
}

// reserved reports whether Exchange keeps a name at the top for itself.
func reserved(name string) bool {
	return slices.ContainsFunc(reservedNames, func(r string) bool { return strings.EqualFold(r, name) })
}

// foldName is equal for names that Exchange may take for one: it ignores case. Source paths are in
// Unicode NFC already.
func foldName(name string) string { return strings.ToLower(strings.ToUpper(name)) }

// cleanName makes a name that Exchange takes and that IMAP can address there. It says why the name
// had to be changed, or nothing.
func cleanName(raw string, top bool) (name, why string) {
	var reasons []string
	because := func(changed bool, reason string) {
		if changed {
			reasons = append(reasons, reason)
		}
	}
	name = strings.ToValidUTF8(raw, "_")
	because(name != raw, "octets that are no UTF-8")
	printable := strings.Map(dropControl, name)
	because(printable != name, "control characters")
	flat := strings.NewReplacer("/", "_", `\`, "_").Replace(printable) // "/" parts folders in Exchange's IMAP
	because(flat != printable, `"/" or "\"`)
	trimmed := strings.TrimSpace(flat)
	because(trimmed != flat && trimmed != "", "outer white space")
	because(trimmed == "", "no name at all")
	if trimmed == "" {
		trimmed = "_"
	}
	name = cutName(trimmed, maxFolderName)
	because(name != trimmed, "more than 255 characters")
	if top && reserved(name) {
		name += " (mail)"
		because(true, "Exchange keeps the name for itself")
	}
	return name, strings.Join(reasons, ", ")
}

// dropControl leaves out control characters and what is no character.
func dropControl(r rune) rune {
	if unicode.IsControl(r) || r == 0xfffe || r == 0xffff || r == 0x2028 || r == 0x2029 {
		return -1
	}
	return r
}

// cutName ends a name at a length in UTF-16 units.
func cutName(name string, length int) string {
	units := 0
	for i, r := range name {
		if units += utf16.RuneLen(r); units > length {
			return strings.TrimSpace(name[:i])
		}
	}
	return name
}

// numbered is the n-th name for folders that want the same one; the first is the name itself.
func numbered(name string, n int) string {
	if n == 1 {
		return name
	}
	suffix := fmt.Sprintf(" (%d)", n)
	return cutName(name, maxFolderName-len(suffix)) + suffix
}

// wireLength is how many octets a name takes in modified UTF-7, or a few more.
func wireLength(name string) int {
	octets, units := 0, 0
	flush := func() {
		if units > 0 {
			octets += 3 + (units*16+5)/6
		}
		units = 0
	}
	for _, r := range name {
		switch {
		case r == '&':
			flush()
			octets += 2
		case r < 0x80:
			flush()
			octets++
		default:
			units += utf16.RuneLen(r)
		}
	}
	flush()
	return octets
}
