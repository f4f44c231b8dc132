package imap

import (
	"encoding/base64"
	"errors"
	"strings"
)

const (
	authFailed   = noReply("AUTHENTICATE failed.")
	notConnected = badReply("User is authenticated but not connected.")
	// xoauth2Error is what follows a refused token; the client answers it with
	// an empty line (https://learn.microsoft.com/exchange/client-developer/legacy-protocols/how-to-authenticate-an-imap-pop-smtp-application-by-using-oauth).
	xoauth2Error = `{"status":"401","schemes":"bearer","scope":"https://outlook.office365.com/.default"}`
)

// login refuses: basic authentication is off in Exchange Online.
func (s *session) login(command) (string, error) { return "", noReply("LOGIN failed.") }

func (s *session) authenticate(c command) (string, error) {
	if s.mailbox != nil || s.barred {
		return "", wrongState
	}
	if len(c.args) == 0 || len(c.args) > 2 {
		return "", badArgument
	}
	response, err := s.initialResponse(c)
	if err != nil {
		return "", err
	}
	if !strings.EqualFold(c.args[0].text, "XOAUTH2") {
		return "", authFailed
	}
	user, token, err := parseXOAUTH2(response)
	if err != nil {
		return "", authFailed
	}
	expires, err := s.server.o.Check(token)
	if err != nil {
		s.printf("+ %s\r\n", base64.StdEncoding.EncodeToString([]byte(xoauth2Error)))
		if err := s.bw.Flush(); err != nil {
			return "", errConnection
		}
		if _, err := s.readLine(); err != nil {
			return "", err
		}
		return "", authFailed
	}
	s.token, s.expires = token, expires
	return s.connect(user)
}

// initialResponse returns the client's first response, which comes with the
// command (RFC 4959) or is asked for.
func (s *session) initialResponse(c command) (string, error) {
	if len(c.args) == 2 {
		return c.args[1].text, nil
	}
	s.printf("+ \r\n")
	if err := s.bw.Flush(); err != nil {
		return "", errConnection
	}
	line, err := s.readLine()
	if errors.Is(err, errTooLong) {
		return "", tooLong
	}
	if err == nil && line == "*" {
		err = badReply("AUTHENTICATE canceled.")
	}
	return line, err
}

var errXOAUTH2 = errors.New("response is no XOAUTH2")

// parseXOAUTH2 takes apart "user=" mailbox ^A "auth=Bearer " token ^A ^A.
func parseXOAUTH2(response string) (user, token string, err error) {
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return "", "", errXOAUTH2
	}
	fields := strings.Split(string(raw), "\x01")
	if len(fields) != 4 || fields[2] != "" || fields[3] != "" {
		return "", "", errXOAUTH2
	}
	user, ok := strings.CutPrefix(fields[0], "user=")
	scheme, token, ok2 := strings.Cut(fields[1], " ")
	if !ok || !ok2 || user == "" || token == "" || !strings.EqualFold(scheme, "auth=Bearer") {
		return "", "", errXOAUTH2
	}
	return user, token, nil
}

// connect opens the mailbox of user. If there is none, the
// application may not open it by IMAP, or it has too many connections,
// AUTHENTICATE succeeds all the same, and the commands after it are refused
// (MailKit issue 1496, email-oauth2-proxy issue 74; imapsync,
// FAQ.Office365.txt, "User is authenticated but not connected").
func (s *session) connect(user string) (string, error) {
	m, ok := s.server.o.Store.Mailbox(user)
	if !ok {
		s.token = ""
		return "", authFailed
	}
	if u := m.User(); u.HasMailbox() && !u.NoIMAP && s.server.enter(m) {
		s.mailbox = m
		s.conn.timeout = idleTimeout
	} else {
		s.barred, s.errors = true, 0
	}
	return "AUTHENTICATE completed.", nil
}
