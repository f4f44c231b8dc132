// Command bench measures the app on this machine and prints what it measured, each figure beside its
// bound. It fails on errors only, never on a figure.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"mailferry/infra/package/layout"
)

// measurement is one thing that is measured.
type measurement struct {
	name, about string
	run         func(context.Context, *bench) error
}

var measurements = []measurement{
	{"start", "how soon the handler answers after its start", startTimes},
	{"memory", "the handler's memory while it moves a message of 100 MiB", largeMessage},
	{"reading", "reading 3,000 messages from Dovecot, against a bare go-imap FETCH and mbsync", reading},
	{"unchanged", "round trips of a sync that finds nothing new in 200 folders with 500,000 messages", unchanged},
	{"store", "the Exchange stand-in with 500,000 messages in one folder", storeSize},
}

// bench is what the measurements share.
type bench struct {
	dir   string // temporary
	built string // the app, once it was built
	runs  int    // of each thing that is compared
	peers bool   // whether other programs are among these
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stderr)
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, usage io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(usage)
	flags.Usage = func() {
		fmt.Fprintln(usage, "Usage: go run ./infra/bench [flags]\n\nMeasures, by name:")
		for _, m := range measurements {
			fmt.Fprintf(usage, "  %-10s %s\n", m.name, m.about)
		}
		fmt.Fprintln(usage, "\nFlags:")
		flags.PrintDefaults()
	}
	only := flags.String("only", "", "the measurements to make, separated by commas (default all)")
	b := new(bench)
	flags.IntVar(&b.runs, "runs", 5, "how often each thing that is compared is run")
	flags.BoolVar(&b.peers, "peers", true, "compare with other programs, too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "mailferry-bench-*"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	for _, m := range chosen {
		if err := m.run(ctx, b); err != nil {
			return fmt.Errorf("measure %s: %w", m.name, err)
		}
	}
	return nil
}

// choose returns the named measurements; no name is all.
func choose(names string) ([]measurement, error) {
	if names == "" {
		return measurements, nil
	}
	var chosen []measurement
	for _, name := range strings.Split(names, ",") {
		i := slices.IndexFunc(measurements, func(m measurement) bool { return m.name == strings.TrimSpace(name) })
		if i < 0 {
			return nil, fmt.Errorf("no measurement is called %q; -help lists them", name)
		}
		chosen = append(chosen, measurements[i])
	}
	return chosen, nil
}

// app builds the app as it is deployed, once, and returns its folder.
func (b *bench) app(ctx context.Context) (string, error) {
	if b.built != "" {
		return b.built, nil
	}
	root, err := layout.Root(ctx)
	if err != nil {
		return "", err
	}
	app := filepath.Join(b.dir, "app")
	if err := layout.Build(ctx, root, app, "", ""); err != nil {
		return "", err
	}
	b.built = app
	return app, nil
}
