package functionhost

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// Options says what a Host runs. The zero value needs a Root.
type Options struct {
	// Root is the script root: host.json, the folders of the functions and, if
	// host.json names it relatively, the handler's executable.
	Root string
	// Settings are the app settings: they fill %NAME% in function.json and in the
	// handler's arguments, hold the connection strings, and are the handler's
	// environment. To them come the FUNCTIONS_* variables, WEBSITE_HOSTNAME (the
	// front door's address) and PATH, HOME and TMPDIR of this process.
	Settings map[string]string
	// Instances is how many handler processes run; 0 is 1. Each is a whole
	// instance with its own port and its own Service Bus receivers.
	Instances int
	// HTTPAddr is the front door's address; empty is 127.0.0.1:0.
	HTTPAddr string
	// Terminate is how long a handler may go on after SIGTERM when the host
	// stops; then comes SIGKILL. 0 is SIGKILL at once.
	Terminate time.Duration
	// Output gets the handlers' lines as "[instance] level: line"; nil drops them.
	Output io.Writer
	// Logger gets the host's own records; nil is slog.Default().
	Logger *slog.Logger
	// BlobPoll is the time between two listings of a container; 0 is 1 s.
	BlobPoll time.Duration
}

// Host is a running functions host. Its methods may be called at any time from
// any goroutine.
type Host struct {
	config    *config
	functions []*function
	settings  settings
	log       *slog.Logger
	instances []*instance
	client    *http.Client
	masterKey string
	poll      time.Duration

	listener net.Listener
	server   *http.Server
	next     atomic.Uint32 // round robin over instances

	// intake ends when no trigger fires any more, work when invocations that
	// still run are given up, hard when handlers get no more grace.
	intake, work, hard                   context.Context
	stopIntake, giveUpWork, stopPatience context.CancelFunc
	tasks                                sync.WaitGroup // every goroutine of the host
	done                                 chan struct{}  // closed when every instance has ended
	stop                                 sync.Once
}

// Start reads the script root, starts the handlers and fires triggers. It
// returns when every handler answers, or with an error and nothing left
// running. ctx is for the start only: the host runs until Stop.
func Start(ctx context.Context, o Options) (*Host, error) {
	h, err := newHost(o)
	if err != nil {
		return nil, fmt.Errorf("start functions host: %w", err)
	}
	triggers, err := h.triggers()
	if err != nil {
		h.listener.Close()
		return nil, fmt.Errorf("start functions host: %w", err)
	}
	for _, in := range h.instances {
		h.tasks.Go(func() { in.supervise(h.hard) })
	}
	h.tasks.Go(h.watch)
	for _, in := range h.instances {
		if _, err := in.handler(ctx); err != nil {
			stopped, cancel := context.WithCancel(ctx)
			cancel()
			return nil, errors.Join(fmt.Errorf("start functions host: instance %d: %w", in.index, err), h.Stop(stopped))
		}
	}
	h.tasks.Go(func() { _ = h.server.Serve(h.listener) })
	for _, run := range triggers {
		h.tasks.Go(run)
	}
	return h, nil
}

func newHost(o Options) (*Host, error) {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	h := &Host{
		settings: settings{}, log: cmp.Or(o.Logger, slog.Default()), client: newClient(), masterKey: newKey(),
		poll: cmp.Or(o.BlobPoll, time.Second), done: make(chan struct{}),
	}
	maps.Copy(h.settings, o.Settings)
	if h.config, err = readConfig(root, h.settings); err != nil {
		return nil, err
	}
	if h.functions, err = discover(root, h.config, h.settings); err != nil {
		return nil, err
	}
	if h.listener, err = net.Listen("tcp", cmp.Or(o.HTTPAddr, "127.0.0.1:0")); err != nil {
		return nil, fmt.Errorf("open the front door: %w", err)
	}
	h.settings["WEBSITE_HOSTNAME"] = h.listener.Addr().String()
	h.server = &http.Server{Handler: h.frontDoor(), ReadHeaderTimeout: time.Minute}
	h.intake, h.stopIntake = context.WithCancel(context.Background())
	h.work, h.giveUpWork = context.WithCancel(context.Background())
	h.hard, h.stopPatience = context.WithCancel(context.Background())
	h.addInstances(root, o)
	return h, nil
}

