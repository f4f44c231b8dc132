package imapsource

import (
	"errors"
	"fmt"

	"github.com/Azure/go-ntlmssp"
	"github.com/emersion/go-sasl"
)

// ntlm is NTLMv2 ([MS-NLMP], in IMAP by [MS-OXIMAP]). A login may be
// DOMAIN\user.
type ntlm struct {
	credential
	answered bool
}

func ntlmClient(c credential) (sasl.Client, error) { return &ntlm{credential: c}, nil }

// Start makes the negotiate message, which Exchange asks for with an empty challenge and others take
// as an initial response.
func (n *ntlm) Start() (string, []byte, error) {
	message, err := ntlmssp.NewNegotiateMessage("", "")
	return "NTLM", message, err
}

func (n *ntlm) Next(challenge []byte) ([]byte, error) {
	if n.answered {
		return nil, errors.New("the server goes on after the last NTLM message")
	}
	n.answered = true
	var message []byte
	err := guard(func() (err error) {
		message, err = ntlmssp.NewAuthenticateMessage(challenge, n.login, n.password, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("answer the server's NTLM challenge: %w", err)
	}
	return message, nil
}
