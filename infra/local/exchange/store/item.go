package store

import (
	"strings"
	"time"
)

// Flags are the message flags Exchange keeps over IMAP.
type Flags uint8

// The flags of the PERMANENTFLAGS of Exchange Online.
const (
	Seen Flags = 1 << iota
	Answered
	Flagged
	Deleted
	Draft
	MDNSent
)

var flagNames = []string{`\Seen`, `\Answered`, `\Flagged`, `\Deleted`, `\Draft`, `$MDNSent`}

// AllFlags lists the flags as IMAP writes them.
func AllFlags() []string { return append([]string(nil), flagNames...) }

// ParseFlag knows a flag by its IMAP name, regardless of case.
func ParseFlag(name string) (Flags, bool) {
	for i, n := range flagNames {
		if strings.EqualFold(n, name) {
			return 1 << i, true
		}
	}
	return 0, false
}

// Names lists the flags as IMAP writes them.
func (f Flags) Names() []string {
	out := []string{}
	for i, n := range flagNames {
		if f&(1<<i) != 0 {
			out = append(out, n)
		}
	}
	return out
}

// Item is a message as stored. An Item never changes: changes make a new one
// with the same ID.
type Item struct {
	ID        uint64    `json:"id"` // unique in the mailbox, survives moves
	Folder    uint64    `json:"f"`
	UID       uint32    `json:"uid"`
	Body      Body      `json:"b"`
	Received  time.Time `json:"recv"` // UTC, whole seconds
	Sent      time.Time `json:"sent"` // of the Date field; zero if there is none
	Created   time.Time `json:"made"`
	Modified  time.Time `json:"mod"`
	Flags     Flags     `json:"fl"`
	Subject   string    `json:"subj,omitempty"` // decoded
	MessageID string    `json:"mid,omitempty"`  // with angle brackets

	Categories []string          `json:"cat,omitempty"`
	Importance string            `json:"imp,omitempty"`  // "" is normal
	Properties map[string]string `json:"prop,omitempty"` // MAPI properties by normalised Graph id
	Change     uint64            `json:"chg,omitempty"`  // grows with every change
	ReceiptTo  string            `json:"rr,omitempty"`   // who wants a read receipt; empty once it was sent
}

// NewItem is what Add makes an Item of. Zero times and empty strings are taken
// from the clock and the header of the body.
type NewItem struct {
	Body       Body
	Received   time.Time
	Sent       time.Time
	Flags      Flags
	Subject    string
	MessageID  string
	Categories []string
	Importance string
	Properties map[string]string
}

// Message is what tests see of an item.
type Message struct {
	FolderPath  []string // from the root; well-known folders by their English name
	Folder      string   // well-known name of the folder, "" if it has none
	FolderClass string
	UID         uint32
	UIDValidity uint32
	Flags       []string
	Received    time.Time
	Subject     string
	MessageID   string
	SHA256      string // hex, of the octets as they came
	Size        int64  // of these octets
	IsDraft     bool
	IsRead      bool
	Categories  []string
	Properties  map[string]string // MAPI properties by normalised Graph id
}

// Stats sums up a mailbox.
type Stats struct {
	Messages int
	Bytes    int64 // of the octets as they came
	Appends  int   // messages added since the store was opened, moves and copies not counted
}