func (h *Host) addInstances(root string, o Options) {
	out := &output{to: o.Output}
	if out.to == nil {
		out.to = io.Discard
	}
	for i := range max(o.Instances, 1) {
		in := &instance{
			index: i, root: root, config: h.config, env: h.settings, grace: o.Terminate,
			output: out, log: h.log, client: h.client, changed: make(chan struct{}), ended: make(chan struct{}),
		}
		in.alive, in.end = context.WithCancelCause(h.intake)
		h.instances = append(h.instances, in)
	}
}

// triggers returns what is to run for as long as triggers fire.
func (h *Host) triggers() ([]func(), error) {
	var runs []func()
	var refused []error
	for _, f := range h.functions {
		var err error
		var more []func()
		switch {
		case f.trigger.is("serviceBusTrigger"):
			more, err = h.queueTrigger(f)
		case f.trigger.is("blobTrigger"):
			more, err = h.blobTrigger(f)
		case f.trigger.is("timerTrigger"):
			more, err = h.timerTrigger(f)
		}
		if err != nil {
			refused = append(refused, fmt.Errorf("function %s: %w", f.name, err))
		}
		runs = append(runs, more...)
	}
	return runs, errors.Join(refused...)
}

// newClient has no timeout: functionTimeout is the only limit.
func newClient() *http.Client {
	return &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
}

// newKey returns a key as long as those of the real host.
func newKey() string {
	key := make([]byte, 40)
	_, _ = rand.Read(key) // never fails, see crypto/rand
	return base64.RawURLEncoding.EncodeToString(key)
}

// URL is the front door without a slash at its end, such as
// http://127.0.0.1:7071. Functions are below /api unless host.json says
// otherwise.
func (h *Host) URL() string { return "http://" + h.listener.Addr().String() }

// MasterKey opens every HTTP function. The app setting FunctionKey, if there
// is one, opens those with authLevel function.
func (h *Host) MasterKey() string { return h.masterKey }

// Kill ends handler process i by SIGKILL, waits for its end and leaves the rest
// to the instance: what it was working on fails, and a new process is started.
// The death does not count as one of the three errors that end an instance.
func (h *Host) Kill(i int) error {
	p, err := h.process(i)
	if err != nil {
		return err
	}
	p.kill()
	return nil
}

// Pid returns the process id of handler process i, 0 if there is none.
func (h *Host) Pid(i int) int {
	p, err := h.process(i)
	if err != nil {
		return 0
	}
	return p.command.Process.Pid
}

func (h *Host) process(i int) (*process, error) {
	if i < 0 || i >= len(h.instances) {
		return nil, fmt.Errorf("there is no instance %d", i)
	}
	return h.instances[i].process()
}

// Done is closed when no handler runs any more and none will: after Stop, or
// when every instance ended by exit status 0 or by too many errors.
func (h *Host) Done() <-chan struct{} { return h.done }

func (h *Host) watch() {
	for _, in := range h.instances {
		<-in.ended
	}
	close(h.done)
}

// Restarts is how often a handler was started beyond the first time, over all
// instances.
func (h *Host) Restarts() int {
	restarts := 0
	for _, in := range h.instances {
		in.mu.Lock()
		restarts += max(in.starts-1, 0)
		in.mu.Unlock()
	}
	return restarts
}

// Stop fires no more triggers, ends the handlers and returns when nothing of
// the host is left. What was still being worked on fails and is abandoned. When
// ctx ends, handlers that are still in their grace are killed at once; that is
// no error. Stop may be called again.
func (h *Host) Stop(ctx context.Context) error {
	var err error
	h.stop.Do(func() {
		defer context.AfterFunc(ctx, h.stopPatience)()
		h.stopIntake()
		<-h.done
		h.giveUpWork()
		err = h.closeFrontDoor()
		h.tasks.Wait()
		h.client.CloseIdleConnections()
	})
	return err
}

// closeFrontDoor gives requests whose handler has just ended a moment to be
// answered.
func (h *Host) closeFrontDoor() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := h.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.server.Close()
	}
	h.listener.Close() // the server knows it only once it serves
	return err
}

// pick returns the next instance that takes triggers, nil if none does.
func (h *Host) pick() *instance {
	for range h.instances {
		in := h.instances[int(h.next.Add(1)-1)%len(h.instances)]
		if in.alive.Err() == nil {
			return in
		}
	}
	return nil
}
