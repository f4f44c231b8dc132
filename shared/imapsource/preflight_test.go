package imapsource

import (
	"context"
	"fmt"
	"log/slog"
	"mime"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/dovecot"
	mail "mailferry/infra/local/sample"
	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestPreflightOfDovecot looks at two mailboxes of a real server with dates that an earlier migration
// spoilt and a folder that both show, once more with the setting that mends the dates, and moves them when
// the start is ordered.
func TestPreflightOfDovecot(t *testing.T) {
	server := realServer(t, "anna")
	if err := server.AddUser("bert", "pw"); err != nil {
		t.Fatal(err)
	}
	copied := time.Date(2019, 5, 3, 4, 0, 0, 0, time.UTC)
	letter := func(login string, i int, sent time.Time) []byte {
		return fmt.Appendf(nil, "Received: from a by b; %[1]s\r\nMessage-ID: <%[2]s-%[3]d@example.test>\r\nFrom: a@example.test\r\nDate: %[1]s\r\nSubject: %[3]d\r\n\r\ntext\r\n",
			sent.Format(time.RFC1123Z), login, i)
	}
	for _, login := range []string{"anna", "bert"} {
		var items []dovecot.Item
		for i := range 300 {
			day := copied.AddDate(0, 0, i)
			items = append(items, dovecot.Item{Folder: "INBOX", Message: letter(login, i, day), Received: day.Add(time.Minute)},
				dovecot.Item{Folder: "Old/2018", Message: letter(login, 1000+i, copied.AddDate(0, 0, -i)), Received: copied.Add(time.Duration(i) * time.Second)})
			if login == "anna" && i < 40 {
				items = append(items, dovecot.Item{Folder: "Team", Message: letter("team", i, day), Received: day})
			}
		}
		if err := server.Fill(t.Context(), login, items); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(server.MailDir("anna"), ".Team"), filepath.Join(server.MailDir("bert"), ".Annas team")); err != nil {
		t.Fatal(err)
	}
	app := newApp(t, endpoint(server, migrate.SecurityTLS), "anna", "bert")
	app.work(t, func(c *migrate.Checkpoint) bool {
		return c.Phase == migrate.Waiting && c.Preflight != nil && !c.Preflight.At.IsZero()
	})
	status, err := migrate.Detail(t.Context(), app.Store, "old", "wave")
	if err != nil {
		t.Fatal(err)
	}
	p := status.Preflight
	if status.State != "Created" || p.Looked != 2 || p.Folders != 6 || p.Messages != 1280 || p.Octets < 1280*150 || p.Estimated || p.Unsized != 0 || len(p.Problems) != 0 {
		t.Errorf("%+v, %+v", status, p)
	}
	// Some 200 of 300 are read, spread evenly; all but the newest were written more than a week before that day.
	if s := p.Spoilt; len(s) != 1 || s[0].First.String() != "2019-05-03" || s[0].Mailboxes != 2 || s[0].Astray < 370 || s[0].Astray > 400 ||
		fmt.Sprint(s[0].Received) != "[received-header date-header]" {
		t.Errorf("spoilt dates: %+v", s)
	}
	const same = "[{40 [anna@example.test: Team bert@example.test: Annas team] 0}]"
	if got := fmt.Sprint(status.Same); got != same {
		t.Errorf("same folders: %s, want %s", got, same)
	}
	app.describe(t, `,"received":["received-header","date-header"]`)
	if err := migrate.OrderPreflight(t.Context(), app.Drop, app.Store, "old", "wave"); err != nil {
		t.Fatal(err)
	}
	app.work(t, func(c *migrate.Checkpoint) bool { return c.Phase == migrate.Waiting && c.Preflight.Order != "" })
	if status, err = migrate.Detail(t.Context(), app.Store, "old", "wave"); err != nil || len(status.Preflight.Spoilt) != 0 || status.Preflight.Looked != 2 {
		t.Errorf("with the setting that mends it: %+v, %v", status.Preflight, err)
	}
	for id, b := range app.boxes {
		if b.Puts() != 0 || b.Asked() != 0 {
			t.Errorf("%s: %d messages and %d folders were written", id, b.Puts(), b.Asked())
		}
	}
	if err := migrate.OrderStart(t.Context(), app.Store, "old", "wave"); err != nil {
		t.Fatal(err)
	}
	app.moveOne(t)
	if status, err = migrate.Detail(t.Context(), app.Store, "old", "wave"); err != nil || status.States[migrate.Synced] != 1 || fmt.Sprint(status.Same) != same {
		t.Errorf("when one was moved: %+v, %v, want %s", status, err, same)
	}
	app.work(t, func(c *migrate.Checkpoint) bool { return c.Phase == migrate.Waiting && c.State == migrate.Synced })
	for id, b := range app.boxes {
		if n := len(b.Messages()); n != 640 {
			t.Errorf("%s: %d messages at the target", id, n)
		}
	}
}

// app is the program over a real source, with targets and a store in memory.
type app struct {
	*migrate.Runner
	source migrate.Endpoint
	queue  *migratetest.Queue
	boxes  map[migrate.MailboxID]*migratetest.TargetBox
}

// newApp has the mailboxes of those logins, in pre-flight.
func newApp(t *testing.T, e migrate.Endpoint, logins ...string) *app {
	t.Helper()
	store, drop, queue := migratetest.NewStore(nil), migratetest.NewStore(nil), migratetest.NewQueue()
	a := &app{source: e, queue: queue, boxes: make(map[migrate.MailboxID]*migratetest.TargetBox)}
	a.Runner = &migrate.Runner{
		Store: store, Drop: drop, Waker: queue, Planner: &migrate.Planner{Store: store, Drop: drop, Waker: queue, Grace: time.Minute},
		Dial:  Dialer{Password: password}.Dial,
		Open:  func(_ context.Context, m migrate.Mailbox) (migrate.Target, error) { return a.boxes[m.ID].Open(), nil },
		Spool: migrate.NewSpool(1<<20, 64<<20, t.TempDir()), Gate: migrate.NewGate(), Words: new(mime.WordDecoder),
		Limits: migrate.Limits{}.Defaults(), Logger: slog.New(slog.DiscardHandler),
	}
	a.describe(t, "")
	if err := migrate.AnnounceEndpoint(t.Context(), store, "old"); err != nil {
		t.Fatal(err)
	}
	for _, login := range logins {
		id := migrate.NewMailboxID("old", login, login)
		a.boxes[id] = migratetest.NewTargetBox()
		c := &migrate.Checkpoint{State: migrate.Queued, Phase: migrate.Waiting, Mailbox: migrate.Mailbox{ID: id, Batch: "wave", Login: login,
			Target: migrate.TargetMailbox{GUID: login, Address: login + "@example.test"}}}
		if _, err := migrate.SaveCheckpoint(t.Context(), store, c, migrate.Condition{Absent: true}); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// describe writes endpoint.json with more fields.
func (a *app) describe(t *testing.T, more string) {
	t.Helper()
	content := fmt.Appendf(nil, `{"host":%q,"port":%d,"ca":%q,"preflight":true%s}`, a.source.Host, a.source.Port, a.source.CA, more)
	if _, err := a.Drop.Put(t.Context(), "old/endpoint.json", content, nil, migrate.Condition{}); err != nil {
		t.Fatal(err)
	}
}

// moveOne runs one of the mailboxes that are woken; the others are woken again.
func (a *app) moveOne(t *testing.T) {
	t.Helper()
	if err := a.Planner.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	woken := a.queue.Drain()
	if err := a.Run(t.Context(), t.Context(), woken[0]); err != nil {
		t.Fatal(err)
	}
	a.queue.Drain()
	for _, w := range woken[1:] {
		if err := a.queue.Wake(t.Context(), w, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
}

// work ticks and runs what is woken until done holds of every mailbox.
func (a *app) work(t *testing.T, done func(*migrate.Checkpoint) bool) {
	t.Helper()
	for range 20 {
		if err := a.Planner.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, w := range a.queue.Drain() {
			if err := a.Run(t.Context(), t.Context(), w); err != nil {
				t.Fatal(err)
			}
		}
		rest := ""
		for id := range a.boxes {
			c, _, err := migrate.LoadCheckpoint(t.Context(), a.Store, id)
			if err != nil {
				t.Fatal(err)
			}
			if !done(c) {
				rest += fmt.Sprintf("%s is %s, %s: %+v\n", id, c.State, c.Phase, c.Problem)
			}
		}
		if rest == "" {
			return
		}
		if strings.Contains(rest, string(migrate.Failed)) {
			t.Fatal(rest)
		}
	}
	t.Fatal("it takes too long")
}

// TestPreflightMeasures has three servers tell exactly how much there is and how much of it the filters leave
// out: what the sync then does.
func TestPreflightMeasures(t *testing.T) {
	eachServer(t, func(t *testing.T, _ string, server server) {
		items := mail.Mailbox(12, "u@example.com", 900)
		octets, at := int64(0), items[450].Received
		for i := range items {
			if octets += int64(len(items[i].Message)); i%7 == 0 {
				items[i].Flags = []string{`\Deleted`}
			}
		}
		if err := server.Fill(t.Context(), "u", items); err != nil {
			t.Fatal(err)
		}
		app := newApp(t, endpointOf(server, migrate.SecurityTLS), "u")
		app.describe(t, fmt.Sprintf(`,"since":%q,"maxSize":"20KB","deleted":"skip"`, at.UTC().Format(time.DateOnly)))
		app.work(t, func(c *migrate.Checkpoint) bool {
			return c.Phase == migrate.Waiting && c.Preflight != nil && !c.Preflight.At.IsZero()
		})
		status, err := migrate.Detail(t.Context(), app.Store, "old", "wave")
		if err != nil {
			t.Fatal(err)
		}
		if err := migrate.OrderStart(t.Context(), app.Store, "old", "wave"); err != nil {
			t.Fatal(err)
		}
		app.work(t, func(c *migrate.Checkpoint) bool { return c.Phase == migrate.Waiting && c.State == migrate.Synced })
		after, err := migrate.Detail(t.Context(), app.Store, "old", "wave")
		if err != nil {
			t.Fatal(err)
		}
		want := migrate.Extent{Messages: 900, Octets: octets, Filtered: migrate.Portion{Messages: after.Counts.Skipped, Octets: octets - after.Counts.Octets}}
		if got := status.Preflight.Extent; got != want || want.Filtered.Messages < 300 || after.Counts.Migrated < 100 {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
}

// TestPreflightOfServersThatHangUp has three servers end every session three times in mid-look: what is
// told in the end is whole and exact.
func TestPreflightOfServersThatHangUp(t *testing.T) {
	eachServer(t, func(t *testing.T, _ string, server server) {
		items, octets := mail.Mailbox(12, "u@example.com", 300), int64(0)
		for _, item := range items {
			octets += int64(len(item.Message))
		}
		if err := server.Fill(t.Context(), "u", items); err != nil {
			t.Fatal(err)
		}
		app := newApp(t, endpointOf(server, migrate.SecurityTLS), "u")
		dial, calls := app.Dial, 0
		app.Dial = func(ctx context.Context, e migrate.Endpoint, m migrate.Mailbox) (migrate.Source, error) {
			s, err := dial(ctx, e, m)
			if err != nil {
				return nil, err
			}
			return interrupted{s, func() {
				if calls++; calls%4 == 1 && calls < 12 {
					if err := server.EndSessions(t.Context(), "u"); err != nil {
						t.Error(err)
					}
				}
			}}, nil
		}
		app.work(t, func(c *migrate.Checkpoint) bool {
			return c.Phase == migrate.Waiting && c.Preflight != nil && !c.Preflight.At.IsZero()
		})
		status, err := migrate.Detail(t.Context(), app.Store, "old", "wave")
		if err != nil {
			t.Fatal(err)
		}
		p := status.Preflight
		if want := (migrate.Extent{Messages: 300, Octets: octets}); p.Extent != want || len(p.Problems) != 0 || calls < 12 {
			t.Errorf("after %d calls %+v, want %+v", calls, p, want)
		}
	})
}

// interrupted is a source with something done before each call of pre-flight.
type interrupted struct {
	migrate.Source
	before func()
}

func (i interrupted) Sizes(ctx context.Context, names []string) (map[string]int64, error) {
	i.before()
	return i.Source.Sizes(ctx, names)
}

func (i interrupted) Survey(ctx context.Context, name string, few migrate.UIDSet) (migrate.FolderState, migrate.UIDSet, []migrate.MessageInfo, error) {
	i.before()
	return i.Source.Survey(ctx, name, few)
}

func (i interrupted) Headers(ctx context.Context, uids migrate.UIDSet, yield func(migrate.MessageInfo, []byte) error) error {
	i.before()
	return i.Source.Headers(ctx, uids, yield)
}
