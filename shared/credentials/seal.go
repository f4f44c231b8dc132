// Package credentials keeps source passwords sealed with age (X25519,
// https://age-encryption.org/v1): who has the recipient can seal, only who has the identity can open.
package credentials

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
)

// Sealer encrypts. It cannot open what it sealed.
type Sealer struct{ recipient age.Recipient }

// Opener decrypts.
type Opener struct{ identity *age.X25519Identity }

// GenerateKey makes a key pair: the identity (AGE-SECRET-KEY-1...), which is secret, and the
// recipient (age1...), which is not.
func GenerateKey() (identity, recipient string, err error) {
	key, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fmt.Errorf("generate age key: %w", err)
	}
	return key.String(), key.Recipient().String(), nil
}

// NewSealer reads a recipient (age1...).
func NewSealer(recipient string) (*Sealer, error) {
	r, err := age.ParseX25519Recipient(strings.TrimSpace(recipient))
	if err != nil {
		return nil, fmt.Errorf("read age recipient: %w", err)
	}
	return &Sealer{recipient: r}, nil
}

// NewOpener reads an identity (AGE-SECRET-KEY-1...). The error never quotes it.
func NewOpener(identity string) (*Opener, error) {
	i, err := age.ParseX25519Identity(strings.TrimSpace(identity))
	if err != nil {
		return nil, errors.New("read age identity: it is not AGE-SECRET-KEY-1 and 58 characters of Bech32")
	}
	return &Opener{identity: i}, nil
}

// Sealer is what seals for this opener.
func (o *Opener) Sealer() *Sealer { return &Sealer{recipient: o.identity.Recipient()} }

// Seal encrypts plaintext to a binary age file. Sealing the same again gives other bytes.
func (s *Sealer) Seal(plaintext []byte) ([]byte, error) {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, s.recipient)
	if err == nil {
		_, err = w.Write(plaintext)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed.Bytes(), nil
}

// What Open says with errors.Is.
var (
	ErrOtherKey = errors.New("it was sealed for another key")
	ErrDamaged  = errors.New("it is no age file, or it has been changed") // age's own errors quote the file
)

// Open decrypts what Seal gave. A file for another key is ErrOtherKey, anything else ErrDamaged.
func (o *Opener) Open(sealed []byte) ([]byte, error) {
	r, err := age.Decrypt(bytes.NewReader(sealed), o.identity)
	var noMatch *age.NoIdentityMatchError
	if errors.As(err, &noMatch) {
		return nil, fmt.Errorf("open sealed data: %w", ErrOtherKey)
	}
	if err != nil {
		return nil, fmt.Errorf("open sealed data: %w", ErrDamaged)
	}
	plaintext, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("open sealed data: %w", ErrDamaged)
	}
	return plaintext, nil
}
