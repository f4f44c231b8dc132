package store

import (
	"slices"
	"strings"
)

// Ids of the folders every mailbox has.
const (
	RootID uint64 = iota + 1
	InboxID
	DraftsID
	SentItemsID
	DeletedItemsID
	JunkEmailID
	ArchiveID
	OutboxID
	ConversationHistoryID
	RecoverableID
	CalendarID
	ContactsID
	TasksID
	NotesID
	JournalID
	firstFolderID = 100 // of folders that somebody creates
)

type wellKnownFolder struct {
	id          uint64
	key, en, de string
	class       string // "" is ClassNote
}

// wellKnown lists the default folders with Graph's well-known name
// (https://learn.microsoft.com/graph/api/resources/mailfolder) and the display
// names Exchange gives them by Set-MailboxRegionalConfiguration
// -LocalizeDefaultFolderName.
var wellKnown = []wellKnownFolder{
	{RootID, "msgfolderroot", "Top of Information Store", "Oberste Ebene des Informationsspeichers", ""},
	{InboxID, "inbox", "Inbox", "Posteingang", ""},
	{DraftsID, "drafts", "Drafts", "Entwürfe", ""},
	{SentItemsID, "sentitems", "Sent Items", "Gesendete Elemente", ""},
	{DeletedItemsID, "deleteditems", "Deleted Items", "Gelöschte Elemente", ""},
	{JunkEmailID, "junkemail", "Junk Email", "Junk-E-Mail", ""},
	{ArchiveID, "archive", "Archive", "Archiv", ""},
	{OutboxID, "outbox", "Outbox", "Postausgang", ""},
	{ConversationHistoryID, "conversationhistory", "Conversation History", "Aufgezeichnete Unterhaltungen", ""},
	{RecoverableID, "recoverableitemsdeletions", "Deletions", "Deletions", ""},

	// No mail folders: Graph does not list them among those, IMAP does (QuickMail
	// issue 613, libremail issue 120), and their names are taken.
	{CalendarID, "calendar", "Calendar", "Kalender", "IPF.Appointment"},
	{ContactsID, "contacts", "Contacts", "Kontakte", "IPF.Contact"},
	{TasksID, "tasks", "Tasks", "Aufgaben", "IPF.Task"},
	{NotesID, "notes", "Notes", "Notizen", "IPF.StickyNote"},
	{JournalID, "journal", "Journal", "Journal", "IPF.Journal"},
}

func (w wellKnownFolder) name(language string) string {
	if strings.HasPrefix(strings.ToLower(language), "de") {
		return w.de
	}
	return w.en
}

// unmade are well-known folders that a mailbox gets when somebody needs them;
// those here never do.
var unmade = []string{
	"clutter", "conflicts", "localfailures", "scheduled", "searchfolders", "serverfailures", "syncissues",
}

// unmadeID is the id of no folder.
const unmadeID = firstFolderID - 1

// WellKnownID returns the id of the mail folder that Graph calls name. The mailbox
// need not have it.
func WellKnownID(name string) (uint64, bool) {
	for _, w := range wellKnown {
		if w.class == "" && strings.EqualFold(w.key, name) {
			return w.id, true
		}
	}
	known := slices.ContainsFunc(unmade, func(n string) bool { return strings.EqualFold(n, name) })
	return unmadeID, known
}
