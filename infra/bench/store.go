package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"

	"mailferry/infra/local/exchange"
	"mailferry/infra/local/exchange/store"
)

const (
	storedMessages = 500_000
	storeSessions  = 16
	storeOwner     = "big@contoso.example"
)

// storeSize fills a folder of the Exchange stand-in, opens it in several IMAP sessions at once, and
// starts the stand-in again from disk.
func storeSize(ctx context.Context, b *bench) error {
	debug.FreeOSMemory()
	// 5 resets VmHWM (proc(5), /proc/pid/clear_refs).
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return fmt.Errorf("reset peak of memory: %w", err)
	}
	dir := filepath.Join(b.dir, "store")
	defer os.RemoveAll(dir)
	began := time.Now()
	s, err := exchange.Start(ctx, exchange.Options{Dir: dir})
	if err != nil {
		return err
	}
	defer func() { s.Close() }()
	if err := fillStore(s); err != nil {
		return err
	}
	report("fill a folder with 500,000 messages", began)
	began = time.Now()
	if err := openSessions(ctx, s); err != nil {
		return err
	}
	report("open it in 16 IMAP sessions, list flags in one", began)
	if err := s.Close(); err != nil {
		return err
	}
	debug.FreeOSMemory()
	began = time.Now()
	if s, err = exchange.Start(ctx, exchange.Options{Dir: dir}); err != nil {
		return err
	}
	if m, _ := s.Mailbox(storeOwner); m.Stats().Messages != storedMessages {
		return fmt.Errorf("got %d messages from disk", m.Stats().Messages)
	}
	report("start from disk", began)
	return nil
}

func report(what string, began time.Time) {
	kib := highWater("/proc/self/status")
	fmt.Printf("Exchange stand-in: %s: %s, peak resident memory so far %.0f MiB (bound: 2048 MiB)\n",
		what, time.Since(began).Round(100*time.Millisecond), float64(kib)/(1<<10))
}

func fillStore(s *exchange.Server) error {
	if err := s.AddUser(exchange.User{UserPrincipalName: storeOwner, Licensed: true}); err != nil {
		return err
	}
	m, _ := s.Mailbox(storeOwner)
	for i := range storedMessages {
		text := fmt.Sprintf("From: Somebody <somebody.%d@source.example>\r\nSubject: A subject of the length that most have, %d\r\n"+
			"Message-ID: <%032x@mail.source.example>\r\nDate: Mon, 4 Mar 2019 11:11:00 +0100\r\n\r\n%s\r\n", i, i, i, strings.Repeat("text ", 20))
		body, err := m.Store().Receive(strings.NewReader(text), int64(len(text)))
		if err != nil {
			return err
		}
		if _, err := m.Add(store.InboxID, store.NewItem{Body: body, Flags: store.Seen}); err != nil {
			return err
		}
	}
	return nil
}

func openSessions(ctx context.Context, s *exchange.Server) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CA())
	config := &tls.Config{RootCAs: roots}
	token, err := outlookToken(ctx, s, config)
	if err != nil {
		return err
	}
	var last *imapclient.Client
	for range storeSessions {
		c, err := imapclient.DialTLS(s.IMAPAddr(), &imapclient.Options{TLSConfig: config.Clone()})
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.Authenticate(xoauth2(token)); err != nil {
			return err
		}
		folder, err := c.Select("INBOX", nil).Wait()
		if err != nil {
			return err
		}
		if folder.NumMessages != storedMessages {
			return fmt.Errorf("folder has %d messages", folder.NumMessages)
		}
		last = c
	}
	fetch := last.Fetch(imap.SeqSet{{Start: 1}}, &imap.FetchOptions{UID: true, Flags: true})
	for fetch.Next() != nil {
	}
	return fetch.Close()
}

func outlookToken(ctx context.Context, s *exchange.Server, config *tls.Config) (string, error) {
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config.Clone()}}
	defer client.CloseIdleConnections()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {exchange.DefaultClientID},
		"client_secret": {exchange.DefaultClientSecret}, "scope": {"https://outlook.office365.com/.default"}}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.TokenURL()+"/"+exchange.DefaultTenantID+"/oauth2/v2.0/token",
		strings.NewReader(form.Encode()))
	if err != nil {
		return "", err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	var body struct {
		AccessToken string `json:"access_token"`
	}
	err = json.NewDecoder(response.Body).Decode(&body)
	return body.AccessToken, err
}

// xoauth2 is an access token as a SASL client.
type xoauth2 string

func (x xoauth2) Start() (string, []byte, error) {
	return "XOAUTH2", fmt.Appendf(nil, "user=%s\x01auth=Bearer %s\x01\x01", storeOwner, x), nil
}

func (x xoauth2) Next([]byte) ([]byte, error) { return []byte{}, nil }
