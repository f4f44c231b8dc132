package imapsource

import (
	"errors"
	"fmt"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// startTLS leads the clear-text dialogue up to the server's go-ahead (RFC 9051 section 6.2.1).
func (d *dialogue) startTLS() error {
	if err := d.greet(); err != nil {
		return err
	}
	caps, err := d.capabilities()
	if err != nil {
		return clearTextRefusal("CAPABILITY", err)
	}
	if !caps.Has(imap.CapStartTLS) {
		return configuration("the server does not offer STARTTLS on this port")
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
