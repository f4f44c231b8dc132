package migrate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"mime"
	"net/mail"
	"strings"
	"time"
)

// Fingerprint is what stays recognisable of a message after Exchange has parsed and rebuilt it.
// Size and octets are not among it: Exchange keeps neither. Unknown fields are zero.
type Fingerprint struct {
	MessageID string    // with angle brackets
	Date      time.Time // the Date header, to the second
	From      string    // address only, lower case
	Subject   string    // decoded, runs of white space made one
	Received  time.Time // received date, to the second
}

// ReadFingerprint takes the fingerprint of a header block. It never fails: what cannot be read stays
// unknown. Words decodes RFC 2047 encoded words and knows the charsets.
func ReadFingerprint(header []byte, received time.Time, words *mime.WordDecoder) Fingerprint {
	f := Fingerprint{Received: received.UTC().Truncate(time.Second)}
	fields := headerFields(header)
	f.MessageID = strings.TrimSpace(fields["message-id"])
	if d, err := mail.ParseDate(fields["date"]); err == nil {
		f.Date = d.UTC().Truncate(time.Second)
	}
	parser := mail.AddressParser{WordDecoder: words}
	if list, err := parser.ParseList(fields["from"]); err == nil && len(list) > 0 {
		f.From = strings.ToLower(list[0].Address)
	}
	if s, err := words.DecodeHeader(fields["subject"]); err == nil {
		f.Subject = collapse(s)
	}
	return f
}

// headerFields reads the first occurrence of each field, unfolded, keys in lower case. Lines that
// are no field are passed over, as Exchange does, instead of ending the header.
func headerFields(header []byte) map[string]string {
	fields := make(map[string]string)
	name := ""
	for line := range bytes.Lines(header) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if name != "" {
				fields[name] += " " + strings.TrimSpace(string(line))
			}
			continue
		}
		key, value, ok := bytes.Cut(line, []byte(":"))
		name = ""
		if !ok {
			continue
		}
		key = bytes.ToLower(bytes.TrimSpace(key))
		if _, seen := fields[string(key)]; !seen {
			name = string(key)
			fields[name] = strings.TrimSpace(string(value))
		}
	}
	return fields
}

func collapse(s string) string { return strings.Join(strings.Fields(s), " ") }

// Normal returns f as ReadFingerprint would have written it: for fingerprints that an adapter puts
// together from a server's parsed fields.
func (f Fingerprint) Normal() Fingerprint {
	f.MessageID = strings.TrimSpace(f.MessageID)
	f.From = strings.ToLower(strings.TrimSpace(f.From))
	f.Subject = collapse(f.Subject)
	f.Date = f.Date.UTC().Truncate(time.Second)
	f.Received = f.Received.UTC().Truncate(time.Second)
	return f
}

// findable reports whether Target.Find can look for such a message.
func (f Fingerprint) findable() bool { return f.MessageID != "" || !f.Received.IsZero() }

// Matches reports whether the message found at the target can be this one. A field that the source
// left unknown is not compared: Exchange fills in a Message-ID or date of its own.
func (f Fingerprint) Matches(found Fingerprint) bool {
	return (f.MessageID == "" || f.MessageID == found.MessageID) &&
		(f.Date.IsZero() || f.Date.Equal(found.Date)) &&
		(f.From == "" || f.From == found.From) &&
		(f.Subject == "" || f.Subject == found.Subject) &&
		(f.Received.IsZero() || f.Received.Equal(found.Received))
}

// Key is 16 hex digits that equal fingerprints share.
func (f Fingerprint) Key() string {
	h := sha256.New()
	for _, part := range []string{f.MessageID, f.Date.Format(time.RFC3339), f.From, f.Subject, f.Received.Format(time.RFC3339)} {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
