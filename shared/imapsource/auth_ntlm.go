package imapsource

import (
	"errors"
	"fmt"

	"github.com/Azure/go-ntlmssp"
	"github.com/emersion/go-sasl"
)

// ntlm is NTLMv2 ([MS-NLMP]; its messages in IMAP: [MS-OXIMAP] section 2.2.1). A login may be
// DOMAIN\user.
type ntlm struct {
	credential
	answered bool
}

func ntlmClient(c credential) (sasl.Client, error) { return &ntlm{credential: c}, nil }

// Start sends nothing: the server asks for the negotiate message with an empty challenge
// ([MS-OXIMAP] section 3.1.5.1), and servers that take an initial response ask so, too, without one.
func (n *ntlm) Start() (string, []byte, error) {
	message, err := ntlmssp.NewNegotiateMessage("", "")
	return "NTLM", message, err
}

func (n *ntlm) Next(challenge []byte) ([]byte, error) {
	if n.answered {
		return nil, errors.New("the server goes on after the last NTLM message")
	}
	n.answered = true
	message, err := ntlmssp.NewAuthenticateMessage(challenge, n.login, n.password, nil)
	if err != nil {
		return nil, fmt.Errorf("answer the server's NTLM challenge: %w", err)
	}
	return message, nil
}
