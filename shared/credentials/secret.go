package credentials

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is a password. It prints as [redacted] with every verb of fmt, in JSON, in text and in
// slog; string(s) is the password itself. Keep it in exported fields only: fmt does not ask an
// unexported one how it prints.
type Secret string

const redacted = "[redacted]"

// String is [redacted].
func (Secret) String() string { return redacted }

// Format prints [redacted] for every verb and flag.
func (Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// MarshalText gives [redacted], to JSON too.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue is [redacted].
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
