package credentials

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"mailferry/shared/migrate"
)

// Vault keeps each mailbox's password in a sealed blob of its own, credentials/<mailbox>.age.
type Vault struct {
	Store  migrate.Store
	Sealer *Sealer // for Put
	Opener *Opener // for Get
}

// record is what is sealed. It names its mailbox, so that a blob that was moved to another mailbox
// is refused.
type record struct {
	Version  int               `json:"v"`
	Mailbox  migrate.MailboxID `json:"mailbox"`
	Password string            `json:"password"`
}

const recordVersion = 1

// padding is what a record's length is rounded up to with spaces: the size of a blob must not tell
// the length of a password.
const padding = 512

// dropAgain is the advice when there is no usable password.
const dropAgain = "Drop the CSV with this mailbox's password again."

func blobName(id migrate.MailboxID) string { return "credentials/" + string(id) + ".age" }

// Put keeps a password in place of any that was there.
func (v *Vault) Put(ctx context.Context, id migrate.MailboxID, password Secret) error {
	const op = "keep password"
	if !id.Valid() {
		return fail(op, id, migrate.Unexpected, "", errors.New("the mailbox id is not one"))
	}
	plaintext, err := json.Marshal(record{Version: recordVersion, Mailbox: id, Password: string(password)})
	if err != nil {
		return fail(op, id, migrate.Unexpected, "", errors.New("the password cannot be written as JSON"))
	}
	plaintext = append(plaintext, bytes.Repeat([]byte(" "), padding-len(plaintext)%padding)...)
	sealed, err := v.Sealer.Seal(plaintext)
	if err != nil {
		return fail(op, id, migrate.Unexpected, "", err)
	}
	if _, err := v.Store.Put(ctx, blobName(id), sealed, nil, migrate.Condition{}); err != nil {
		return fmt.Errorf("%s of mailbox %s: %w", op, id, err)
	}
	return nil
}

// Get returns a mailbox's password. When there is none, or none of this mailbox, that is a
// *migrate.Error of kind SignIn; one that the identity does not open is Configuration, and one that
// a newer version of this program wrote is Newer.
func (v *Vault) Get(ctx context.Context, id migrate.MailboxID) (Secret, error) {
	const op = "get password"
	if !id.Valid() {
		return "", fail(op, id, migrate.Unexpected, "", errors.New("the mailbox id is not one"))
	}
	sealed, _, err := v.Store.Get(ctx, blobName(id))
	if errors.Is(err, migrate.ErrNotFound) {
		return "", fail(op, id, migrate.SignIn, dropAgain, errors.New("none is kept"))
	}
	if err != nil {
		return "", fmt.Errorf("%s of mailbox %s: %w", op, id, err)
	}
	plaintext, err := v.Opener.Open(sealed)
	if errors.Is(err, ErrOtherKey) {
		return "", fail(op, id, migrate.Configuration, "Set the age identity that belongs to the recipient the password was sealed for, or drop the CSV again.", err)
	}
	if err != nil {
		return "", fail(op, id, migrate.Corrupt, dropAgain, err)
	}
	return read(op, id, plaintext)
}

// read takes the password out of a record. No error of json goes on: it may quote the record.
func read(op string, id migrate.MailboxID, plaintext []byte) (Secret, error) {
	var r record
	switch err := json.Unmarshal(plaintext, &r); {
	case err == nil && r.Version > recordVersion:
		return "", fail(op, id, migrate.Newer, "", fmt.Errorf("version %d, this program knows %d", r.Version, recordVersion))
	case err != nil, r.Version < 1:
		return "", fail(op, id, migrate.Corrupt, dropAgain, errors.New("the record cannot be read"))
	case r.Mailbox != id:
		return "", fail(op, id, migrate.SignIn, dropAgain, fmt.Errorf("the one that is kept belongs to mailbox %s", r.Mailbox))
	}
	return Secret(r.Password), nil
}

// Destroy deletes a password for good. One that is not there is no error.
func (v *Vault) Destroy(ctx context.Context, id migrate.MailboxID) error {
	const op = "destroy password"
	if !id.Valid() {
		return fail(op, id, migrate.Unexpected, "", errors.New("the mailbox id is not one"))
	}
	err := v.Store.Delete(ctx, blobName(id), migrate.Condition{})
	if err != nil && !errors.Is(err, migrate.ErrNotFound) {
		return fmt.Errorf("%s of mailbox %s: %w", op, id, err)
	}
	return nil
}

func fail(op string, id migrate.MailboxID, kind migrate.Kind, advice string, err error) error {
	return &migrate.Error{Op: op, Mailbox: string(id), Kind: kind, Advice: advice, Err: err}
}
