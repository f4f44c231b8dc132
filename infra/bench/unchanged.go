package main

import (
	"context"
	"fmt"
	"time"

	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
)

const (
	manyFolders  = 200
	manyMessages = 500_000
)

// unchanged prints the round trips and the time of a pass that finds nothing new, 40 ms away.
func unchanged(ctx context.Context, b *bench) error {
	server, err := dovecot.Start(ctx, dovecot.Options{})
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := server.AddUser(login, password); err != nil {
		return err
	}
	began := time.Now()
	if err := server.Fill(ctx, login, manyItems()); err != nil {
		return err
	}
	fmt.Printf("a mailbox with %d folders and %d messages: made in %s\n", manyFolders, manyMessages, round(time.Since(began)))
	proxy, err := distant(ctx, server, 40*time.Millisecond)
	if err != nil {
		return err
	}
	defer proxy.Close()
	j, err := newJob(ctx, server, proxy, migrate.Endpoint{})
	if err != nil {
		return err
	}
	for _, name := range []string{"first pass, which moves everything", "second pass", "third pass"} {
		turns, connections, began := proxy.Turns(), proxy.Connections(), time.Now()
		c, err := j.pass(ctx)
		if err != nil {
			return err
		}
		fmt.Printf("  %s: %d messages, %d round trips on %d connections, %s (bound of an unchanged pass: 10 round trips)\n", name,
			c.Total(), proxy.Turns()-turns, proxy.Connections()-connections, round(time.Since(began)))
	}
	return nil
}

// manyItems are small messages, the same number in each folder.
func manyItems() []dovecot.Item {
	items := make([]dovecot.Item, manyMessages)
	at := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range items {
		folder := "INBOX"
		if n := i % manyFolders; n > 0 {
			folder = fmt.Sprintf("Folder %03d", n)
		}
		items[i] = dovecot.Item{Folder: folder, Received: at.Add(time.Duration(i) * time.Second),
			Message: fmt.Appendf(nil, "Message-ID: <%d@example.com>\r\nSubject: %d\r\n\r\n.\r\n", i, i)}
	}
	return items
}
