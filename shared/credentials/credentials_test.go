package credentials

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const password = Secret(" hünter2\"\\<&> ")

var (
	anna = migrate.NewMailboxID("dovecot", "anna", "1")
	bert = migrate.NewMailboxID("dovecot", "bert", "2")
)

func newKey(t *testing.T) (*Sealer, *Opener) {
	t.Helper()
	identity, recipient, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := NewSealer(recipient + "\n")
	if err != nil {
		t.Fatal(err)
	}
	opener, err := NewOpener(" " + identity)
	if err != nil {
		t.Fatal(err)
	}
	return sealer, opener
}

func newVault(t *testing.T) (*Vault, *migratetest.Store) {
	t.Helper()
	sealer, opener := newKey(t)
	store := migratetest.NewStore(nil)
	return &Vault{Store: store, Sealer: sealer, Opener: opener}, store
}

func TestSeal(t *testing.T) {
	sealer, opener := newKey(t)
	for _, plaintext := range [][]byte{nil, []byte("x"), bytes.Repeat([]byte("row\n"), 100_000)} {
		for _, s := range []*Sealer{sealer, opener.Sealer()} {
			sealed, err := s.Seal(plaintext)
			if err != nil {
				t.Fatal(err)
			}
			if len(plaintext) > 1 && bytes.Contains(sealed, plaintext[:16]) {
				t.Fatal("it is in clear text")
			}
			if got, err := opener.Open(sealed); err != nil || !bytes.Equal(got, plaintext) {
				t.Fatalf("%d bytes became %d, %v", len(plaintext), len(got), err)
			}
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	sealer, opener := newKey(t)
	sealed, err := sealer.Seal([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	_, other := newKey(t)
	if got, err := other.Open(sealed); !errors.Is(err, ErrOtherKey) {
		t.Errorf("another key opened %q, %v", got, err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if got, err := opener.Open(changed); err == nil {
			t.Errorf("opened %q with byte %d changed", got, i)
		}
		if got, err := opener.Open(sealed[:i]); err == nil {
			t.Errorf("opened %q from %d bytes", got, i)
		}
	}
}

func TestWrongKeysAreNotQuoted(t *testing.T) {
	identity, recipient, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{"", recipient, identity[1:], strings.ToLower(identity[:20]) + identity[20:], identity + "Q"} {
		if _, err := NewOpener(wrong); err == nil || strings.Contains(err.Error(), identity[20:30]) {
			t.Errorf("identity: %v", err)
		}
	}
	if _, err := NewSealer("age1nonsense"); err == nil {
		t.Error("nonsense is a recipient")
	}
}

func TestVault(t *testing.T) {
	v, store := newVault(t)
	if err := v.Put(t.Context(), anna, "old"); err != nil {
		t.Fatal(err)
	}
	if err := v.Put(t.Context(), anna, password); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Get(t.Context(), anna); err != nil || got != password {
		t.Fatalf("got %q, %v", string(got), err)
	}
	if sealed, _, err := store.Get(t.Context(), "credentials/"+string(anna)+".age"); err != nil || bytes.Contains(sealed, []byte("nter2")) {
		t.Fatalf("%q, %v", sealed, err)
	}
	for range 2 {
		if err := v.Destroy(t.Context(), anna); err != nil {
			t.Fatal(err)
		}
	}
	_, err := v.Get(t.Context(), anna)
	wantKind(t, err, migrate.SignIn)
}

func wantKind(t *testing.T, err error, kind migrate.Kind) {
	t.Helper()
	var e *migrate.Error
	if !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("%v, want kind %s", err, kind)
	}
	if (kind == migrate.SignIn || kind == migrate.Corrupt || kind == migrate.Configuration) && e.Advice == "" {
		t.Fatalf("%v has no advice", err)
	}
	if strings.Contains(err.Error(), "nter2") {
		t.Fatalf("the password is in %v", err)
	}
}

// A blob under another mailbox's name does not sign in there.
func TestMovedBlob(t *testing.T) {
	v, store := newVault(t)
	if err := v.Put(t.Context(), anna, password); err != nil {
		t.Fatal(err)
	}
	sealed, _, err := store.Get(t.Context(), blobName(anna))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Put(t.Context(), blobName(bert), sealed, nil, migrate.Condition{}); err != nil {
		t.Fatal(err)
	}
	_, err = v.Get(t.Context(), bert)
	wantKind(t, err, migrate.SignIn)
}

func TestGetRefuses(t *testing.T) {
	v, store := newVault(t)
	other, _ := newKey(t)
	sealed := func(s *Sealer, plaintext string) []byte {
		b, err := s.Seal([]byte(plaintext))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, c := range []struct {
		blob []byte
		kind migrate.Kind
	}{
		{nil, migrate.Corrupt},
		{[]byte("hünter2"), migrate.Corrupt},
		{sealed(other, "{}"), migrate.Configuration},
		{sealed(v.Sealer, "hünter2"), migrate.Corrupt},
		{sealed(v.Sealer, `{"v":"hünter2"}`), migrate.Corrupt},
		{sealed(v.Sealer, `{"password":"hünter2"}`), migrate.Corrupt},
		{sealed(v.Sealer, `{"v":2,"password":"hünter2"}`), migrate.Newer},
		{sealed(v.Sealer, `{"v":1,"password":"hünter2"}`), migrate.SignIn},
	} {
		if _, err := store.Put(t.Context(), blobName(anna), c.blob, nil, migrate.Condition{}); err != nil {
			t.Fatal(err)
		}
		_, err := v.Get(t.Context(), anna)
		wantKind(t, err, c.kind)
	}
}

func TestStoreFails(t *testing.T) {
	v, store := newVault(t)
	broken := &migrate.Error{Op: "reach storage", Kind: migrate.Unreachable}
	store.Before = func(string, string) error { return broken }
	_, err := v.Get(t.Context(), anna)
	for _, err := range []error{err, v.Put(t.Context(), anna, password), v.Destroy(t.Context(), anna)} {
		wantKind(t, err, migrate.Unreachable)
	}
}

func TestIdsThatAreNone(t *testing.T) {
	v, _ := newVault(t)
	for _, id := range []migrate.MailboxID{"", "../slots/1", "dovecot/x"} {
		_, err := v.Get(t.Context(), id)
		for _, err := range []error{err, v.Put(t.Context(), id, password), v.Destroy(t.Context(), id)} {
			wantKind(t, err, migrate.Unexpected)
		}
	}
}

// The size of a blob does not tell how long the password is.
func TestPadding(t *testing.T) {
	v, store := newVault(t)
	sizes := map[int]bool{}
	for _, n := range []int{1, 8, 9, 30, 100} {
		if err := v.Put(t.Context(), anna, Secret(strings.Repeat("x", n))); err != nil {
			t.Fatal(err)
		}
		sealed, _, err := store.Get(t.Context(), blobName(anna))
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(sealed)] = true
	}
	if len(sizes) != 1 {
		t.Fatalf("sizes %v", sizes)
	}
}

func TestSecretPrintsRedacted(t *testing.T) {
	const s = Secret("hunter2")
	type holder struct{ Password Secret }
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(h).Info("sign in", "password", s, "holder", holder{s})
	}
	encoded, err := json.Marshal([]any{s, &holder{s}, holder{s}})
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{log.String(), string(encoded), fmt.Sprint(s), errors.Join(fmt.Errorf("%w: %v", errors.New("x"), s)).Error()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%10.3s"} {
		texts = append(texts, fmt.Sprintf(verb, s), fmt.Sprintf(verb, holder{s}), fmt.Sprintf(verb, &holder{s}), fmt.Sprintf(verb, []Secret{s}))
	}
	for _, text := range texts {
		if !strings.Contains(text, redacted) || strings.Contains(text, "unter") || strings.Contains(strings.ToLower(text), "68756e") {
			t.Errorf("printed %s", text)
		}
	}
}
