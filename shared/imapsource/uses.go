package imapsource

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// byAttribute are the special-use attributes (RFC 6154 section 2).
var byAttribute = map[imap.MailboxAttr]migrate.SpecialUse{
	imap.MailboxAttrSent:    migrate.UseSent,
	imap.MailboxAttrTrash:   migrate.UseTrash,
	imap.MailboxAttrJunk:    migrate.UseJunk,
	imap.MailboxAttrDrafts:  migrate.UseDrafts,
	imap.MailboxAttrArchive: migrate.UseArchive,
	imap.MailboxAttrAll:     migrate.UseAll,
	imap.MailboxAttrFlagged: migrate.UseFlagged,
}

// byName are names that mail programs and servers give such folders, in lower case: English, German,
// French, Spanish and Italian.
var byName = map[string]migrate.SpecialUse{
	"sent": migrate.UseSent, "sent items": migrate.UseSent, "sent messages": migrate.UseSent, "sent mail": migrate.UseSent,
	"gesendet": migrate.UseSent, "gesendete objekte": migrate.UseSent, "gesendete elemente": migrate.UseSent, "gesendete nachrichten": migrate.UseSent,
	"envoyés": migrate.UseSent, "messages envoyés": migrate.UseSent, "éléments envoyés": migrate.UseSent, "courrier envoyé": migrate.UseSent,
	"enviados": migrate.UseSent, "elementos enviados": migrate.UseSent, "mensajes enviados": migrate.UseSent, "correo enviado": migrate.UseSent,
	"inviati": migrate.UseSent, "posta inviata": migrate.UseSent, "inviata": migrate.UseSent, "messaggi inviati": migrate.UseSent,

	"trash": migrate.UseTrash, "deleted": migrate.UseTrash, "deleted items": migrate.UseTrash, "deleted messages": migrate.UseTrash, "bin": migrate.UseTrash,
	"papierkorb": migrate.UseTrash, "gelöscht": migrate.UseTrash, "gelöschte objekte": migrate.UseTrash, "gelöschte elemente": migrate.UseTrash,
	"corbeille": migrate.UseTrash, "éléments supprimés": migrate.UseTrash, "messages supprimés": migrate.UseTrash,
	"papelera": migrate.UseTrash, "elementos eliminados": migrate.UseTrash,
	"cestino": migrate.UseTrash, "posta eliminata": migrate.UseTrash,

	"junk": migrate.UseJunk, "junk e-mail": migrate.UseJunk, "junk email": migrate.UseJunk, "junk mail": migrate.UseJunk, "spam": migrate.UseJunk, "bulk mail": migrate.UseJunk,
	"spamverdacht": migrate.UseJunk, "junk-e-mail": migrate.UseJunk, "unerwünscht": migrate.UseJunk,
	"courrier indésirable": migrate.UseJunk, "indésirables": migrate.UseJunk, "pourriel": migrate.UseJunk,
	"correo no deseado": migrate.UseJunk, "posta indesiderata": migrate.UseJunk,

	"drafts": migrate.UseDrafts, "draft": migrate.UseDrafts, "entwürfe": migrate.UseDrafts, "brouillons": migrate.UseDrafts, "borradores": migrate.UseDrafts, "bozze": migrate.UseDrafts,

	"archive": migrate.UseArchive, "archives": migrate.UseArchive, "archiv": migrate.UseArchive, "archivo": migrate.UseArchive, "archivio": migrate.UseArchive,
}

// assignUses gives folders their roles. The folder that the server marks wins, the first if it marks
// several; where it marks none, every folder with a usual name at the top has the role, since
// several mail programs may each have made their own.
func assignUses(folders []migrate.SourceFolder, attributes [][]imap.MailboxAttr) {
	marked := map[migrate.SpecialUse]bool{}
	for i := range folders {
		f := &folders[i]
		if len(f.Path) == 1 && strings.EqualFold(f.Path[0], "INBOX") && !marked[migrate.UseInbox] {
			f.Use = migrate.UseInbox
			marked[migrate.UseInbox] = true
			continue
		}
		for _, attr := range attributes[i] {
			if use := lookUp(attr); use != "" && f.Use == "" && !marked[use] {
				f.Use = use
				marked[use] = true
			}
		}
	}
	for i := range folders {
		f := &folders[i]
		if f.Use != "" || !f.Selectable || !atTop(f.Path) {
			continue
		}
		if use := byName[strings.ToLower(f.Path[len(f.Path)-1])]; !marked[use] {
			f.Use = use
		}
	}
}

func lookUp(attr imap.MailboxAttr) migrate.SpecialUse {
	for known, use := range byAttribute {
		if strings.EqualFold(string(known), string(attr)) {
			return use
		}
	}
	return ""
}

// atTop reports whether a path is at the top or right below INBOX.
func atTop(path []string) bool {
	return len(path) == 1 || len(path) == 2 && slices.ContainsFunc(path[:1], func(s string) bool { return strings.EqualFold(s, "INBOX") })
}
