package exchange

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"github.com/emersion/go-imap/v2"

	"mailferry/shared/migrate"
)

// mdnSent says that a read receipt was sent or will never be (RFC 3503 section 3.1). Exchange takes it
// as the only keyword.
const mdnSent = "$MDNSent"

// receiptField asks for a read receipt (RFC 8098 section 2.1).
const receiptField = "Disposition-Notification-To:"

// settled returns the flags that keep a message from being answered with a read receipt because of us:
// Exchange sends the receipts of messages that are appended as read all over again (imapsync,
// FAQ.Office365.txt, "read receipts are all resent again"). One that is unread is its reader's affair.
func settled(m migrate.Outgoing) ([]imap.Flag, error) {
	if migrate.HasFlag(m.Flags, migrate.Draft) || !migrate.HasFlag(m.Flags, migrate.Seen) && !migrate.HasFlag(m.Flags, mdnSent) {
		return nil, nil
	}
	asked, err := asksForReceipt(m)
	if err != nil || !asked {
		return nil, err
	}
	return []imap.Flag{mdnSent}, nil
}

func asksForReceipt(m migrate.Outgoing) (bool, error) {
	body, err := m.Open()
	if err != nil {
		return false, err
	}
	defer body.Close()
	lines := bufio.NewReader(body)
	for begins := true; ; { // a line longer than the buffer comes in pieces
		line, more, err := lines.ReadLine()
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		case begins && len(line) == 0:
			return false, nil
		case begins && len(line) >= len(receiptField) && strings.EqualFold(string(line[:len(receiptField)]), receiptField):
			return true, nil
		}
		begins = !more
	}
}
