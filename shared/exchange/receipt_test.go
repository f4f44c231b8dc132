package exchange_test

import (
	"io"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
)

// TestNoReceiptLeaves appends messages that ask for a read receipt: what was read at the source must
// not be answered again, and what is unread may be answered when its reader reads it.
func TestNoReceiptLeaves(t *testing.T) {
	server, x := tenant(t)
	mailbox, err := x.Resolve(t.Context(), "info@contoso.example")
	if err != nil {
		t.Fatal(err)
	}
	target, err := x.Open(t.Context(), migrate.Mailbox{Target: mailbox})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	inbox, err := target.Folder(t.Context(), migrate.UseInbox, []string{"INBOX"})
	if err != nil {
		t.Fatal(err)
	}
	long := "X-Long: " + strings.Repeat("x", 9000) + "\r\n"
	for _, message := range []struct {
		header string
		flags  []migrate.Flag
		marked bool
	}{
		{"Disposition-Notification-To: boss@source.example\r\n", []migrate.Flag{migrate.Seen}, true},
		{long + "disposition-NOTIFICATION-to: <boss@source.example>\r\n", []migrate.Flag{migrate.Seen, migrate.Answered}, true},
		{"Disposition-Notification-To: boss@source.example\r\n", []migrate.Flag{"$mdnsent"}, true},
		{"Disposition-Notification-To: boss@source.example\r\n", nil, false},
		{"Disposition-Notification-To: boss@source.example\r\n", []migrate.Flag{migrate.Seen, migrate.Draft}, false},
		{"X-Other: Disposition-Notification-To: no\r\n", []migrate.Flag{migrate.Seen}, false},
	} {
		text := "From: a@source.example\r\nSubject: s\r\n" + message.header + "\r\nDisposition-Notification-To: body\r\n"
		_, err := target.Put(t.Context(), inbox, migrate.Outgoing{Flags: message.flags, Received: time.Now(), Size: int64(len(text)),
			Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }})
		if err != nil {
			t.Fatal(err)
		}
		box, _ := server.Mailbox("info@contoso.example")
		all := box.Messages()
		if got := migrate.HasFlag(flagsOf(all[len(all)-1].Flags), "$MDNSent"); got != message.marked {
			t.Errorf("%.40q with %q has $MDNSent: %t", message.header, message.flags, got)
		}
	}
	if sent := server.Departures(); len(sent) != 0 {
		t.Errorf("these left: %+v", sent)
	}
}

func flagsOf(names []string) []migrate.Flag {
	flags := make([]migrate.Flag, len(names))
	for i, name := range names {
		flags[i] = migrate.Flag(name)
	}
	return flags
}
