package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/faults"
	"mailferry/infra/local/sample"
	"mailferry/shared/migrate"
)

// connections is how many both sides of the comparison may use.
const connections = 3

// contender is a way to read the whole mailbox. It returns the octets of the messages it read.
type contender struct {
	name string
	read func(ctx context.Context, proxy *faults.Proxy) (int64, error)
}

// reading prints what it takes to read 3,000 messages from Dovecot, without and with a distance, from
// the folders they lie in and from one.
func reading(ctx context.Context, b *bench) error {
	items := mail()
	if err := readFrom(ctx, b, "12 folders", items); err != nil {
		return err
	}
	for i := range items {
		items[i].Folder = "INBOX"
	}
	return readFrom(ctx, b, "one folder", items)
}

// mail is 3,000 messages of 137 MB: every thirtieth has an attachment, as in real mailboxes, where few
// messages make up most of the octets.
func mail() []dovecot.Item {
	items := sample.Mailbox(1, login+"@example.com", 3000)
	sizes := []int{150_000, 400_000, 900_000, 1_500_000, 2_850_000}
	for i := 0; i < len(items); i += 30 {
		large := sample.Large(sizes[i/30%len(sizes)] + i)
		large.Folder, large.Received = items[i].Folder, items[i].Received
		items[i] = large
	}
	return items
}

func readFrom(ctx context.Context, b *bench, title string, items []dovecot.Item) error {
	server, err := dovecot.Start(ctx, dovecot.Options{})
	if err != nil {
		return err
	}
	defer server.Stop()
	if err := server.AddUser(login, password); err != nil {
		return err
	}
	if err := server.Fill(ctx, login, items); err != nil {
		return err
	}
	folders := make(map[string]int)
	for _, item := range items {
		folders[item.Folder]++
	}
	contenders := []contender{
		{"bare go-imap FETCH", func(ctx context.Context, p *faults.Proxy) (int64, error) { return bareFetch(ctx, server, p, folders) }},
		{"the whole source", func(ctx context.Context, p *faults.Proxy) (int64, error) { return wholeSource(ctx, server, p) }},
	}
	if b.peers {
		peer, err := mbsync(ctx, b, server)
		if err != nil {
			return err
		}
		contenders = append(contenders, peer)
	}
	for _, rtt := range []time.Duration{0, 40 * time.Millisecond} {
		if err := compare(ctx, b, fmt.Sprintf("reading %d messages in %s at %s round trip, %d connections", len(items), title, rtt, connections), server, rtt, contenders); err != nil {
			return err
		}
	}
	return nil
}

// compare runs the contenders in turns and prints their times beside the first one's.
func compare(ctx context.Context, b *bench, title string, server *dovecot.Server, rtt time.Duration, contenders []contender) error {
	proxy, err := distant(ctx, server, rtt)
	if err != nil {
		return err
	}
	defer proxy.Close()
	times, turns := make([][]time.Duration, len(contenders)), make([]int64, len(contenders))
	var octets int64
	for round := range b.runs + 1 {
		for i, c := range contenders {
			began, before := time.Now(), proxy.Turns()
			n, err := c.read(ctx, proxy)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if octets = max(octets, n); n != octets {
				return fmt.Errorf("%s read %d octets of %d", c.name, n, octets)
			}
			turns[i] = proxy.Turns() - before
			if round > 0 { // the first round warms the server's caches
				times[i] = append(times[i], time.Since(began))
			}
		}
	}
	fmt.Printf("%s (%d MB):\n", title, octets/1e6)
	base := 0.0
	for i, c := range contenders {
		slices.Sort(times[i])
		median := times[i][len(times[i])/2]
		if i == 0 {
			base = median.Seconds()
		}
		bound := ""
		if i == 1 {
			bound = " (bound: 1.3)"
		}
		fmt.Printf("  %-20s median %s, %s to %s of %d, %d round trips, ratio %.2f%s\n", c.name, round(median), round(times[i][0]),
			round(times[i][len(times[i])-1]), len(times[i]), turns[i], median.Seconds()/base, bound)
	}
	return nil
}

func round(d time.Duration) time.Duration { return d.Round(10 * time.Millisecond) }

// wholeSource reads the mailbox as a run does: windows, spool, checkpoint, ledger.
func wholeSource(ctx context.Context, server *dovecot.Server, proxy *faults.Proxy) (int64, error) {
	j, err := newJob(ctx, server, proxy, migrate.Endpoint{})
	if err != nil {
		return 0, err
	}
	if _, err := j.pass(ctx); err != nil {
		return 0, err
	}
	return j.target.octets, nil
}
