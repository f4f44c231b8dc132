// Command local runs the whole app on one machine.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"mailferry/infra/local/demo"
	"mailferry/infra/local/exchange"
	"mailferry/infra/local/faults"
	"mailferry/infra/local/functionhost"
	"mailferry/infra/local/stack"
)

const usage = `usage: go run ./infra/local <command> [flags]

  up     runs the app until Ctrl-C and prints where everything listens, as JSON
  demo   moves three mailboxes from a real Dovecot and accounts for every message
         (environment: DEMO_MESSAGES, default 600; DEMO_KILLS; DEMO_INSTANCES; DEMO_WIPE=1; DEMO_LOG=1)

go run ./infra/local <command> --help shows the flags.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "up":
		err = up(ctx, os.Args[2:])
	case "demo":
		err = runDemo(ctx, os.Args[2:])
	case "help", "-h", "--help":
		fmt.Print(usage)
	default:
		err = fmt.Errorf("there is no command %q\n%s", os.Args[1], usage)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "local:", err)
		os.Exit(1)
	}
}

// addresses is what `up` prints and writes.
type addresses struct {
	HTTP              string `json:"http"`
	FunctionKey       string `json:"functionKey"`
	StorageConnection string `json:"storageConnection"`
	DropContainer     string `json:"dropContainer"`
	StateContainer    string `json:"stateContainer"`
	ServiceBus        string `json:"serviceBusConnection"`
	Graph             string `json:"graph,omitempty"`
	IMAP              string `json:"imap,omitempty"`
	Faults            string `json:"faults,omitempty"`
	CAFile            string `json:"caFile,omitempty"`
	Data              string `json:"data"`
}

// up runs until ctx ends.
func up(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("up", flag.ContinueOnError)
	dir := flags.String("dir", ".local", "folder of the data, found again at the next start")
	instances := flags.Int("instances", 1, "handler processes")
	listen := flags.String("listen", "127.0.0.1:7071", "address of the HTTP functions")
	users := flags.String("users", "", "JSON file with users of the Exchange Online stand-in")
	control := flags.String("faults", "", "address, such as 127.0.0.1:7072, where parts are told over HTTP to misbehave; none by default")
	settingsFile := flags.String("settings", "local.settings.json", "app settings as Core Tools reads them; EXCHANGE_CLIENT_SECRET in it names a real tenant")
	if err := flags.Parse(args); err != nil {
		return err
	}
	accounts, err := readUsers(*users)
	if err != nil {
		return err
	}
	settings, err := functionhost.ReadLocalSettings(*settingsFile)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var plan *faults.Plan
	if *control != "" {
		plan = faults.New()
	}
	s, err := stack.Start(ctx, stack.Options{Dir: *dir, Faults: plan, Control: *control, Instances: *instances, HTTPAddr: *listen, Settings: settings,
		Terminate: 30 * time.Second, Output: os.Stderr, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Tenant: settings["EXCHANGE_CLIENT_SECRET"] != ""})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	if err := addUsers(s, accounts); err != nil {
		return err
	}
	if err := announce(s, *dir); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return nil
	case <-s.Host.Done():
		return errors.New("the functions host ended; its log is above")
	}
}

// readUsers reads the file of users, if there is one. It does so before anything starts, and refuses a misspelt field.
func readUsers(file string) (users []exchange.User, err error) {
	if file == "" {
		return nil, nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read users: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(content))
	d.DisallowUnknownFields()
	if err := d.Decode(&users); err != nil {
		return nil, fmt.Errorf("read users of %s: %w", file, err)
	}
	return users, nil
}

func addUsers(s *stack.Stack, users []exchange.User) error {
	if s.Exchange == nil {
		return nil
	}
	for _, u := range users {
		if err := s.Exchange.AddUser(u); err != nil {
			return fmt.Errorf("add users: %w", err)
		}
	}
	return nil
}

// announce prints the addresses and leaves them in the data folder.
func announce(s *stack.Stack, dir string) error {
	a := addresses{HTTP: s.Host.URL() + "/api", FunctionKey: s.Settings["FunctionKey"], StorageConnection: s.Azurite.ConnectionString(),
		DropContainer: "batches", StateContainer: "mailferry", ServiceBus: s.Broker.ConnectionString(), Faults: s.Control, Data: dir}
	if s.Exchange != nil {
		a.Graph, a.IMAP, a.CAFile = s.Exchange.GraphURL(), s.Exchange.IMAPAddr(), s.Settings["EXCHANGE_CA_FILE"]
	}
	text, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	fmt.Println(string(text))
	return os.WriteFile(filepath.Join(dir, "addresses.json"), text, 0o600)
}

func runDemo(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	messages := flags.Int("messages", number("DEMO_MESSAGES", 600), "messages over all three mailboxes")
	kills := flags.Int("kills", number("DEMO_KILLS", 0), "times a handler is SIGKILLed while mail moves")
	instances := flags.Int("instances", number("DEMO_INSTANCES", 2), "handler processes")
	wipe := flags.Bool("wipe", os.Getenv("DEMO_WIPE") != "", "restart the Service Bus broker empty while mail moves")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mailferry-demo-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var output io.Writer
	if os.Getenv("DEMO_LOG") != "" {
		output = os.Stderr
	}
	began := time.Now()
	err = demo.Run(ctx, demo.Options{Dir: dir, Messages: *messages, Kills: *kills, Instances: *instances, WipeQueue: *wipe, Out: os.Stdout, Output: output})
	if err != nil {
		return err
	}
	fmt.Printf("\ndone in %.1f s\n", time.Since(began).Seconds())
	return nil
}

func number(name string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(name)); err == nil {
		return n
	}
	return otherwise
}
