package migrate

import (
	"io"
	"slices"
	"strings"
	"time"
)

// Flag is an IMAP system flag or keyword (RFC 9051 section 2.3.2). System flags are written as
// below; comparing ignores case.
type Flag string

// The system flags that both sides know.
const (
	Seen     Flag = `\Seen`
	Answered Flag = `\Answered`
	Flagged  Flag = `\Flagged`
	Deleted  Flag = `\Deleted`
	Draft    Flag = `\Draft`
)

// HasFlag reports whether flags holds f, ignoring case.
func HasFlag(flags []Flag, f Flag) bool {
	for _, g := range flags {
		if strings.EqualFold(string(g), string(f)) {
			return true
		}
	}
	return false
}

// without returns flags but f.
func without(flags []Flag, f Flag) []Flag {
	return slices.DeleteFunc(slices.Clone(flags), func(g Flag) bool { return strings.EqualFold(string(g), string(f)) })
}

// MessageInfo is what the source says of a message without giving its body.
type MessageInfo struct {
	UID      UID
	Flags    []Flag
	Received time.Time // INTERNALDATE; zero when the server gave none that can be read
	Size     int64     // RFC822.SIZE: an estimate for planning, it decides nothing
}

// Outgoing is a message on its way to the target. Open may be called again: a write that is tried
// twice reads the body from the start each time.
type Outgoing struct {
	Flags    []Flag
	Received time.Time
	Size     int64 // octets Open will give, counted, never RFC822.SIZE
	Open     func() (io.ReadCloser, error)
}
