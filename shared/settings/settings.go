// Package settings reads the app settings, which reach the handler as environment variables, into
// one checked value.
package settings

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"mailferry/shared/credentials"
	"mailferry/shared/migrate"
)

// Settings is everything an administrator can set.
type Settings struct {
	Storage    Connection // DropZone: the account of the drop zone and of the state
	DropZone   string     // DROP_CONTAINER
	State      string     // STATE_CONTAINER
	ServiceBus Connection
	Queue      string // WAKEUP_QUEUE

	GraphURL, IMAPAddr string // empty: Exchange Online's own
	Authority          string // EXCHANGE_AUTHORITY; empty: Microsoft's
	CAFile             string // EXCHANGE_CA_FILE, PEM, for a stand-in
	TenantID, ClientID string // EXCHANGE_TENANT_ID, EXCHANGE_CLIENT_ID
	ClientSecret       credentials.Secret
	Writers            int

	SealRecipient string
	SealIdentity  credentials.Secret

	Limits                 migrate.Limits
	WakeGrace              time.Duration
	SpoolMemory, SpoolDisk int64
	SpoolDir               string
	Port                   int // FUNCTIONS_CUSTOMHANDLER_PORT
}

// Connection names a service either by a connection string or, with a managed identity, by address.
type Connection struct {
	String  credentials.Secret // <name>
	Address string             // <name>__blobServiceUri or <name>__fullyQualifiedNamespace
}

// Read takes the settings from get, which is os.Getenv. All errors are reported together.
func Read(get func(string) string) (Settings, error) {
	r := reader{get: get}
	s := Settings{
		Storage:       r.connection("DropZone", "blobServiceUri"),
		DropZone:      r.text("DROP_CONTAINER", "batches"),
		State:         r.text("STATE_CONTAINER", "mailferry"),
		ServiceBus:    r.connection("ServiceBusConnection", "fullyQualifiedNamespace"),
		Queue:         r.text("WAKEUP_QUEUE", "wakeups"),
		GraphURL:      r.text("GRAPH_URL", ""),
		IMAPAddr:      r.text("EXCHANGE_IMAP_ADDR", ""),
		Authority:     r.text("EXCHANGE_AUTHORITY", ""),
		CAFile:        r.text("EXCHANGE_CA_FILE", ""),
		TenantID:      r.text("EXCHANGE_TENANT_ID", ""),
		ClientID:      r.text("EXCHANGE_CLIENT_ID", ""),
		ClientSecret:  credentials.Secret(r.text("EXCHANGE_CLIENT_SECRET", "")),
		Writers:       int(r.number("EXCHANGE_WRITERS", 4, 1, 16)),
		SealRecipient: r.required("SEAL_RECIPIENT"),
		SealIdentity:  credentials.Secret(r.required("SEAL_IDENTITY")),
		Limits: migrate.Limits{
			Budget:         r.duration("RUN_BUDGET", 4*time.Minute, time.Second, 30*time.Minute),
			Lease:          r.duration("LEASE", 20*time.Second, 15*time.Second, time.Minute),
			LongestRequest: r.duration("LONGEST_REQUEST", time.Minute, time.Second, 10*time.Minute),
			WindowMessages: int(r.number("WINDOW_MESSAGES", 200, 1, 1000)),
			WindowOctets:   r.number("WINDOW_OCTETS", 32<<20, 1, 1<<30),
		},
		WakeGrace:   r.duration("WAKE_GRACE", 2*time.Minute, time.Second, time.Hour),
		SpoolMemory: r.number("SPOOL_MEMORY", 24<<20, 1<<20, 4<<30),
		SpoolDisk:   r.number("SPOOL_DISK", 512<<20, 1<<20, 1<<40),
		SpoolDir:    r.text("SPOOL_DIR", ""),
		Port:        int(r.number("FUNCTIONS_CUSTOMHANDLER_PORT", 7071, 1, 65535)),
	}
	s.Limits.Renew = s.Limits.Lease / 4
	return s, errors.Join(r.errs...)
}

// Secret reads an app setting that an endpoint names, when it is needed. Empty is not set.
func Secret(get func(string) string, name string) (string, error) {
	r := reader{get: get}
	return r.text(name, ""), errors.Join(r.errs...)
}

type reader struct {
	get  func(string) string
	errs []error
}

func (r *reader) text(name, otherwise string) string {
	v := r.get(name)
	if strings.HasPrefix(v, "@Microsoft.KeyVault(") {
		r.errs = append(r.errs, fmt.Errorf("setting %s: the Key Vault reference was not resolved; let the app's identity read the secret", name))
	}
	if v == "" {
		return otherwise
	}
	return v
}

func (r *reader) required(name string) string {
	v := r.text(name, "")
	if v == "" {
		r.errs = append(r.errs, fmt.Errorf("setting %s is missing", name))
	}
	return v
}

func (r *reader) connection(name, suffix string) Connection {
	c := Connection{String: credentials.Secret(r.text(name, "")), Address: r.text(name+"__"+suffix, "")}
	if c.String == "" && c.Address == "" {
		r.errs = append(r.errs, fmt.Errorf("setting %s or %s__%s is missing", name, name, suffix))
	}
	return c
}

func (r *reader) number(name string, otherwise, least, most int64) int64 {
	v := r.text(name, "")
	if v == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > most {
		r.errs = append(r.errs, fmt.Errorf("setting %s: want a number from %d to %d", name, least, most))
	}
	return n
}

func (r *reader) duration(name string, otherwise, least, most time.Duration) time.Duration {
	v := r.text(name, "")
	if v == "" {
		return otherwise
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < least || d > most {
		r.errs = append(r.errs, fmt.Errorf("setting %s: want a duration from %s to %s, such as 90s", name, least, most))
	}
	return d
}
