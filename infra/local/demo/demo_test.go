package demo

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"mailferry/infra/package/layout"
)

// patience is how long a job may take: it only ends one that hangs, and a busy machine takes long.
const patience = 20 * time.Minute

// app is the laid-out app that every test of this package runs.
var app string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "mailferry-app-*")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		root, err := layout.Root(context.Background())
		if err == nil {
			err = layout.Build(context.Background(), root, dir, "", "")
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		app = dir
		if code := m.Run(); code != 0 {
			return code
		}
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	}())
}

// logWriter shows the job's own lines in the test's log.
type logWriter struct{ t *testing.T }

func (w logWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

// The main job, with everything that may go wrong between the parts on one way: handlers SIGKILLed
// three times with two instances, the Service Bus broker restarted empty, runs so short that
// mailboxes are handed over again and again, and a message that is too large to be held in memory.
func TestMainJobThroughKillsAndLostQueue(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := Run(ctx, Options{Dir: t.TempDir(), App: app, Messages: 1500, Kills: 3, Instances: 2, WipeQueue: true,
		Large: 20 << 20, Budget: 2 * time.Second, Out: logWriter{t}})
	if err != nil {
		t.Fatal(err)
	}
}

// With three instances and nothing in the way.
func TestMainJobWithThreeInstances(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := Run(ctx, Options{Dir: t.TempDir(), App: app, Messages: 300, Instances: 3, Out: logWriter{t}}); err != nil {
		t.Fatal(err)
	}
}

// A difference of any kind between source and target is told.
func TestDifference(t *testing.T) {
	a := entry{folder: "inbox", sha256: "0123456789abcdef", received: 1}
	moved, dated, flagged := a, a, a
	moved.folder, dated.received, flagged.flags = "archive", 2, `\Seen`
	for name, got := range map[string][]entry{
		"lacking": {}, "doubled": {a, a}, "moved": {moved}, "dated": {dated}, "flagged": {flagged},
	} {
		if difference("x", []entry{a}, got) == nil {
			t.Errorf("%s: no difference told", name)
		}
	}
	if err := difference("x", []entry{a, a}, []entry{a, a}); err != nil {
		t.Error(err)
	}
}
