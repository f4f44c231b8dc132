package migrate

import (
	"bytes"
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"
)

// Security is how a source connection is protected.
type Security string

// The ways. Nothing falls back to a weaker one.
const (
	SecurityTLS      Security = "tls"      // TLS from the first octet, port 993
	SecuritySTARTTLS Security = "starttls" // port 143, refused if the server does not offer it
	SecurityNone     Security = "none"     // clear text, for a server on the same host or tunnel
)

// Compression says whether a source connection is compressed (RFC 4978).
type Compression string

// The ways.
const (
	CompressAuto Compression = "auto" // where the server offers it
	CompressOff  Compression = "off"  // for a server that is short of CPU, or near
)

// Endpoint describes a source server. It is the file batches/<name>/endpoint.json; ENDPOINT.md says what its
// fields mean.
type Endpoint struct {
	Name        string        `json:"-"` // the folder it lies in
	Host        string        `json:"host"`
	Port        int           `json:"port,omitempty"`        // 0: 993 for tls, else 143
	Security    Security      `json:"security,omitempty"`    // default tls
	Auth        string        `json:"auth,omitempty"`        // how to sign in, default auto: the strongest way that server and credentials have
	Slots       int           `json:"slots,omitempty"`       // mailboxes at once over all instances, default 10
	Connections int           `json:"connections,omitempty"` // to the server for one mailbox, default 3
	Compress    Compression   `json:"compress,omitempty"`    // default auto
	SyncEvery   Duration      `json:"syncEvery,omitempty"`   // pause between two syncs of a synced mailbox, default 1h
	CAFile      string        `json:"caFile,omitempty"`      // PEM of a certificate authority to trust besides the system's
	CA          string        `json:"ca,omitempty"`          // the same, the PEM itself
	MinTLS      string        `json:"minTLS,omitempty"`      // oldest TLS version to speak: 1.0, 1.1, 1.2 (default) or 1.3
	Fingerprint string        `json:"fingerprint,omitempty"` // SHA-256 of the server's certificate, which is trusted in place of any authority
	OAuth       *OAuth        `json:"oauth,omitempty"`
	Admin       *Admin        `json:"admin,omitempty"`
	Kerberos    *Kerberos     `json:"kerberos,omitempty"`
	Deleted     DeletedRule   `json:"deleted,omitempty"`   // what becomes of messages marked \Deleted, default unflag
	Received    ReceivedOrder `json:"received,omitempty"`  // where the received date is taken from, default internal
	Preflight   bool          `json:"preflight,omitempty"` // look at new mailboxes and move nothing until OrderStart

	MaxConnections int `json:"maxConnections,omitempty"` // to the server for all mailboxes, default Slots × Connections

	FolderRules
	MessageFilter
}

