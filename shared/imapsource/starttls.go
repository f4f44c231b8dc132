package imapsource

import (
	"errors"
	"fmt"
	"os"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// startTLS leads the clear-text dialogue up to the server's go-ahead (RFC 9051 section 6.2.1).
func (d *dialogue) startTLS() error {
	if err := d.greet(); err != nil {
		return silence(err)
	}
	caps, err := d.capabilities()
	if err != nil {
		return clearTextRefusal("CAPABILITY", err)
	}
	if !caps.Has(imap.CapStartTLS) {
		return &migrate.Error{Kind: migrate.Configuration, Err: errors.New("the server does not offer STARTTLS on this port"),
			Advice: "Set the endpoint's security to tls, which is usually on port 993, or its port to one where the server offers STARTTLS."}
	}
	if err := d.command("STARTTLS"); err != nil {
		return clearTextRefusal("STARTTLS", err)
	}
	// Whatever came in clear text behind the go-ahead would be taken for the secured server's
	// (CVE-2011-0411, https://nostarttls.secvuln.info).
	if d.wire.in.src.Buffered() > 0 {
		return &migrate.Error{Kind: migrate.Configuration,
			Err:    errors.New("the server sent more before the connection was secured"),
			Advice: "Somebody between here and the server may be tampering with the connection. Use port 993 with security tls."}
	}
	return nil
}

// silence gives a server that does not greet its likely cause: it waits for us to begin TLS.
func silence(err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return &migrate.Error{Kind: migrate.Unreachable, Reason: migrate.ConnectTimeout, Err: fmt.Errorf("the server says nothing on this port: %w", err),
		Advice: "If the port is one for TLS, usually 993, set the endpoint's security to tls; else check host and port, and that the server is up."}
}

// clearTextRefusal keeps a refusal's words.
func clearTextRefusal(command string, err error) error {
	var answer *imap.Error
	if !errors.As(err, &answer) || throttled(answer) {
		return err
	}
	return configuration(fmt.Sprintf("the server refuses %s: %s", command, answerText(answer)))
}

func configuration(text string) error {
	return &migrate.Error{Kind: migrate.Configuration, Err: errors.New(text)}
}
