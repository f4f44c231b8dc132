package imapsource

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"mailferry/shared/migrate"
)

// scramClient is SCRAM (RFC 5802, RFC 7677) without channel binding. The -PLUS mechanisms do not tell which
// binding the server wants, and a wrong one is a refused sign-in: Cyrus offers them and knows tls-unique
// only (imap/tls.c:1221-1232), which TLS 1.3 does not have (RFC 9266 section 3); Dovecot 2.3 offers none. The
// flag is therefore "n": with "y", a server that offers -PLUS takes us for one whom somebody in between keeps
// from seeing that (RFC 5802 section 6).
type scramClient struct {
	name         string
	conversation *scram.ClientConversation
}

func scramSHA256Client(c credential) (sasl.Client, error) {
	return newSCRAM("SCRAM-SHA-256", scram.SHA256, c)
}

func scramSHA1Client(c credential) (sasl.Client, error) {
	return newSCRAM("SCRAM-SHA-1", scram.SHA1, c)
}

// newSCRAM prepares login and password with SASLprep (RFC 4013). A password that this forbids, such
// as one with an emoji, can only have been stored unprepared.
func newSCRAM(name string, hash scram.HashGeneratorFcn, c credential) (sasl.Client, error) {
	client, err := hash.NewClient(c.login, c.password, c.authzid)
	if err != nil {
		client, err = hash.NewClientUnprepped(c.login, c.password, c.authzid)
	}
	if err != nil {
		return nil, errors.New("login and password cannot be used with SCRAM") // the cause may quote them
	}
	return &scramClient{name: name, conversation: client.NewConversation()}, nil
}

func (s *scramClient) Start() (string, []byte, error) {
	first, err := s.conversation.Step("")
	return s.name, []byte(first), err
}

// maxIterations bounds how long a server can keep us computing: about a second.
const maxIterations = 1_000_000

func (s *scramClient) Next(challenge []byte) ([]byte, error) {
	if n := iterations(string(challenge)); n > maxIterations {
		return nil, fmt.Errorf("the server asks for %d iterations of SCRAM, at most %d are computed", n, maxIterations)
	}
	reply, err := s.conversation.Step(string(challenge))
	switch {
	case err == nil:
		return []byte(reply), nil
	case strings.HasPrefix(string(challenge), "e="):
		return nil, scramError(string(challenge))
	case strings.HasPrefix(string(challenge), "v="):
		return nil, s.unproven("does not prove")
	}
	return nil, fmt.Errorf("the server's %s message is wrong", s.name)
}

// iterations returns the i= of a server-first-message, 0 if there is none.
func iterations(message string) int {
	for _, attribute := range strings.Split(message, ",") {
		if v, ok := strings.CutPrefix(attribute, "i="); ok {
			n, err := strconv.Atoi(v)
			if err != nil {
				return maxIterations + 1
			}
			return n
		}
	}
	return 0
}

// scramError reads a server-error-value (RFC 5802 section 7).
func scramError(message string) error {
	value, _, _ := strings.Cut(strings.TrimPrefix(message, "e="), ",")
	err := &migrate.Error{Kind: migrate.Configuration, Err: fmt.Errorf("the server ends SCRAM with %q", cleanText(value))}
	switch value {
	case "invalid-proof", "unknown-user":
		err.Kind, err.Reason = migrate.SignIn, migrate.WrongPassword
	case "no-resources":
		err.Kind = migrate.Throttled
	}
	return err
}

func (s *scramClient) verify() error {
	if s.conversation.Valid() {
		return nil
	}
	return s.unproven("let us in before it proved")
}

func (s *scramClient) unproven(what string) error {
	return &migrate.Error{Kind: migrate.Configuration, Reason: migrate.ServerUnproven,
		Err: fmt.Errorf("the server %s by %s that it knows the password", what, s.name)}
}
