package migrate

import (
	"context"
	"time"
)

// TargetMailbox is a mailbox of the target as the directory knows it.
type TargetMailbox struct {
	GUID    string // of the mailbox; stays when addresses change; lower case
	UserID  string // the directory object that owns it
	Address string // primary SMTP address
}

// Directory finds mailboxes of the target.
type Directory interface {
	// Resolve finds the mailbox that receives mail for address, which may be any of its proxy
	// addresses. An unlicensed or disabled user with a mailbox (a shared mailbox) is found like any
	// other. No mailbox is a *Error of kind NoMailbox, whose Err says which case it is.
	Resolve(ctx context.Context, address string) (TargetMailbox, error)
}

// TargetFolder is a folder of the target mailbox. It can be stored.
type TargetFolder struct {
	ID   string   `json:"id"`   // opaque, of the directory of folders
	Path []string `json:"path"` // as users see it, for writers that address by name and for reports
}

// LargestMessage is how many octets a message may have that the target takes: MaxReceiveSize of an Exchange
// Online mailbox can be set to 150 MB at most
// (https://learn.microsoft.com/office365/servicedescriptions/exchange-online-service-description/exchange-online-limits#message-limits).
const LargestMessage = 150 << 20

// Receipt is the target's word that it has a message.
type Receipt struct {
	UIDValidity uint32 // of the folder, by APPENDUID (RFC 4315); 0 if the target gave none
	UID         UID
}

// Found is a message of the target, as far as comparing needs it.
type Found struct {
	ID          string // opaque
	FolderID    string
	Fingerprint Fingerprint
	Draft       bool
	Read        bool
	Received    time.Time
}

// Target writes into one mailbox. Methods may be called by several goroutines at once.
//
// Every error is a *Error or the context's. A *Error with Unknown set means that the target may or
// may not have done the work, now or some seconds later.
type Target interface {
	// Folder finds or creates the folder of that role, or of that path when use is empty or the
	// target has no such role. Asking again gives the same folder. Names are compared the target's
	// way (without case at Exchange).
	Folder(ctx context.Context, use SpecialUse, path []string) (TargetFolder, error)

	// Put writes one message with its received date and flags, never as a draft unless it carries
	// \Draft, and returns only when the target says it has all of it.
	Put(ctx context.Context, folder TargetFolder, m Outgoing) (Receipt, error)

	// Find yields each message anywhere in the mailbox, deleted items included, that may have that
	// fingerprint, which has a Message-ID or a received date: the caller compares. Messages that another
	// client added are among them.
	Find(ctx context.Context, f Fingerprint, yield func(Found) error) error

	// List yields each message of a folder.
	List(ctx context.Context, folder TargetFolder, yield func(Found) error) error

	// Writers is how many Puts may run at once with profit.
	Writers() int

	// Close cuts every connection at once; calls under way end with an error.
	Close() error
}

// OpenTarget prepares writing into a mailbox.
type OpenTarget func(ctx context.Context, mailbox Mailbox) (Target, error)
