package imapsource

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-sasl"

	"mailferry/shared/migrate"
)

// signIn waits for the greeting and authenticates.
func (s *source) signIn(endpoint migrate.Endpoint, login, password string) error {
	if err := s.client.WaitGreeting(); err != nil {
		return err
	}
	if s.client.State() != imap.ConnStateNotAuthenticated {
		return configuration("the server signs connections in by itself, so whose mailbox it is cannot be known")
	}
	caps := s.client.Caps()
	if caps == nil {
		return errors.New("the server does not tell its capabilities")
	}
	if strings.ContainsRune(login+password, 0) {
		return &migrate.Error{Kind: migrate.SignIn, Err: errors.New("the login or the password holds a NUL")}
	}
	mechanism, err := chooseMechanism(endpoint.Auth, caps)
	if err != nil {
		return err
	}
	if mechanism == "plain" {
		err = s.client.Authenticate(sasl.NewPlainClient("", login, password))
	} else {
		err = s.client.Login(login, password).Wait()
	}
	if err != nil {
		return signInError(err)
	}
	// The capabilities before and after signing in differ at many servers.
	if s.caps = s.client.Caps(); s.caps == nil {
		return errors.New("the server does not tell its capabilities")
	}
	return nil
}

// chooseMechanism returns plain or login.
func chooseMechanism(auth string, caps imap.CapSet) (string, error) {
	plain := caps.Has(imap.AuthCap(sasl.Plain))
	login := !caps.Has(imap.CapLoginDisabled)
	switch {
	case auth == "plain" && !plain:
		return "", configuration("the server does not offer AUTH=PLAIN on this connection")
	case auth == "login" && !login:
		return "", configuration("the server does not allow LOGIN on this connection")
	case auth == "plain", auth == "login":
		return auth, nil
	case plain:
		return "plain", nil
	case login:
		return "login", nil
	}
	return "", configuration("the server offers neither AUTH=PLAIN nor LOGIN on this connection")
}

// signInError gives a server's refusal its kind (response codes: RFC 5530 section 3).
func signInError(err error) error {
	var refused *imap.Error
	if !errors.As(err, &refused) || throttled(refused) {
		return err
	}
	kind := migrate.SignIn
	if refused.Code == imap.ResponseCodePrivacyRequired || refused.Type == imap.StatusResponseTypeBad {
		kind = migrate.Configuration
	}
	e := &migrate.Error{Kind: kind, Err: fmt.Errorf("the server answers %w", err)}
	if kind == migrate.SignIn {
		e.Advice = "the server refused this login and password; some servers want an app password when two-factor sign-in is on"
	}
	return e
}
