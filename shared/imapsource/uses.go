package imapsource

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// byAttribute are the attributes that tell a role, in lower case: of SPECIAL-USE (RFC 6154 section 2,
// RFC 8457), and of XLIST, its ancestor, where it has other words (Zimbra's ImapHandler.getFolderAttrs).
var byAttribute = map[string]migrate.SpecialUse{
	`\sent`: migrate.UseSent, `\trash`: migrate.UseTrash, `\junk`: migrate.UseJunk, `\drafts`: migrate.UseDrafts, `\archive`: migrate.UseArchive,
	`\all`: migrate.UseAll, `\flagged`: migrate.UseFlagged, `\important`: migrate.UseImportant,
	`\spam`: migrate.UseJunk, `\allmail`: migrate.UseAll, `\starred`: migrate.UseFlagged,
}

// assignUses gives the user's own folders their roles. What the server marks has its role; if it marks
// several, the first and those at the top (RFC 6154 section 2 allows several): what a server marks below
// Archive are the years. A folder at the top with a usual name has that role too, since every mail program
// may have made its own.
func assignUses(folders []migrate.SourceFolder, attributes [][]imap.MailboxAttr) {
	marked := map[migrate.SpecialUse]bool{}
	for i := range folders {
		f := &folders[i]
		if f.Space != migrate.Own || f.Use != "" && !hasViewAttr(attributes[i]) {
			continue
		}
		if len(f.Path) == 1 && strings.EqualFold(f.Path[0], "INBOX") && !marked[migrate.UseInbox] {
			f.Use = migrate.UseInbox
			marked[migrate.UseInbox] = true
			continue
		}
		for _, attr := range attributes[i] {
			use := byAttribute[strings.ToLower(string(attr))]
			if use != "" && (f.Use == "" || f.Use == migrate.UseVirtual) && (use.View() || !marked[use] || atTop(f.Path)) {
				f.Use = use
				marked[use] = true
			}
		}
	}
	for i := range folders {
		f := &folders[i]
		if f.Use == "" && f.Space == migrate.Own && atTop(f.Path) {
			f.Use = byName[fold(f.Path[len(f.Path)-1])]
		}
	}
}

// hasViewAttr reports whether the server says which view a virtual folder is.
func hasViewAttr(attributes []imap.MailboxAttr) bool {
	return slices.ContainsFunc(attributes, func(a imap.MailboxAttr) bool { return byAttribute[strings.ToLower(string(a))].View() })
}

// atTop reports whether a path is at the top or right below INBOX.
func atTop(path []string) bool {
	return len(path) == 1 || len(path) == 2 && strings.EqualFold(path[0], "INBOX")
}