var endpointName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,40}[a-z0-9])?$`)

// ValidEndpointName reports whether name can name an endpoint: lower-case letters, digits and
// inner hyphens, at most 42.
func ValidEndpointName(name string) bool { return endpointName.MatchString(name) }

// ParseEndpoint reads endpoint.json and fills the defaults in. Fields that are unknown or there twice are
// refused: a misspelt or overwritten setting must not be ignored.
func ParseEndpoint(name string, content []byte) (Endpoint, error) {
	e := Endpoint{Name: name}
	if err := decodeStrictly(content, &e); err != nil {
		return Endpoint{}, fmt.Errorf("read endpoint.json of %q: %w", name, err)
	}
	if e.Security == "" {
		e.Security = SecurityTLS
	}
	if e.Port == 0 {
		e.Port = 143
		if e.Security == SecurityTLS {
			e.Port = 993
		}
	}
	e.fillSignIn()
	if e.Slots == 0 {
		e.Slots = 10
	}
	if e.Compress == "" {
		e.Compress = CompressAuto
	}
	if e.Connections == 0 {
		e.Connections = 3
	}
	if e.SyncEvery == 0 {
		e.SyncEvery = Duration(time.Hour)
	}
	if e.Deleted == "" {
		e.Deleted = UnflagDeleted
	}
	if err := e.validate(); err != nil {
		return Endpoint{}, fmt.Errorf("check endpoint.json of %q: %w", name, err)
	}
	return e, nil
}

// decodeStrictly reads one JSON object in UTF-8, with a byte order mark or without.
func decodeStrictly(content []byte, into any) error {
	content = bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(content) {
		return errors.New("it is not in UTF-8") // encoding/json would change the names of folders
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return inWordsOfTheFile(content, err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the object's end")
	}
	return noFieldTwice(json.NewDecoder(bytes.NewReader(content)))
}

// inWordsOfTheFile says which line and which field an error of encoding/json is about, without words of Go.
func inWordsOfTheFile(content []byte, err error) error {
	line := func(offset int64) int { return 1 + bytes.Count(content[:min(int(offset), len(content))], []byte("\n")) }
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case err == io.EOF:
		return errors.New("it is empty")
	case err == io.ErrUnexpectedEOF:
		return errors.New("it ends before its last brace")
	case errors.As(err, &syntax):
		return fmt.Errorf("line %d: %w", line(syntax.Offset), err)
	case errors.As(err, &kind) && kind.Field == "":
		return fmt.Errorf("line %d: it is no object in braces", line(kind.Offset))
	case errors.As(err, &kind):
		return fmt.Errorf("line %d: the field %q wants %s, not a %s", line(kind.Offset), embedded.ReplaceAllString(kind.Field, ""), wanted(kind.Type), kind.Value)
	}
	return err
}

// embedded are the Go names that encoding/json puts before the fields of an embedded struct.
var embedded = regexp.MustCompile(`^([A-Z]\w*\.)+`)

// wanted names what JSON has for a type.
func wanted(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.String || reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()):
		return "a text in quotes"
	case t.Kind() == reflect.Bool:
		return "true or false without quotes"
	case t.Kind() == reflect.Int:
		return "a whole number without quotes"
	case t.Kind() == reflect.Slice:
		return "a list in brackets"
	}
	return "an object in braces"
}

// noFieldTwice refuses an object with two fields of one name, whatever their case: encoding/json takes the
// last of two texts, and mixes two lists.
func noFieldTwice(d *json.Decoder) error {
	token, err := d.Token()
	if delim, ok := token.(json.Delim); err != nil || !ok || delim != '{' && delim != '[' {
		return err
	}
	seen := make(map[string]bool)
	for d.More() {
		if token == json.Delim('{') {
			field, err := d.Token()
			if err != nil {
				return err
			}
			name := strings.ToLower(fmt.Sprint(field))
			if seen[name] {
				return fmt.Errorf("the field %q is there twice", field)
			}
			seen[name] = true
		}
		if err := noFieldTwice(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

func (e Endpoint) validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(ValidEndpointName(e.Name), "the folder name %q may hold lower-case letters, digits and hyphens only", e.Name)
	bad(e.Host != "", "host is missing")
	bad(e.Port > 0 && e.Port < 65536, "port %d is not a port", e.Port)
	bad(e.Security == SecurityTLS || e.Security == SecuritySTARTTLS || e.Security == SecurityNone,
		"security %q is none of tls, starttls, none", e.Security)
	e.checkSignIn(bad)
	bad(e.Slots >= 1 && e.Slots <= 1000, "slots %d is not within 1 to 1000", e.Slots)
	bad(e.Compress == CompressAuto || e.Compress == CompressOff, "compress %q is none of auto, off", e.Compress)
	bad(e.Connections >= 1 && e.Connections <= 16, "connections %d is not within 1 to 16", e.Connections)
	bad(e.MaxConnections >= 0 && e.MaxConnections <= 16000, "maxConnections %d is not within 1 to 16000", e.MaxConnections)
	_, err := e.FolderRules.compile()
	errs = append(errs, err, e.MessageFilter.validate())
	bad(time.Duration(e.SyncEvery) >= time.Second, "syncEvery %s is below one second", time.Duration(e.SyncEvery))
	bad(e.Deleted == UnflagDeleted || e.Deleted == SkipDeleted, "deleted %q is none of unflag, skip", e.Deleted)
	errs = append(errs, e.Received.validate())
	return errors.Join(errs...)
}

// Duration is a time.Duration written as text in JSON: "90s", "4h".
type Duration time.Duration

// MarshalText writes Go's duration format.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads Go's duration format.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%q is no duration such as 90s, 30m or 4h", text)
	}
	*d = Duration(v)
	return nil
}
