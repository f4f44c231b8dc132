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
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"mailferry/infra/local/faults"
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
	// Instances is how many instances run; 0 is 1. Each is a whole host with its
	// own handler process, port, Service Bus receivers and timers.
	Instances int
	// HTTPAddr is the front door's address; empty is 127.0.0.1:0.
	HTTPAddr string
	// Terminate is how long a handler may go on after SIGTERM when its instance
	// stops, as the Flex plan ends language workers; then comes SIGKILL. 0 is
	// SIGKILL at once.
	Terminate time.Duration
	// Output gets the handlers' lines as "[instance] level: line"; nil drops them.
	Output io.Writer
	// Logger gets the host's own records; nil is slog.Default().
	Logger *slog.Logger
	// BlobPoll is the time between two listings of a container, and between two
	// looks at the queue of found blobs; 0 is 1 s.
	BlobPoll time.Duration
	// BlobVisibility is how long a found blob stays with the instance that took
	// it, in whole seconds; renewed at half of it. After a crash nobody else gets
	// it before. 0 is 10 minutes, as in the real host.
	BlobVisibility time.Duration
	// Faults makes the host misbehave; nil doesn't. The package comment lists
	// points and verbs.
	Faults *faults.Plan

	clock clock // nil is the system's
}

// Host is a running functions host. Its methods may be called at any time from
// any goroutine.
type Host struct {
	options   Options
	config    *config
	functions []*function
	settings  settings
	log       *slog.Logger
	clock     clock
	client    *http.Client
	output    *output
	masterKey string
	found     *announcement // rings when a blob was put into the queue

	listener net.Listener
	server   *http.Server
	door     *frontDoor
	next     atomic.Uint32 // round robin over instances

	// intake ends when no trigger fires any more, hard when handlers get no more
	// grace.
	intake, hard             context.Context
	stopIntake, stopPatience context.CancelFunc
	tasks                    sync.WaitGroup // every goroutine that is no instance's

	turn sync.Mutex // held while instances are crashed, restarted or stopped

	mu        sync.Mutex
	instances []*instance // one for each slot; replaced by Restart
	restarts  int         // of instances that are gone
	timers    map[string]*timerMemory
	stopped   bool
	done      chan struct{} // closed when every instance has ended for good
}

// Start reads the script root, starts the handlers and fires triggers. It
// returns when every handler answers, or with an error and nothing left
// running. ctx is for the start only: the host runs until Stop.
func Start(ctx context.Context, o Options) (*Host, error) {
	h, err := newHost(o)
	if err != nil {
		return nil, fmt.Errorf("start functions host: %w", err)
	}
	events, err := h.prepare()
	if err != nil {
		h.listener.Close()
		return nil, fmt.Errorf("start functions host: %w", err)
	}
	for _, in := range h.instances {
		in.start()
	}
	for _, in := range h.instances {
		if _, err := in.handler(ctx); err != nil {
			stopped, cancel := context.WithCancel(ctx)
			cancel()
			return nil, errors.Join(fmt.Errorf("start functions host: instance %d: %w", in.index, err), h.Stop(stopped))
		}
	}
	h.tasks.Go(func() { _ = h.server.Serve(h.listener) })
	for _, in := range h.instances {
		in.open()
	}
	for _, run := range events {
		h.tasks.Go(run)
	}
	h.registerVerbs()
	return h, nil
}

func newHost(o Options) (*Host, error) {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	o.Root, o.Instances = root, max(o.Instances, 1)
	o.BlobPoll, o.BlobVisibility = cmp.Or(o.BlobPoll, time.Second), cmp.Or(o.BlobVisibility, 10*time.Minute)
	h := &Host{
		options: o, settings: settings{}, log: cmp.Or(o.Logger, slog.Default()), clock: o.clock, client: newClient(),
		output: &output{to: o.Output}, masterKey: newKey(), found: newAnnouncement(), done: make(chan struct{}),
	}
	if h.clock == nil {
		h.clock = systemClock{}
	}
	if h.output.to == nil {
		h.output.to = io.Discard
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
	h.door = h.frontDoor()
	h.server = &http.Server{Handler: h.door, ReadHeaderTimeout: time.Minute}
	h.intake, h.stopIntake = context.WithCancel(context.Background())
	h.hard, h.stopPatience = context.WithCancel(context.Background())
	return h, nil
}

// prepare makes the instances and what tells them of blobs.
func (h *Host) prepare() (events []func(), err error) {
	for _, f := range h.functions {
		if f.trigger.is("blobTrigger") {
			lister, err := h.blobLister(f)
			if err != nil {
				return nil, fmt.Errorf("function %s: %w", f.name, err)
			}
			events = append(events, lister.run)
		}
	}
	for i := range h.options.Instances {
		in, err := h.newInstance(i)
		if err != nil {
			return nil, err
		}
		h.instances = append(h.instances, in)
	}
	return events, nil
}

// newClient has no timeout: functionTimeout is the only limit. It follows
// redirects, as the real host does unless it forwards HTTP requests
// (DefaultHttpWorkerService, AllowAutoRedirect).
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

// Pid returns the process id of handler process i, 0 if there is none.
func (h *Host) Pid(i int) int {
	in, err := h.instance(i)
	if err != nil {
		return 0
	}
	p, err := in.process()
	if err != nil {
		return 0
	}
	return p.command.Process.Pid
}

func (h *Host) instance(i int) (*instance, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if i < 0 || i >= len(h.instances) {
		return nil, fmt.Errorf("there is no instance %d", i)
	}
	return h.instances[i], nil
}

func (h *Host) all() []*instance {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.instances)
}

// Done is closed when no handler runs any more and none will: after Stop, or
// when every instance ended by exit status 0 or by too many errors. A crashed
// instance may come back by Restart.
func (h *Host) Done() <-chan struct{} { return h.done }

// ended closes done when no instance is left that runs or could be restarted.
func (h *Host) ended() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, in := range h.instances {
		if !in.over() || !h.stopped && !in.gone() {
			return
		}
	}
	select {
	case <-h.done:
	default:
		close(h.done)
	}
}

// Restarts is how often a handler was started beyond the first time, over all
// instances.
func (h *Host) Restarts() int {
	restarts := 0
	for _, in := range h.all() {
		restarts += max(in.started()-1, 0)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return restarts + h.restarts
}

// pick returns the next instance that takes triggers, nil if none does.
func (h *Host) pick() *instance {
	instances := h.all()
	for range instances {
		in := instances[int(h.next.Add(1)-1)%len(instances)]
		if in.alive.Err() == nil {
			return in
		}
	}
	return nil
}
