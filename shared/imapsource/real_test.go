package imapsource

import (
	"context"
	"os"
	"sync"
	"testing"

	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/kerberos"
	"mailferry/shared/migrate"
)

// realm is a Dovecot that knows every way to sign in, with its KDC and its token service. It is
// started once for the package.
type realm struct {
	server *dovecot.Server
	kdc    *kerberos.KDC
	tokens *tokenService
	keytab string // of the principal "migrator"
}

const (
	masterPassword = "pw-of-the-master"
	annaPassword   = "pw of änna\""
)

var (
	realmOnce    sync.Once
	theRealm     *realm
	realmErr     error
	realmClosers []func()
)

// wholeRealm starts the realm unless it runs.
func wholeRealm(t *testing.T) *realm {
	t.Helper()
	realmOnce.Do(func() { theRealm, realmErr = startRealm() })
	if realmErr != nil {
		t.Fatal(realmErr)
	}
	return theRealm
}

// stopRealm is called by TestMain.
func stopRealm() {
	for i := len(realmClosers) - 1; i >= 0; i-- {
		realmClosers[i]()
	}
}

func startRealm() (*realm, error) {
	ctx := context.Background()
	r := &realm{tokens: newTokenService()}
	realmClosers = append(realmClosers, r.tokens.close)
	var err error
	if r.kdc, err = kerberos.Start(ctx, kerberos.Options{}); err != nil {
		return nil, err
	}
	realmClosers = append(realmClosers, func() { r.kdc.Stop() })
	keytab, err := r.kdc.Keytab(ctx, "imap/localhost")
	if err != nil {
		return nil, err
	}
	r.server, err = dovecot.Start(ctx, dovecot.Options{SignIn: dovecot.SignIn{
		Mechanisms:   []string{"cram-md5", "scram-sha-1", "scram-sha-256", "gssapi", "xoauth2", "oauthbearer"},
		NTLMPassword: annaPassword,
		Master:       "migrator", MasterPassword: masterPassword,
		Keytab: keytab, KerberosConf: r.kdc.Conf(),
		Introspection: r.tokens.introspectionURL(),
	}})
	if err != nil {
		return nil, err
	}
	realmClosers = append(realmClosers, func() { r.server.Stop() })
	for _, name := range []string{"anna", "bert", "migrator"} {
		if err := r.server.AddUser(name, annaPassword); err != nil {
			return nil, err
		}
		if name == "migrator" {
			continue
		}
		if err := r.kdc.AddUser(ctx, name, annaPassword); err != nil {
			return nil, err
		}
	}
	path, err := r.kdc.Keytab(ctx, "migrator")
	if err != nil {
		return nil, err
	}
	content, err := os.ReadFile(path)
	r.keytab = string(content)
	return r, err
}

func (r *realm) endpoint(security migrate.Security, auth string) migrate.Endpoint {
	e := endpoint(r.server, security)
	e.Host, e.Auth = "localhost", auth
	return e
}

// dialer gives one password to every mailbox, and app settings.
func (r *realm) dialer(password string, settings map[string]string) Dialer {
	return Dialer{
		Password: func(context.Context, migrate.Mailbox) (string, error) { return password, nil },
		Setting:  func(name string) (string, error) { return settings[name], nil },
	}
}

// signsIn signs in as a login and looks into the mailbox.
func signsIn(t *testing.T, d Dialer, e migrate.Endpoint, login string) {
	t.Helper()
	s, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: login})
	if err != nil {
		t.Errorf("%s as %s: %v", e.Auth, login, err)
		return
	}
	defer s.Close()
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Errorf("%s as %s: %v", e.Auth, login, err)
	}
}

// refusesSignIn checks that a sign-in fails for a reason.
func refusesSignIn(t *testing.T, d Dialer, e migrate.Endpoint, login string, kind migrate.Kind, reason migrate.Reason) {
	t.Helper()
	s, err := d.Dial(t.Context(), e, migrate.Mailbox{Login: login})
	if err == nil {
		s.Close()
	}
	if migrate.KindOf(err) != kind || migrate.ReasonOf(err) != reason {
		t.Errorf("%s as %s: got %v, want %s %s", e.Auth, login, err, kind, reason)
	}
}
