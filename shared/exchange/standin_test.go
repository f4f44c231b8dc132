package exchange_test

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	standin "mailferry/infra/local/exchange"
	"mailferry/shared/exchange"
	"mailferry/shared/migrate"
)

// tenant starts the stand-in with a German shared mailbox and connects to it as the product does.
func tenant(t *testing.T) (*standin.Server, *exchange.Exchange) {
	t.Helper()
	return tenantWith(t, standin.Options{})
}

func tenantWith(t *testing.T, o standin.Options) (*standin.Server, *exchange.Exchange) {
	t.Helper()
	o.Dir = t.TempDir()
	server, err := standin.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	for _, user := range []standin.User{
		{UserPrincipalName: "info@contoso.example", ProxyAddresses: []string{"SMTP:info@contoso.example", "smtp:o'neil@contoso.example"},
			Shared: true, Language: "de", MaxReceiveSize: 100_000},
		{UserPrincipalName: "new@contoso.example", AccountEnabled: true},
	} {
		if err := server.AddUser(user); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(server.CA()) {
		t.Fatal("no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	credential, err := azidentity.NewClientSecretCredential(standin.DefaultTenantID, standin.DefaultClientID, standin.DefaultClientSecret,
		&azidentity.ClientSecretCredentialOptions{
			DisableInstanceDiscovery: true,
			ClientOptions: azcore.ClientOptions{
				Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: server.TokenURL()},
				Transport: &http.Client{Transport: transport},
			},
		})
	if err != nil {
		t.Fatal(err)
	}
	x, err := exchange.New(exchange.Options{Graph: credential, GraphURL: server.GraphURL(), IMAPAddr: server.IMAPAddr(), RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { x.Close() })
	return server, x
}

type sent struct {
	folder      migrate.TargetFolder
	body        string
	flags       []migrate.Flag
	fingerprint migrate.Fingerprint
	receipt     migrate.Receipt
}

func outgoing(i int, folder migrate.TargetFolder) sent {
	id := fmt.Sprintf("Message-ID: <%d.o'neil@source.example>\r\n", i)
	if i%5 == 0 {
		id = ""
	}
	head := id + "Date: Mon, 4 Mar 2019 10:11:00 +0100\r\n" +
		"From: =?utf-8?q?J=C3=B6rg?= <Joerg@Source.example>\r\nTo: info@contoso.example\r\n" +
		fmt.Sprintf("Subject: =?iso-8859-1?q?Gr=FC=DFe?= %d\r\n", i)
	s := sent{folder: folder, body: head + "\r\n" + strings.Repeat("0123456789\r\n", i*i), flags: []migrate.Flag{migrate.Flagged, "$custom"}}
	if i%2 == 0 {
		s.flags = append(s.flags, migrate.Seen)
	}
	received := time.Date(2019, 3, 4, 10, 0, i, 0, time.UTC)
	s.fingerprint = migrate.ReadFingerprint([]byte(head), received, new(mime.WordDecoder))
	return s
}

func (s sent) message() migrate.Outgoing {
	return migrate.Outgoing{Flags: s.flags, Received: s.fingerprint.Received, Size: int64(len(s.body)),
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(s.body)), nil }}
}

func TestStandIn(t *testing.T) {
	server, x := tenant(t)
	mailbox, err := x.Resolve(t.Context(), "O'Neil@contoso.example")
	if err != nil {
		t.Fatal(err)
	}
	if mailbox.Address != "info@contoso.example" || mailbox.GUID == "" || mailbox.GUID != strings.ToLower(mailbox.GUID) {
		t.Errorf("resolved to %+v", mailbox)
	}
	target, err := x.Open(t.Context(), migrate.Mailbox{Target: mailbox})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })

	var messages []sent
	for i, f := range []struct {
		use  migrate.SpecialUse
		path []string
	}{
		{migrate.UseInbox, []string{"INBOX"}},
		{migrate.UseSent, []string{"Sent", "2019"}},
		{migrate.UseDrafts, []string{"Drafts"}},
		{"", []string{"Käse & Brot", "a/b", "日本"}},
	} {
		folder, err := target.Folder(t.Context(), f.use, f.path)
		if err != nil {
			t.Fatalf("%q: %v", f.path, err)
		}
		for n := range 15 {
			messages = append(messages, outgoing(i*15+n, folder))
		}
	}
	putAll(t, target, messages)
	checkStored(t, server, messages)
	checkFound(t, target, messages)
}

func putAll(t *testing.T, target migrate.Target, messages []sent) {
	t.Helper()
	next := make(chan *sent)
	var writers sync.WaitGroup
	for range target.Writers() {
		writers.Go(func() {
			for s := range next {
				var err error
				if s.receipt, err = target.Put(t.Context(), s.folder, s.message()); err != nil {
					t.Errorf("%q: %v", s.folder.Path, err)
				}
			}
		})
	}
	for i := range messages {
		next <- &messages[i]
	}
	close(next)
	writers.Wait()
}

