package migrate

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// MailboxID is "<endpoint>/<32 hex digits>", a hash of endpoint, login and target mailbox GUID: the
// same mailbox in two CSVs is one mailbox. It is a path segment of every blob about it.
type MailboxID string

// NewMailboxID computes the id.
func NewMailboxID(endpoint, login, guid string) MailboxID {
	h := sha256.New()
	for _, part := range []string{endpoint, login, strings.ToLower(guid)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return MailboxID(endpoint + "/" + hex.EncodeToString(h.Sum(nil)[:16]))
}

// Endpoint returns the endpoint's name.
func (id MailboxID) Endpoint() string {
	name, _, _ := strings.Cut(string(id), "/")
	return name
}

// Valid reports whether id has the form that NewMailboxID gives, so that it can be used in a path.
func (id MailboxID) Valid() bool {
	name, hash, _ := strings.Cut(string(id), "/")
	if !ValidEndpointName(name) || len(hash) != 32 {
		return false
	}
	return strings.Trim(hash, "0123456789abcdef") == ""
}

// Mailbox is a source login and its target.
type Mailbox struct {
	ID       MailboxID     `json:"id"`
	Batch    string        `json:"batch"`
	Login    string        `json:"login"`
	UserRoot string        `json:"userRoot,omitempty"`
	Target   TargetMailbox `json:"target"`
}
