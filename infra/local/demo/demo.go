// Package demo runs the main job end to end on one machine, with a real Dovecot as the source, and
// accounts for every message afterwards.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/exchange"
	"mailferry/infra/local/faults"
	"mailferry/infra/local/sample"
	"mailferry/infra/local/stack"
	"mailferry/shared/migrate"
)

// Options are the demo's dials.
type Options struct {
	Dir        string // the stack's data
	App        string // a laid-out app, or "" to build one
	Messages   int    // over all three mailboxes
	Kills      int    // times a handler is SIGKILLed while mail moves
	Instances  int
	WipeQueue  bool          // restart the Service Bus broker empty while mail moves
	Large      int           // octets of one large message; 0 is none
	MaxMessage int64         // octets the target mailboxes take; 0 is Exchange's default
	Out        io.Writer     // progress and result
	Output     io.Writer     // the handlers' log
	Budget     time.Duration // of a run; 0 is 15 s
	Faults     *faults.Plan  // what the parts are to do wrong; the source's connections are "source.*"
}

const (
	endpoint = "dovecot"
	batch    = "demo"
	password = "correct horse, battery; staple"
)

// account is one of the three mailboxes.
type account struct {
	login, address string
	user           exchange.User
	before, later  []dovecot.Item
}

type demo struct {
	Options
	source   *dovecot.Server
	between  *faults.Proxy // between app and source, if there are faults
	stack    *stack.Stack
	accounts []*account
	began    time.Time
	client   *http.Client
}

// Run runs the whole job and returns an error unless every message is accounted for.
func Run(ctx context.Context, o Options) (err error) {
	d := &demo{Options: o, client: &http.Client{Timeout: 30 * time.Second}}
	if d.Budget == 0 {
		d.Budget = 15 * time.Second
	}
	defer d.client.CloseIdleConnections()
	defer func() { err = errors.Join(err, d.stop()) }()
	for _, step := range []struct {
		say string
		do  func(context.Context) error
	}{
		{"starting Dovecot and filling three mailboxes", d.fill},
		{"starting the app: storage, Service Bus, Exchange Online, Functions host", d.start},
		{"dropping demo.csv", d.drop},
		{"moving mail", d.watch},
		{"new mail arrived at the source; waiting for the next incremental sync", d.catchUp},
		{"asking for completion over HTTP", d.complete},
		{"accounting for every message", d.account},
	} {
		fmt.Fprintf(d.Out, "\n— %s\n", step.say)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.say, err)
		}
	}
	return nil
}

func (d *demo) stop() error {
	var errs []error
	if d.stack != nil {
		errs = append(errs, d.stack.Stop())
	}
	if d.between != nil {
		errs = append(errs, d.between.Close())
	}
	if d.source != nil {
		errs = append(errs, d.source.Stop())
	}
	return errors.Join(errs...)
}

// fill makes the three mailboxes: two people, and a shared mailbox whose user is unlicensed and
// disabled.
func (d *demo) fill(ctx context.Context) (err error) {
	if d.source, err = dovecot.Start(ctx, dovecot.Options{}); err != nil {
		return err
	}
	d.accounts = []*account{
		{login: "anna", address: "anna@contoso.example", user: exchange.User{AccountEnabled: true, Licensed: true, Language: "de"}},
		{login: "bjoern", address: "bjoern@contoso.example", user: exchange.User{AccountEnabled: true, Licensed: true}},
		{login: "office", address: "office@contoso.example", user: exchange.User{Shared: true}},
	}
	for i, a := range d.accounts {
		n := d.Messages / 3
		if i == 0 {
			n += d.Messages % 3
		}
		a.user.UserPrincipalName, a.user.MaxReceiveSize = a.address, d.MaxMessage
		a.before = sample.Mailbox(uint64(i+1), a.address, n)
		if d.Large > 0 && i == 0 {
			a.before = append(a.before, sample.Large(d.Large))
		}
		for k := range 3 {
			item := sample.New(uint64(i+1), a.address, n+k)
			item.Received = time.Now()
			a.later = append(a.later, item)
		}
		if err := d.source.AddUser(a.login, password); err != nil {
			return err
		}
		if err := d.source.Fill(ctx, a.login, a.before); err != nil {
			return err
		}
		fmt.Fprintf(d.Out, "  %-24s %6d messages\n", a.address, len(a.before))
	}
	return nil
}

