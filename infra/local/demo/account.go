package demo

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/shared/migrate"
)

// entry is what has to be equal on both sides: where a message lies, its octets, its received date
// and its flags.
type entry struct {
	folder, sha256, flags string
	received              int64
}

func (e entry) String() string {
	return fmt.Sprintf("%s in %s, received %d, flags %q", e.sha256[:12], e.folder, e.received, e.flags)
}

// account compares source and target, message by message, and prints the table. The source is read
// anew over IMAP by a client of its own, the target by what the stand-in was given.
func (d *demo) account(ctx context.Context) error {
	b, err := d.status(ctx)
	if err != nil || b == nil {
		return errors.Join(err, errors.New("no status"))
	}
	var errs []error
	fmt.Fprintf(d.Out, "  %-24s %-10s %8s %10s %8s %9s\n", "mailbox", "state", "messages", "MB", "seconds", "MB/s")
	for _, a := range d.accounts {
		i := slices.IndexFunc(b.Details, func(m *migrate.MailboxStatus) bool { return m.Address == a.address })
		if i < 0 {
			errs = append(errs, fmt.Errorf("%s has no status", a.address))
			continue
		}
		m := b.Details[i]
		seconds := time.Duration(m.Active).Seconds()
		fmt.Fprintf(d.Out, "  %-24s %-10s %8d %10.1f %8.1f %9.2f\n", a.address, m.State, m.Counts.Messages(), float64(m.Counts.Octets)/1e6, seconds, float64(m.Counts.Octets)/1e6/seconds)
		if m.State != migrate.Completed {
			errs = append(errs, fmt.Errorf("%s ended as %s: %+v, %+v", a.address, m.State, m.Counts, m.Check))
		}
		errs = append(errs, d.compare(ctx, a))
	}
	for _, gone := range d.stack.Exchange.Departures() {
		errs = append(errs, fmt.Errorf("a %s left %s", gone.Kind, gone.Mailbox))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintln(d.Out, "  every message of the source is at the target once: same octets (SHA-256), folder, received date and flags, no draft; nothing was sent")
	return nil
}

func (d *demo) compare(ctx context.Context, a *account) error {
	want, err := d.readSource(a)
	if err != nil {
		return fmt.Errorf("read source of %s: %w", a.address, err)
	}
	if expected := len(a.before) + len(a.later); len(want) != expected {
		return fmt.Errorf("the source of %s shows %d messages, %d were delivered", a.address, len(want), expected)
	}
	mailbox, ok := d.stack.Exchange.Mailbox(a.address)
	if !ok {
		return fmt.Errorf("%s has no target mailbox", a.address)
	}
	var got []entry
	for _, m := range mailbox.Messages() {
		folder := cmp.Or(m.Folder, strings.Join(m.FolderPath, "/"))
		if m.FolderClass != "IPF.Note" {
			return fmt.Errorf("folder %s has class %s", folder, m.FolderClass)
		}
		if draft := hasFlag(m.Flags, `\Draft`); m.IsDraft != draft {
			return fmt.Errorf("a message in %s is a draft: %v, flagged as one: %v", folder, m.IsDraft, draft)
		}
		got = append(got, entry{folder, m.SHA256, flagText(m.Flags), m.Received.Unix()})
	}
	return difference(a.address, want, got)
}

// difference reports what is on one side only, twins counted.
func difference(address string, want, got []entry) error {
	left := make(map[entry]int)
	for _, e := range want {
		left[e]++
	}
	for _, e := range got {
		left[e]--
	}
	var errs []error
	for e, n := range left {
		if n > 0 {
			errs = append(errs, fmt.Errorf("%s lacks %d × %s", address, n, e))
		}
		if n < 0 {
			errs = append(errs, fmt.Errorf("%s has %d × too many %s", address, -n, e))
		}
	}
	if len(errs) > 10 {
		errs = append(errs[:10], fmt.Errorf("%s: and %d differences more", address, len(errs)-10))
	}
	return errors.Join(errs...)
}

// wellKnown says where the sample's special folders belong.
var wellKnown = map[string]string{"INBOX": "inbox", "Sent": "sentitems", "Drafts": "drafts", "Trash": "deleteditems", "Junk": "junkemail", "Archive": "archive"}

func (d *demo) readSource(a *account) ([]entry, error) {
	host, port := d.source.TLSAddr()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(d.source.CA())
	c, err := imapclient.DialTLS(fmt.Sprintf("%s:%d", host, port), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots, ServerName: host}})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Login(a.login, password).Wait(); err != nil {
		return nil, err
	}
	folders, err := c.List("", "*", nil).Collect()
	if err != nil {
		return nil, err
	}
	var all []entry
	for _, f := range folders {
		if slices.Contains(f.Attrs, imap.MailboxAttrNoSelect) || slices.Contains(f.Attrs, imap.MailboxAttrNonExistent) {
			continue
		}
		list, err := readFolder(c, f)
		if err != nil {
			return nil, fmt.Errorf("folder %q: %w", f.Mailbox, err)
		}
		all = append(all, list...)
	}
	return all, nil
}

func readFolder(c *imapclient.Client, f *imap.ListData) ([]entry, error) {
	state, err := c.Select(f.Mailbox, &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil || state.NumMessages == 0 {
		return nil, err
	}
	folder := strings.ReplaceAll(f.Mailbox, string(f.Delim), "/")
	var list []entry
	command := c.Fetch(imap.SeqSet{{Start: 1, Stop: 0}}, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for m := command.Next(); m != nil; m = command.Next() {
		e := entry{folder: cmp.Or(wellKnown[folder], folder)}
		for item := m.Next(); item != nil; item = m.Next() {
			switch item := item.(type) {
			case imapclient.FetchItemDataFlags:
				var flags []string
				for _, flag := range item.Flags {
					flags = append(flags, string(flag))
				}
				e.flags = flagText(flags)
			case imapclient.FetchItemDataInternalDate:
				e.received = item.Time.Unix()
			case imapclient.FetchItemDataBodySection:
				h := sha256.New()
				if _, err := io.Copy(h, item.Literal); err != nil {
					return nil, err
				}
				e.sha256 = hex.EncodeToString(h.Sum(nil))
			}
		}
		list = append(list, e)
	}
	return list, command.Close()
}

// flagText is the flags that both sides know, in order.
func flagText(flags []string) string {
	var known []string
	for _, f := range []string{`\Seen`, `\Answered`, `\Flagged`, `\Draft`} {
		if hasFlag(flags, f) {
			known = append(known, f)
		}
	}
	return strings.Join(known, " ")
}

func hasFlag(flags []string, f string) bool {
	return slices.ContainsFunc(flags, func(g string) bool { return strings.EqualFold(g, f) })
}
