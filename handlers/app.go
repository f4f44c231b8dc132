package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"os"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/emersion/go-message/charset"

	"mailferry/shared/blobstore"
	"mailferry/shared/credentials"
	"mailferry/shared/exchange"
	"mailferry/shared/imapsource"
	"mailferry/shared/intake"
	"mailferry/shared/migrate"
	"mailferry/shared/settings"
	"mailferry/shared/wakeups"
)

// app is the program, wired. Until wire has returned, ready is open and requests wait.
type app struct {
	soft    context.Context // ends with SIGTERM: take no new work
	log     *slog.Logger
	ready   chan struct{}
	drop    migrate.Store
	store   migrate.Store
	planner *migrate.Planner
	runner  *migrate.Runner
	intake  *intake.Intake
	closers []func()
}

func newApp(soft context.Context, log *slog.Logger) *app {
	return &app{soft: soft, log: log, ready: make(chan struct{})}
}

// wire builds every adapter from the settings.
func (a *app) wire(s settings.Settings) error {
	words := &mime.WordDecoder{CharsetReader: charset.Reader}
	drop, err := store(s, s.DropZone)
	if err != nil {
		return err
	}
	state, err := store(s, s.State)
	if err != nil {
		return err
	}
	if err := state.EnsureContainer(a.soft); err != nil {
		return fmt.Errorf("make the state container: %w", err)
	}
	waker, err := sender(s)
	if err != nil {
		return err
	}
	a.closers = append(a.closers, func() { waker.Close(context.Background()) })
	target, err := target(s, words, a.log)
	if err != nil {
		return err
	}
	a.closers = append(a.closers, func() { target.Close() })
	sealer, err := credentials.NewSealer(s.SealRecipient)
	if err != nil {
		return fmt.Errorf("setting SEAL_RECIPIENT: %w", err)
	}
	opener, err := credentials.NewOpener(string(s.SealIdentity))
	if err != nil {
		return fmt.Errorf("setting SEAL_IDENTITY: %w", err)
	}
	vault := &credentials.Vault{Store: state, Sealer: sealer, Opener: opener}
	source := sourceDialer(vault, a.log)
	a.drop, a.store = drop, state
	a.planner = &migrate.Planner{Store: state, Drop: drop, Waker: waker, Grace: s.WakeGrace}
	a.runner = &migrate.Runner{
		Store: state, Drop: drop, Waker: waker, Planner: a.planner, Dial: migrate.Brake{Store: state}.Guard(source.Dial), Open: target.Open,
		Spool: migrate.NewSpool(s.SpoolMemory, s.SpoolDisk, s.SpoolDir), Gate: migrate.NewGate(), Words: words,
		Limits: s.Limits.Defaults(), Logger: a.log,
	}
	a.intake = &intake.Intake{Drop: drop, Store: state, Directory: target, Vault: vault, Sealer: sealer, Planner: a.planner}
	close(a.ready)
	return nil
}

// sourceDialer signs in with the vault's passwords and with the app settings that endpoints name.
func sourceDialer(vault *credentials.Vault, log *slog.Logger) imapsource.Dialer {
	return imapsource.Dialer{
		Logger: log,
		Tokens: &imapsource.Tokens{},
		Password: func(ctx context.Context, m migrate.Mailbox) (string, error) {
			secret, err := vault.Get(ctx, m.ID)
			return string(secret), err
		},
		KeepPassword: func(ctx context.Context, m migrate.Mailbox, password string) error {
			return vault.Put(ctx, m.ID, credentials.Secret(password))
		},
		Setting: func(name string) (string, error) { return settings.Secret(os.Getenv, name) },
	}
}

func (a *app) close() {
	for _, c := range a.closers {
		c()
	}
}

func store(s settings.Settings, container string) (*blobstore.Store, error) {
	if s.Storage.String != "" {
		return blobstore.FromConnectionString(string(s.Storage.String), container)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("find the app's identity: %w", err)
	}
	return blobstore.FromURL(s.Storage.Address, credential, container)
}

func sender(s settings.Settings) (*wakeups.Sender, error) {
	if s.ServiceBus.String != "" {
		return wakeups.FromConnectionString(string(s.ServiceBus.String), s.Queue)
	}
	credential, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return nil, fmt.Errorf("find the app's identity: %w", err)
	}
	return wakeups.FromNamespace(s.ServiceBus.Address, credential, s.Queue)
}

func target(s settings.Settings, words *mime.WordDecoder, log *slog.Logger) (*exchange.Exchange, error) {
	o := exchange.Options{GraphURL: s.GraphURL, IMAPAddr: s.IMAPAddr, Writers: s.Writers, Words: words, Logger: log}
	if s.CAFile != "" {
		pem, err := os.ReadFile(s.CAFile)
		if err != nil {
			return nil, fmt.Errorf("setting EXCHANGE_CA_FILE: %w", err)
		}
		o.RootCAs = x509.NewCertPool()
		if !o.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("setting EXCHANGE_CA_FILE: %s holds no certificate", s.CAFile)
		}
	}
	credential, err := tenantCredential(s, o.RootCAs)
	if err != nil {
		return nil, err
	}
	o.Graph = credential
	return exchange.New(o)
}

// tenantCredential signs the application in to the target tenant: with its secret, else with the
// identity it runs under.
func tenantCredential(s settings.Settings, roots *x509.CertPool) (azcore.TokenCredential, error) {
	if s.ClientSecret == "" {
		return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{TenantID: s.TenantID})
	}
	o := &azidentity.ClientSecretCredentialOptions{}
	if s.Authority != "" {
		o.DisableInstanceDiscovery = true
		o.ClientOptions = policy.ClientOptions{
			Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: s.Authority},
			Transport: &http.Client{Transport: trusting(roots)},
		}
	}
	c, err := azidentity.NewClientSecretCredential(s.TenantID, s.ClientID, string(s.ClientSecret), o)
	if err != nil {
		return nil, fmt.Errorf("sign in to the target tenant: %w", err)
	}
	return c, nil
}