func (d *demo) start(ctx context.Context) (err error) {
	d.stack, err = stack.Start(ctx, stack.Options{Dir: d.Dir, App: d.App, Instances: max(1, d.Instances), Output: d.Output, Faults: d.Faults, Settings: map[string]string{
		"TICK_SCHEDULE": "*/5 * * * * *", "LONGEST_REQUEST": "3s", "WAKE_GRACE": "15s", "LEASE": "15s", "RUN_BUDGET": d.Budget.String()}})
	if err != nil {
		return err
	}
	for _, a := range d.accounts {
		if err := d.stack.Exchange.AddUser(a.user); err != nil {
			return err
		}
	}
	return nil
}

// drop puts endpoint.json and the CSV where an administrator would.
func (d *demo) drop(ctx context.Context) error {
	host, port, err := d.sourceAddr(ctx)
	if err != nil {
		return err
	}
	description, err := json.MarshalIndent(map[string]any{"host": host, "port": port, "security": "tls", "ca": string(d.source.CA()), "slots": 3, "syncEvery": "3s"}, "", "  ")
	if err != nil {
		return err
	}
	if _, err := d.stack.Drop.Put(ctx, endpoint+"/endpoint.json", description, nil, migrate.Condition{}); err != nil {
		return err
	}
	csv := "EmailAddress,UserName,Password\r\n"
	for _, a := range d.accounts {
		csv += fmt.Sprintf("%s,%s,\"%s\"\r\n", a.address, a.login, password)
	}
	d.began = time.Now()
	_, err = d.stack.Drop.Put(ctx, endpoint+"/"+batch+".csv", []byte(csv), nil, migrate.Condition{})
	return err
}

// sourceAddr is where the app reaches the source.
func (d *demo) sourceAddr(ctx context.Context) (host string, port int, err error) {
	host, port = d.source.TLSAddr()
	if d.Faults == nil {
		return host, port, nil
	}
	d.between, err = faults.StartProxy(context.WithoutCancel(ctx), faults.ProxyOptions{Name: "source", Upstream: net.JoinHostPort(host, strconv.Itoa(port)), Plan: d.Faults})
	if err != nil {
		return "", 0, err
	}
	_, text, err := net.SplitHostPort(d.between.Addr())
	if err == nil {
		port, err = strconv.Atoi(text)
	}
	return host, port, err
}

// catchUp delivers new mail to the source and waits until it has arrived.
func (d *demo) catchUp(ctx context.Context) error {
	for _, a := range d.accounts {
		for _, item := range a.later {
			if err := d.source.Deliver(ctx, a.login, item.Folder, item.Message, item.Received, item.Flags...); err != nil {
				return err
			}
		}
	}
	return d.await(ctx, "the new mail", func(b *migrate.BatchStatus) bool {
		for _, m := range b.Details {
			if m.Counts.Messages() < d.expected(m.Address) {
				return false
			}
		}
		return true
	})
}

func (d *demo) expected(address string) int {
	for _, a := range d.accounts {
		if a.address == address {
			return len(a.before) + len(a.later)
		}
	}
	return 0
}

// complete asks for completion as a Logic App would: POST, 202 with Location, then poll that.
func (d *demo) complete(ctx context.Context) error {
	response, err := d.request(ctx, http.MethodPost, d.stack.Host.URL()+"/api/batches/"+endpoint+"/"+batch+"/complete")
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusAccepted || response.Header.Get("Location") == "" {
		return fmt.Errorf("the answer is %s, not 202 with a Location", response.Status)
	}
	return d.await(ctx, "completion", func(b *migrate.BatchStatus) bool {
		for _, m := range b.Details {
			if !m.State.Final() {
				return false
			}
		}
		return true
	})
}
