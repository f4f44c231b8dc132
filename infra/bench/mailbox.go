package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net"
	"strconv"
	"sync"
	"time"

	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/faults"
	"mailferry/shared/imapsource"
	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

const login, password = "bench", "pw"

// distant puts a proxy in front of the server's TLS port that adds a round trip.
func distant(ctx context.Context, server *dovecot.Server, rtt time.Duration) (*faults.Proxy, error) {
	host, port := server.TLSAddr()
	return faults.StartProxy(ctx, faults.ProxyOptions{Name: "imap", Upstream: net.JoinHostPort(host, strconv.Itoa(port)), RTT: rtt})
}

// job is the main job over one mailbox, with a store in memory and a target that drops what it gets.
type job struct {
	runner  *migrate.Runner
	store   *migratetest.Store
	mailbox migrate.Mailbox
	target  *sink
}

// newJob prepares the job for a source behind proxy.
func newJob(ctx context.Context, server *dovecot.Server, proxy *faults.Proxy, settings migrate.Endpoint) (*job, error) {
	host, port, err := net.SplitHostPort(proxy.Addr())
	if err != nil {
		return nil, err
	}
	settings.Host, settings.CA, settings.SyncEvery = host, string(server.CA()), migrate.Duration(time.Second)
	settings.Port, _ = strconv.Atoi(port)
	endpoint, err := json.Marshal(settings)
	if err != nil {
		return nil, err
	}
	j := &job{store: migratetest.NewStore(nil), target: new(sink)}
	drop := migratetest.NewStore(nil)
	if _, err := drop.Put(ctx, "bench/endpoint.json", endpoint, nil, migrate.Condition{}); err != nil {
		return nil, err
	}
	j.mailbox = migrate.Mailbox{ID: migrate.NewMailboxID("bench", login, "g"), Batch: "bench", Login: login, Target: migrate.TargetMailbox{GUID: "g"}}
	dialer := imapsource.Dialer{Password: func(context.Context, migrate.Mailbox) (string, error) { return password, nil }}
	j.runner = &migrate.Runner{
		Store: j.store, Drop: drop, Waker: noWaker{}, Planner: &migrate.Planner{Store: j.store, Drop: drop, Waker: noWaker{}, Grace: time.Hour},
		Dial: dialer.Dial, Open: func(context.Context, migrate.Mailbox) (migrate.Target, error) { return j.target, nil },
		Spool: migrate.NewSpool(24<<20, 512<<20, ""), Gate: migrate.NewGate(), Words: new(mime.WordDecoder),
		Limits: migrate.Limits{Budget: time.Hour}.Defaults(), Logger: slog.New(slog.DiscardHandler),
	}
	c := &migrate.Checkpoint{Mailbox: j.mailbox, State: migrate.Queued, Phase: migrate.Woken, Seq: 1, Since: time.Now()}
	_, err = migrate.SaveCheckpoint(ctx, j.store, c, migrate.Condition{Absent: true})
	return j, err
}

// pass runs the mailbox once, until every message at the source has an outcome, and returns the
// checkpoint it leaves.
func (j *job) pass(ctx context.Context) (*migrate.Checkpoint, error) {
	c, tag, err := migrate.LoadCheckpoint(ctx, j.store, j.mailbox.ID)
	if err != nil {
		return nil, err
	}
	c.Phase, c.Seq = migrate.Woken, c.Seq+1
	if _, err := migrate.SaveCheckpoint(ctx, j.store, c, migrate.Condition{Match: tag}); err != nil {
		return nil, err
	}
	passes := c.Passes
	if err := j.runner.Run(ctx, ctx, migrate.WakeUp{Version: migrate.WakeUpVersion, Mailbox: j.mailbox.ID, Seq: c.Seq}); err != nil {
		return nil, err
	}
	if c, _, err = migrate.LoadCheckpoint(ctx, j.store, j.mailbox.ID); err != nil {
		return nil, err
	}
	if c.Passes != passes+1 {
		return nil, fmt.Errorf("the pass did not end: %s, %+v", c.State, c.Problem)
	}
	return c, nil
}

// noWaker sends no wake-ups: the bench runs the mailbox itself.
type noWaker struct{}

func (noWaker) Wake(context.Context, migrate.WakeUp, time.Time) error { return nil }

// sink is a target that reads every message and keeps nothing.
type sink struct {
	mu     sync.Mutex
	octets int64
}

func (s *sink) Folder(_ context.Context, use migrate.SpecialUse, path []string) (migrate.TargetFolder, error) {
	return migrate.TargetFolder{ID: fmt.Sprint(use, path), Path: path}, nil
}

func (s *sink) Put(_ context.Context, _ migrate.TargetFolder, m migrate.Outgoing) (migrate.Receipt, error) {
	body, err := m.Open()
	if err != nil {
		return migrate.Receipt{}, err
	}
	defer body.Close()
	n, err := io.Copy(io.Discard, body)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.octets += n
	return migrate.Receipt{}, err
}

var errNothingKept = errors.New("the sink keeps nothing")

func (s *sink) Find(context.Context, migrate.Fingerprint, func(migrate.Found) error) error {
	return errNothingKept
}

func (s *sink) List(context.Context, migrate.TargetFolder, func(migrate.Found) error) error {
	return errNothingKept
}

func (s *sink) Writers() int { return 4 }

func (s *sink) Close() error { return nil }