// checkStored compares what the mailbox has with what was sent.
func checkStored(t *testing.T, server *standin.Server, messages []sent) {
	t.Helper()
	mailbox, _ := server.Mailbox("info@contoso.example")
	stored := make(map[string]standin.Message)
	for _, m := range mailbox.Messages() {
		stored[m.SHA256] = m
		if m.IsDraft || m.FolderClass != "IPF.Note" {
			t.Errorf("%q: draft %v, class %s", m.FolderPath, m.IsDraft, m.FolderClass)
		}
	}
	if len(stored) != len(messages) || mailbox.Stats().Messages != len(messages) {
		t.Errorf("%d messages stored, %d of them different, %d sent", mailbox.Stats().Messages, len(stored), len(messages))
	}
	for _, s := range messages {
		hash := sha256.Sum256([]byte(s.body))
		m, ok := stored[hex.EncodeToString(hash[:])]
		if !ok || m.UID != uint32(s.receipt.UID) || m.UIDValidity != s.receipt.UIDValidity || !m.Received.Equal(s.fingerprint.Received) ||
			m.IsRead != migrate.HasFlag(s.flags, migrate.Seen) || !slices.Contains(m.Flags, `\Flagged`) {
			t.Errorf("sent %v with receipt %v, stored %+v", s.fingerprint, s.receipt, m)
		}
	}
}

// checkFound looks each message up by both ways, and all by their folder.
func checkFound(t *testing.T, target migrate.Target, messages []sent) {
	t.Helper()
	listed := make(map[string]int)
	for _, s := range messages {
		for _, f := range []migrate.Fingerprint{s.fingerprint, {Received: s.fingerprint.Received, Subject: s.fingerprint.Subject}} {
			n := 0
			err := target.Find(t.Context(), f, func(found migrate.Found) error {
				if s.fingerprint.Matches(found.Fingerprint) && found.FolderID == s.folder.ID && !found.Draft {
					n++
				} else {
					t.Errorf("sent %+v, found %+v", s.fingerprint, found)
				}
				return nil
			})
			if n != 1 || err != nil {
				t.Errorf("found %d times: %+v, %v", n, f, err)
			}
		}
		if listed[s.folder.ID] == 0 {
			err := target.List(t.Context(), s.folder, func(migrate.Found) error { listed[s.folder.ID]++; return nil })
			if err != nil || listed[s.folder.ID] != 15 {
				t.Errorf("%q: listed %d, %v", s.folder.Path, listed[s.folder.ID], err)
			}
		}
	}
}

func TestStandInRefuses(t *testing.T) {
	server, x := tenant(t)
	for address, words := range map[string]string{"new@contoso.example": "no mailbox", "nobody@contoso.example": "no user"} {
		_, err := x.Resolve(t.Context(), address)
		if migrate.KindOf(err) != migrate.NoMailbox || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", address, err)
		}
	}
	mailbox, err := x.Resolve(t.Context(), "info@contoso.example")
	if err != nil {
		t.Fatal(err)
	}
	target, err := x.Open(t.Context(), migrate.Mailbox{Target: mailbox})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { target.Close() })
	inbox, err := target.Folder(t.Context(), migrate.UseInbox, nil)
	if err != nil {
		t.Fatal(err)
	}
	large := sent{body: "Subject: large\r\n\r\n" + strings.Repeat("x\r\n", 50_000)}
	gone := migrate.TargetFolder{ID: "gone", Path: []string{"Gone"}}
	tests := []struct {
		folder migrate.TargetFolder
		send   sent
		kind   migrate.Kind
	}{
		{inbox, large, migrate.TooLarge},
		{inbox, sent{body: "Subject: long line\r\n\r\n" + strings.Repeat("x", 10_501)}, migrate.Refused},
		{gone, sent{body: "Subject: small\r\n\r\n"}, migrate.NoFolder},
		{gone, sent{body: "Subject: middle\r\n\r\n" + strings.Repeat("x\r\n", 2000)}, migrate.NoFolder},
	}
	for _, test := range tests {
		_, err := target.Put(t.Context(), test.folder, test.send.message())
		var e *migrate.Error
		if !errors.As(err, &e) || e.Kind != test.kind || e.Unknown {
			t.Errorf("%q: %v", test.folder.Path, err)
		}
	}
	if _, err := target.Put(t.Context(), inbox, sent{body: "Subject: fits\r\n\r\n"}.message()); err != nil {
		t.Error(err)
	}
	if m, _ := server.Mailbox("info@contoso.example"); m.Stats().Messages != 1 {
		t.Errorf("%d messages stored, want 1", m.Stats().Messages)
	}
}
