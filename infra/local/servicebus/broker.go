package servicebus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"mailferry/infra/local/faults"
)

// Options say what Start starts.
type Options struct {
	Addr     string       // where to listen; default "127.0.0.1:0"
	Listener net.Listener // listens instead of Addr; closed by the broker
	TLS      *tls.Config  // nil: without TLS, as Microsoft's emulator
	Queues   []Queue
	Keys     []Key        // that sign tokens; default RootManageSharedAccessKey with both rights
	Logger   *slog.Logger // default discards
	// Now is the clock of locks, schedules, expiry, duplicate detection, tokens
	// and idle links; default time.Now. The broker looks at any other clock
	// every 10 ms. Only what guards a socket (the opening, the idle time-out and
	// keep-alives, a write) runs on the system's clock, as its peer does.
	Now func() time.Time

	// Faults says what to do wrong; the package comment lists the points.
	Faults *faults.Plan

	partial int // bytes of unfinished messages; default maxPartialBytes
}

const (
	maxConnections = 1024
	// foreignClockPoll is how often a clock that isn't time.Now is looked at.
	foreignClockPoll = 10 * time.Millisecond
)

// Broker is a running broker.
type Broker struct {
	listener net.Listener
	log      *slog.Logger
	now      func() time.Time
	keys     []Key
	faults   *faults.Plan
	poll     time.Duration // 0 with the system's clock
	most     int           // bytes of unfinished messages

	wake chan struct{} // the next event comes earlier than planned
	done chan struct{} // closed by Close
	wg   sync.WaitGroup

	mu       sync.Mutex // guards everything below, and all of every connection that isn't said to be its own
	entities map[string]*entity
	order    []*entity // a queue before its dead-letter queue
	conns    map[*conn]struct{}
	look     time.Time // when links and connections are looked at next; zero: not at all
	planned  time.Time // when the clock goroutine looks next; zero: not at all
	partial  int       // bytes of messages whose last frame hasn't come
	down     int       // restarts that are under way: no connection is taken
	closed   bool
}

// Start listens and serves until Close is called or ctx ends. It fails when
// the address can't be listened on or the queues are badly named.
func Start(ctx context.Context, o Options) (*Broker, error) {
	b := &Broker{
		log:      o.Logger,
		now:      o.Now,
		keys:     o.Keys,
		faults:   o.Faults,
		most:     cmp.Or(o.partial, maxPartialBytes),
		wake:     make(chan struct{}, 1),
		done:     make(chan struct{}),
		entities: map[string]*entity{},
		conns:    map[*conn]struct{}{},
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if b.now == nil {
		b.now = time.Now
	} else {
		b.poll = foreignClockPoll
	}
	for _, q := range o.Queues {
		if err := b.addQueue(q); err != nil {
			return nil, err
		}
	}
	if b.keys == nil {
		b.keys = []Key{{Name: "RootManageSharedAccessKey", Secret: "SAS_KEY_VALUE", Send: true, Listen: true}}
	}
	var err error
	if b.listener, err = listen(ctx, o); err != nil {
		return nil, err
	}
	b.registerVerbs()
	b.wg.Go(b.accept)
	b.wg.Go(b.keepTime)
	b.wg.Go(func() {
		select {
		case <-ctx.Done():
			if err := b.shut(); err != nil {
				b.log.Warn("close AMQP listener", "error", err)
			}
		case <-b.done:
		}
	})
	return b, nil
}

func listen(ctx context.Context, o Options) (net.Listener, error) {
	ln := o.Listener
	if ln == nil {
		var lc net.ListenConfig
		var err error
		if ln, err = lc.Listen(ctx, "tcp", cmp.Or(o.Addr, "127.0.0.1:0")); err != nil {
			return nil, fmt.Errorf("listen for AMQP: %w", err)
		}
	}
	if o.TLS != nil {
		ln = tls.NewListener(ln, o.TLS)
	}
	return ln, nil
}

// Addr returns the host and port that the broker listens on.
func (b *Broker) Addr() string { return b.listener.Addr().String() }

// ConnectionString returns what azservicebus.NewClientFromConnectionString
// connects to this broker with, by its first key. It needs a broker without TLS.
func (b *Broker) ConnectionString() string {
	return "Endpoint=sb://" + b.Addr() + ";SharedAccessKeyName=" + b.keys[0].Name +
		";SharedAccessKey=" + b.keys[0].Secret + ";UseDevelopmentEmulator=true"
}

// Wipe forgets every message, lock, schedule, sequence number and remembered
// message id and drops all connections, like a broker that was restarted empty.
func (b *Broker) Wipe() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := 0; i < len(b.order); i += 2 {
		main, dead := b.order[i], b.order[i+1]
		main.queue = newQueue(main.queue.config)
		dead.queue = main.queue.dead
		main.receivers, dead.receivers = nil, nil
	}
	for c := range b.conns {
		c.drop()
	}
}

// Close drops all connections and returns when every goroutine has ended.
func (b *Broker) Close() error {
	err := b.shut()
	b.wg.Wait()
	return err
}

func (b *Broker) shut() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	close(b.done)
	for c := range b.conns {
		c.drop()
	}
	return b.listener.Close()
}

// accept serves connections until the listener closes.
func (b *Broker) accept() {
	for {
		nc, err := b.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			b.log.Warn("accept AMQP connection", "error", err)
			select {
			case <-time.After(foreignClockPoll):
			case <-b.done:
			}
			continue
		}
		if c := b.register(nc); c != nil {
			b.wg.Go(c.serve)
		}
	}
}

// register makes a connection known, or closes it when there are too many.
func (b *Broker) register(nc net.Conn) *conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || b.down > 0 || len(b.conns) >= maxConnections {
		nc.Close()
		return nil
	}
	c := newConn(b, nc)
	b.conns[c] = struct{}{}
	return c
}
