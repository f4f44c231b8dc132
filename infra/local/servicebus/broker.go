// Package servicebus is an Azure Service Bus broker for one machine: an AMQP
// 1.0 server over TCP that the unchanged azservicebus client talks to with a
// connection string that says UseDevelopmentEmulator=true.
//
// It has queues and their dead-letter queues, in memory: peek-lock and
// receive-and-delete, lock renewal and loss, abandon, deferral, dead letters,
// time to live, duplicate detection, scheduled messages and peeking. Tokens are
// checked as far as that is possible here: the signature of a SAS token, the
// audience and end of either type. As in Service Bus, a message that was locked
// over a connection that is gone stays locked until the lock expires, and can be
// settled by its lock token; idle links and connections are ended.
//
// It leaves out, and refuses: sessions, topics and subscriptions, transactions,
// forwarding, SASL mechanisms but ANONYMOUS, AMQP over WebSockets, and the
// management of entities over HTTP. It doesn't check the signature of a JWT,
// partitions nothing, throttles only when told to, and keeps nothing on disk.
package servicebus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
)

// Queue describes a queue; zero fields take the defaults of Service Bus.
type Queue struct {
	Name                   string
	LockDuration           time.Duration // of a peek-lock; default 1 minute
	MaxDeliveryCount       int           // failed deliveries until a message is dead-lettered; default 10
	TTL                    time.Duration // time to live of messages that set none or a longer one; 0 none
	DuplicateDetection     time.Duration // how long message ids are remembered; 0 off
	MaxMessageSize         int           // bytes of an encoded message or batch; default 256 KiB
	DeadLetterOnExpiration bool          // dead-letter what outlives its time, instead of dropping it
}

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

	idle time.Duration // time-out offered to peers; default defaultIdle
}

// Counts says how many messages a queue holds.
type Counts struct {
	Active       int // ready to be received
	Locked       int
	Scheduled    int
	DeadLettered int // in the dead-letter queue, locked ones included
	Delivered    int // deliveries since the start, redeliveries included
}

const (
	deadLetterSuffix = "/$deadletterqueue"
	managementSuffix = "/$management"
	cbsNode          = "$cbs"

	maxConnections = 1024
	// foreignClockPoll is how often a clock that isn't time.Now is looked at.
	foreignClockPoll = 10 * time.Millisecond
)

// entity is a queue or dead-letter queue that links attach to.
type entity struct {
	name      string // as configured, for messages
	queue     *queue
	receivers []*link // in the order of their turns
}

// Broker is a running broker.
type Broker struct {
	listener net.Listener
	log      *slog.Logger
	now      func() time.Time
	keys     []Key
	poll     time.Duration // 0 with the system's clock
	idle     time.Duration // offered to peers

	wake chan struct{} // the next event comes earlier than planned
	done chan struct{} // closed by Close
	wg   sync.WaitGroup

	mu       sync.Mutex // guards everything below, and all of every connection that isn't said to be its own
	entities map[string]*entity
	order    []*entity // a queue before its dead-letter queue
	conns    map[*conn]struct{}
	look     time.Time // when links and connections are looked at next; zero: not at all
	planned  time.Time // when the clock goroutine looks next; zero: not at all
	closed   bool
}

// Start listens and serves until Close is called or ctx ends. It fails when
// the address can't be listened on or the queues are badly named.
func Start(ctx context.Context, o Options) (*Broker, error) {
	b := &Broker{
		log:      o.Logger,
		now:      o.Now,
		keys:     o.Keys,
		idle:     cmp.Or(o.idle, defaultIdle),
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

func (b *Broker) addQueue(q Queue) error {
	key := strings.ToLower(q.Name)
	if key == "" || strings.ContainsAny(key, "$ ?#\\") || strings.Trim(key, "/") != key {
		return fmt.Errorf("queue name %q is not valid", q.Name)
	}
	if b.entities[key] != nil {
		return fmt.Errorf("queue %q is named twice", q.Name)
	}
	if err := q.allowed(); err != nil {
		return err
	}
	q.LockDuration = cmp.Or(q.LockDuration, time.Minute)
	q.MaxDeliveryCount = cmp.Or(q.MaxDeliveryCount, 10)
	q.MaxMessageSize = cmp.Or(q.MaxMessageSize, 256<<10)
	live := newQueue(q)
	main := &entity{name: q.Name, queue: live}
	dead := &entity{name: q.Name + "/$DeadLetterQueue", queue: live.dead}
	b.entities[key], b.entities[key+deadLetterSuffix] = main, dead
	b.order = append(b.order, main, dead)
	return nil
}

// allowed checks what Service Bus would refuse at a queue's creation
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas and
// Azure.Messaging.ServiceBus.Administration.QueueProperties). It allows locks
// shorter than the service's 5 seconds, for tests.
func (q Queue) allowed() error {
	for _, limit := range []struct {
		what     string
		ok       bool
		min, max any
	}{
		{"lock duration", q.LockDuration >= 0 && q.LockDuration <= 5*time.Minute, 0, 5 * time.Minute},
		{"duplicate detection window", q.DuplicateDetection == 0 ||
			q.DuplicateDetection >= 20*time.Second && q.DuplicateDetection <= 7*24*time.Hour, 20 * time.Second, 7 * 24 * time.Hour},
		{"time to live", q.TTL == 0 || q.TTL >= time.Second, time.Second, "any"},
		{"maximum delivery count", q.MaxDeliveryCount >= 0 && q.MaxDeliveryCount <= 2000, 1, 2000},
		{"maximum message size", q.MaxMessageSize >= 0 && q.MaxMessageSize <= 100<<20, 1, 100 << 20},
	} {
		if !limit.ok {
			return fmt.Errorf("queue %q: %s is not between %v and %v", q.Name, limit.what, limit.min, limit.max)
		}
	}
	return nil
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

// Counts returns the counts of a queue, or of a dead-letter queue when its path
// is given; zero for an unknown one.
func (b *Broker) Counts(queue string) Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entities[strings.ToLower(queue)]
	if e == nil {
		return Counts{}
	}
	e.queue.advance(b.now())
	c := Counts{
		Active:    e.queue.count[stateReady],
		Locked:    e.queue.count[stateLocked],
		Scheduled: e.queue.count[stateScheduled],
		Delivered: e.queue.delivered,
	}
	if e.queue.dead != nil {
		c.DeadLettered = len(e.queue.dead.messages)
	}
	return c
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
	if b.closed || len(b.conns) >= maxConnections {
		nc.Close()
		return nil
	}
	c := newConn(b, nc)
	b.conns[c] = struct{}{}
	return c
}
