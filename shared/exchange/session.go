package exchange

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
)

// session is a signed-in IMAP connection, used by one goroutine at a time but for cut.
type session struct {
	conn   *progressConn
	tail   *tailConn
	client *imapclient.Client
}

// cut ends the connection at once, whatever is under way. The client's own Close waits for literals.
func (s *session) cut() { s.conn.Close() }

// alive reports whether the connection was not seen to end. go-imap ends one itself when APPEND is
// refused before the literal. It says that it is signed in only some time after Authenticate has
// returned.
func (s *session) alive() bool {
	select {
	case <-s.client.Closed():
		return false
	default:
		return s.client.State() != imap.ConnStateLogout
	}
}

// connect opens a session. A refused token is replaced once: it may have been revoked, or ended
// early.
func (t *target) connect(ctx context.Context) (*session, error) {
	for attempt := 0; ; attempt++ {
		token, err := t.x.tokens.get(ctx)
		if err != nil {
			return nil, err
		}
		s, err := t.signIn(ctx, token)
		var refused *refusedError
		if attempt > 0 || !errors.As(err, &refused) {
			return s, err
		}
		t.x.tokens.drop(token)
	}
}

func (t *target) signIn(ctx context.Context, token string) (*session, error) {
	dialer := &net.Dialer{Timeout: t.x.options.Stall}
	raw, err := dialer.DialContext(ctx, "tcp", t.x.options.IMAPAddr)
	if err != nil {
		return nil, &lostError{err: err}
	}
	conn := &progressConn{Conn: raw, stall: t.x.options.Stall}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	s, err := greet(ctx, conn, t.x.tls, &xoauth2{user: t.mailbox.Address, token: token})
	if !stop() && err == nil {
		err = &lostError{err: context.Cause(ctx)}
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.Rest()
	return s, nil
}

func greet(ctx context.Context, conn *progressConn, config *tls.Config, login *xoauth2) (*session, error) {
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, &lostError{err: err}
	}
	s := &session{conn: conn, tail: &tailConn{Conn: secure}}
	s.client = imapclient.New(s.tail, nil)
	if err := s.client.WaitGreeting(); err != nil {
		return nil, s.lost(err)
	}
	if err := s.client.Authenticate(login); err != nil {
		return nil, s.refusal(err)
	}
	// What was said before signing in may not hold after it, and go-imap asks again.
	if s.client.Caps() == nil {
		return nil, s.lost(errors.New("the server did not say what it is capable of"))
	}
	return s, nil
}

// refusal tells an answer of the server from a connection that ended.
func (s *session) refusal(err error) error {
	var answer *imap.Error
	var refused *refusedError
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &answer) && authRefused(answer):
		return &refusedError{Text: answer.Text}
	case errors.As(err, &answer):
		return answer
	}
	return s.lost(err)
}

// lost remembers what the connection and the server said last.
func (s *session) lost(err error) error {
	s.conn.mu.Lock()
	defer s.conn.mu.Unlock()
	if s.conn.err != nil {
		err = s.conn.err
	}
	return &lostError{err: err, farewell: s.tail.farewell()}
}

// xoauth2 is the SASL mechanism of the same name
// (https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth).
type xoauth2 struct{ user, token string }

// Start gives the whole of it as initial response.
func (a *xoauth2) Start() (mechanism string, initial []byte, err error) {
	return "XOAUTH2", []byte("user=" + a.user + "\x01auth=Bearer " + a.token + "\x01\x01"), nil
}

// Next is called only when the server refuses: the challenge is JSON that says why. The exchange is
// given up instead of answered, since go-imap writes an empty answer as "=".
func (a *xoauth2) Next(challenge []byte) ([]byte, error) {
	var said struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(challenge, &said) != nil || said.Status == "" {
		return nil, &refusedError{Text: "without a reason"}
	}
	return nil, &refusedError{Text: "status " + clip(said.Status)}
}

// refusedError says that the server does not take the token for this mailbox.
type refusedError struct{ Text string }

func (e *refusedError) Error() string { return "IMAP sign-in refused: " + e.Text }

// lostError says that a connection could not be made, or ended.
type lostError struct {
	err      error
	farewell string // text of the server's BYE
	unknown  bool   // the server may have the whole message
	sending  bool   // a message was on its way
}

func (e *lostError) Error() string {
	text := "IMAP connection lost: " + e.err.Error()
	if e.farewell != "" {
		text += " (server said: " + clip(e.farewell) + ")"
	}
	return text
}

func (e *lostError) Unwrap() error { return e.err }
