package migrate

import (
	"context"
	"io"
)

// SpecialUse is a folder's role (RFC 6154). Empty is an ordinary folder.
type SpecialUse string

// The roles that the target has a folder for.
const (
	UseInbox   SpecialUse = "inbox"
	UseSent    SpecialUse = "sent"
	UseTrash   SpecialUse = "trash"
	UseJunk    SpecialUse = "junk"
	UseDrafts  SpecialUse = "drafts"
	UseArchive SpecialUse = "archive"
)

// The roles of folders that hold nothing of their own: they show what other folders hold.
const (
	UseAll       SpecialUse = "all"       // every message (RFC 6154)
	UseFlagged   SpecialUse = "flagged"   // those that are flagged (RFC 6154)
	UseImportant SpecialUse = "important" // those that the server holds for important (RFC 8457)
	UseVirtual   SpecialUse = "virtual"   // those that match a search, such as below Dovecot's virtual/
)

// View reports whether a folder of this role shows what other folders hold.
func (u SpecialUse) View() bool {
	return u == UseAll || u == UseFlagged || u == UseImportant || u == UseVirtual
}

// Space says whose a folder is (RFC 2342).
type Space string

// The spaces.
const (
	Own        Space = ""            // of the mailbox itself
	OtherUsers Space = "other-users" // of somebody who shares it
	Shared     Space = "shared"      // of nobody, such as public folders
)

// SourceFolder is a folder of the source server.
type SourceFolder struct {
	Name       string     // as the server names it, decoded to UTF-8: what Open takes
	Path       []string   // its segments in Unicode NFC, without separators and the personal namespace's prefix; never empty
	Use        SpecialUse // by the server's word, else by its usual name
	Selectable bool       // false for \Noselect and \NonExistent
	Space      Space
	Odd        string // what of the name could not be read as the server wrote it, for the report; mostly empty

	State FolderState // as the server told it with the list; zero where it did not
}

// FolderState is what EXAMINE or STATUS said. It can be stored.
type FolderState struct {
	UIDValidity   uint32 `json:"uidValidity"`
	UIDNext       UID    `json:"uidNext"`
	Messages      int    `json:"messages"`
	HighestModSeq uint64 `json:"highestModSeq,omitempty"` // 0: the server keeps none
}

// Surveyed is what a folder holds.
type Surveyed struct {
	State     FolderState
	UIDs      UIDSet
	Described []MessageInfo // all of them
}

// Source reads one mailbox of one source server. It never changes anything there: EXAMINE and
// BODY.PEEK[] only. One goroutine at a time; Close may be called from any and ends a call under way.
//
// Every error is a *Error or the context's.
type Source interface {
	// Folders lists every folder of the mailbox, in a stable order.
	Folders(ctx context.Context) ([]SourceFolder, error)

	// States says of folders what Open would, without opening them and in few round trips. A folder
	// that is left out has to be opened: the current one always is. Names are those of Folders, which
	// was called before; of many folders it has told the state already.
	States(ctx context.Context, names []string) (map[string]FolderState, error)

	// Sizes says of folders how many octets their messages have in all. A folder that is left out has to be
	// estimated: the server does not tell it, or it is the current one. It may take long, as the server may
	// read every message for it. What was told before an error comes with it. Names are as with States.
	Sizes(ctx context.Context, names []string) (map[string]int64, error)

	// Open makes a folder current with EXAMINE. An open folder may be opened again to see news.
	Open(ctx context.Context, name string) (FolderState, error)

	// Survey is Open, then UIDs of all, then Describe of those few, in one round trip where the server
	// lets it. A few may be EveryUID. Of some it may say nothing. A folder that the server does not list, or at which
	// it ends one connection after the other although it opens INBOX, is an Error of kind NoFolder.
	Survey(ctx context.Context, name string, few UIDSet) (FolderState, UIDSet, []MessageInfo, error)

	// SurveyNew surveys several small folders and describes every message, in one round trip. It ends
	// before the first folder of which the server does not say all this.
	SurveyNew(ctx context.Context, names []string) ([]Surveyed, error)

	// Aim makes a folder current that was opened before, be it by another Source, and hands over what
	// is known of messages there. It takes no round trip: the next call opens the folder, Fetch together
	// with what it asks for. That call fails, with kind Unreachable, if the UIDVALIDITY is another now.
	Aim(name string, validity uint32, known []MessageInfo)

	// UIDs returns the UIDs in first..last of the current folder that exist now.
	UIDs(ctx context.Context, first, last UID) (UIDSet, error)

	// Describe yields what is known of each existing message of uids, in no order and each at most
	// once. An error of yield ends the call and is returned.
	Describe(ctx context.Context, uids UIDSet, yield func(MessageInfo) error) error

	// Headers is Describe with the message's header block. One that does not come, even asked for
	// alone, is left out.
	Headers(ctx context.Context, uids UIDSet, yield func(info MessageInfo, header []byte) error) error

	// Fetch yields each message of uids with its octets, in no order and each at most once. The
	// reader is valid until yield returns; it gives the whole literal and then io.EOF, or an error
	// that is not io.EOF. What yield leaves unread is skipped. A UID that is gone is not yielded,
	// without an error: the caller subtracts. An error of yield
	// ends the call and is returned as it is.
	//
	// A message that exists and does not come, even asked for alone, is yielded with 0 octets and a
	// reader that fails with an *Error of kind Unreadable, which holds the server's words. Where it
	// may as well be the server that is ill, the call ends with an Error of kind Unreachable that
	// names the message.
	Fetch(ctx context.Context, uids UIDSet, yield func(info MessageInfo, octets int64, body io.Reader) error) error

	// Close ends the connection. It never blocks on the server.
	Close() error
}

// DialSource signs in to the mailbox's server.
type DialSource func(ctx context.Context, endpoint Endpoint, mailbox Mailbox) (Source, error)
