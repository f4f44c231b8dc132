package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"sync"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/faults"
)

// share is a part of a folder, by sequence numbers.
type share struct {
	folder      string
	first, last int
}

// bareFetch reads every message with nothing but the library: each connection takes the next share of
// a folder, examines the folder and streams one FETCH. It knows folders and counts beforehand.
func bareFetch(ctx context.Context, server *dovecot.Server, proxy *faults.Proxy, folders map[string]int) (int64, error) {
	total := 0
	for _, n := range folders {
		total += n
	}
	most := total/connections/2 + 1
	shares := make(chan share, total)
	for folder, n := range folders {
		for first := 1; first <= n; first += most {
			shares <- share{folder, first, min(first+most-1, n)}
		}
	}
	close(shares)
	var all sync.WaitGroup
	sums, errs := make([]int64, connections), make([]error, connections)
	for i := range connections {
		all.Go(func() { sums[i], errs[i] = bareConnection(ctx, server, proxy, shares) })
	}
	all.Wait()
	var sum int64
	for _, n := range sums {
		sum += n
	}
	return sum, errors.Join(errs...)
}

func bareConnection(ctx context.Context, server *dovecot.Server, proxy *faults.Proxy, shares <-chan share) (sum int64, err error) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(server.CA())
	client, err := imapclient.DialTLS(proxy.Addr(), &imapclient.Options{TLSConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}})
	if err != nil {
		return 0, err
	}
	defer client.Close()
	if err := client.Login(login, password).Wait(); err != nil {
		return 0, err
	}
	for s := range shares {
		if _, err := client.Select(s.folder, &imap.SelectOptions{ReadOnly: true}).Wait(); err != nil {
			return sum, err
		}
		n, err := stream(client, s)
		if sum += n; err != nil {
			return sum, err
		}
	}
	return sum, ctx.Err()
}

// stream fetches a share and counts the octets of its messages.
func stream(client *imapclient.Client, s share) (sum int64, err error) {
	set := imap.SeqSet{{Start: uint32(s.first), Stop: uint32(s.last)}}
	cmd := client.Fetch(set, &imap.FetchOptions{UID: true, Flags: true, InternalDate: true, RFC822Size: true,
		BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for msg := cmd.Next(); msg != nil; msg = cmd.Next() {
		for item := msg.Next(); item != nil; item = msg.Next() {
			if body, ok := item.(imapclient.FetchItemDataBodySection); ok {
				n, err := io.Copy(io.Discard, body.Literal)
				if sum += n; err != nil {
					return sum, errors.Join(err, cmd.Close())
				}
			}
		}
	}
	return sum, cmd.Close()
}
