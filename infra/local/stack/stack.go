// Package stack runs the whole app on one machine: Azurite, the Service Bus broker, the Exchange
// Online stand-in and the Functions host with the handler in it.
package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"mailferry/infra/local/azurite"
	"mailferry/infra/local/exchange"
	"mailferry/infra/local/faults"
	"mailferry/infra/local/functionhost"
	"mailferry/infra/local/servicebus"
	"mailferry/infra/package/layout"
	"mailferry/shared/blobstore"
	"mailferry/shared/credentials"
)

// Options choose what runs. The zero value, with a Dir, is a whole stack.
type Options struct {
	Dir       string            // data, found again at the next start
	App       string            // a laid-out app; "" builds one into Dir/app
	Instances int               // handler processes; 0 is 1
	Settings  map[string]string // added to, and stronger than, the stack's own
	HTTPAddr  string            // the front door; "" is a free port
	Terminate time.Duration     // grace after SIGTERM when the host stops; 0 is SIGKILL
	Output    io.Writer         // the handlers' log
	Logger    *slog.Logger      // nil discards
	Tenant    bool              // write into a real tenant: no Exchange stand-in, the settings name it
	Faults    *faults.Plan      // what the parts are to do wrong; nil: nothing, and blobs go no detour
	Control   string            // address of the plan's control face; "" is none
}

// Stack is a running app with everything around it.
type Stack struct {
	Azurite  *azurite.Server
	storage  string // the connection string of the app's blobs, through the faults if there are any
	Broker   *servicebus.Broker
	Exchange *exchange.Server // nil when a real tenant is the target
	Host     *functionhost.Host
	Drop     *blobstore.Store // the drop zone
	State    *blobstore.Store
	Settings map[string]string
	Control  string // base URL of the control face of faults, "" if there is none
	stops    []func() error
}

const queue = "wakeups"

// Start starts everything and returns when the handlers are ready. ctx bounds the start only.
func Start(ctx context.Context, o Options) (*Stack, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := new(Stack)
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, o Options) (err error) {
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return err
	}
	keep := context.WithoutCancel(ctx)
	if o.Control != "" && o.Faults != nil {
		c, err := startControl(ctx, o.Control, o.Faults)
		if err != nil {
			return err
		}
		s.Control = c.url()
		s.stops = append(s.stops, c.stop)
	}
	if s.Azurite, err = azurite.Start(ctx, azurite.Options{Dir: filepath.Join(o.Dir, "azurite"), Logger: o.Logger}); err != nil {
		return err
	}
	s.stops = append(s.stops, s.Azurite.Close)
	if s.storage = s.Azurite.ConnectionString(); o.Faults != nil {
		proxy, err := s.Azurite.Faulty(keep, o.Faults)
		if err != nil {
			return err
		}
		s.stops = append(s.stops, proxy.Close)
		s.storage = s.Azurite.ConnectionStringThrough(proxy.URL())
	}
	s.Broker, err = servicebus.Start(keep, servicebus.Options{Logger: o.Logger, Faults: o.Faults, Queues: []servicebus.Queue{
		{Name: queue, LockDuration: time.Minute, MaxDeliveryCount: 5, DuplicateDetection: 10 * time.Minute}}})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, s.Broker.Close)
	if s.Settings, err = s.settings(keep, o); err != nil {
		return err
	}
	if err := s.containers(ctx); err != nil {
		return err
	}
	if o.App == "" {
		o.App = filepath.Join(o.Dir, "app")
		root, err := layout.Root(ctx)
		if err != nil {
			return err
		}
		if err := layout.Build(ctx, root, o.App, "", ""); err != nil {
			return err
		}
	}
	s.Host, err = functionhost.Start(ctx, functionhost.Options{Root: o.App, Settings: s.Settings, Instances: o.Instances,
		HTTPAddr: o.HTTPAddr, Faults: o.Faults, Terminate: o.Terminate, Output: o.Output, Logger: o.Logger})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, func() error { return s.Host.Stop(context.WithoutCancel(ctx)) })
	return nil
}

// settings are the app settings of this stack. Keys and ids lie in Dir, for the next start.
func (s *Stack) settings(ctx context.Context, o Options) (map[string]string, error) {
	kept, err := keptSecrets(filepath.Join(o.Dir, "secrets.json"))
	if err != nil {
		return nil, err
	}
	settings := map[string]string{
		"FUNCTIONS_WORKER_RUNTIME": "custom",
		"AzureWebJobsStorage":      s.Azurite.ConnectionString(),
		"DropZone":                 s.storage,
		"WAKEUP_QUEUE":             queue,
		"TICK_SCHEDULE":            "0 * * * * *",
	}
	maps.Copy(settings, kept)
	if !o.Tenant {
		if err := s.startExchange(ctx, o, settings); err != nil {
			return nil, err
		}
	}
	if err := s.detours(ctx, o, settings); err != nil {
		return nil, err
	}
	maps.Copy(settings, o.Settings)
	return settings, nil
}

func (s *Stack) startExchange(ctx context.Context, o Options, settings map[string]string) (err error) {
	s.Exchange, err = exchange.Start(ctx, exchange.Options{Dir: filepath.Join(o.Dir, "exchange"), Logger: o.Logger, Faults: o.Faults,
		TenantID: settings["EXCHANGE_TENANT_ID"], ClientID: settings["EXCHANGE_CLIENT_ID"], ClientSecret: settings["EXCHANGE_CLIENT_SECRET"]})
	if err != nil {
		return err
	}
	s.stops = append(s.stops, s.Exchange.Close)
	ca := filepath.Join(o.Dir, "exchange-ca.pem")
	if err := os.WriteFile(ca, s.Exchange.CA(), 0o644); err != nil {
		return fmt.Errorf("write the stand-in's certificate: %w", err)
	}
	settings["EXCHANGE_CA_FILE"] = ca
	return nil
}

// keptSecrets reads the stack's keys and ids, or makes them the first time.
func keptSecrets(path string) (map[string]string, error) {
	kept := make(map[string]string)
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, &kept)
		return kept, err
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read the stack's secrets: %w", err)
	}
	identity, recipient, err := credentials.GenerateKey()
	if err != nil {
		return nil, err
	}
	kept = map[string]string{
		"SEAL_IDENTITY": identity, "SEAL_RECIPIENT": recipient, "EXCHANGE_TENANT_ID": uuid.NewString(),
		"EXCHANGE_CLIENT_ID": uuid.NewString(), "EXCHANGE_CLIENT_SECRET": uuid.NewString(), "FunctionKey": uuid.NewString(),
	}
	content, err = json.MarshalIndent(kept, "", "  ")
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, content, 0o600)
	}
	return kept, err
}

// containers makes what Bicep makes on Azure.
func (s *Stack) containers(ctx context.Context) (err error) {
	if s.Drop, err = blobstore.FromConnectionString(s.Azurite.ConnectionString(), "batches"); err != nil {
		return err
	}
	if s.State, err = blobstore.FromConnectionString(s.Azurite.ConnectionString(), "mailferry"); err != nil {
		return err
	}
	return errors.Join(s.Drop.EnsureContainer(ctx), s.State.EnsureContainer(ctx))
}

// Stop ends everything, the last started first.
func (s *Stack) Stop() error {
	var errs []error
	for i := len(s.stops) - 1; i >= 0; i-- {
		errs = append(errs, s.stops[i]())
	}
	s.stops = nil
	return errors.Join(errs...)
}
