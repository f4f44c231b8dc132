package imapsource

import (
	"context"
	"slices"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// migration is the program with a source of ours, and everything else in memory. Its time is real.
type migration struct {
	t     *testing.T
	world *migratetest.World
	box   *migratetest.Box
}

// startMigration takes in mailbox u of the server that at leads to.
func startMigration(t *testing.T, at migrate.Endpoint, change func(*migrate.Endpoint)) *migration {
	t.Helper()
	w := migratetest.NewWorld()
	w.Slots, w.TickEvery, w.SyncEvery, w.Endpoint = 1, 50*time.Millisecond, time.Second, change
	w.Limits.WindowMessages = 200
	m := &migration{t: t, world: w, box: w.AddMailbox(t, "u")}
	m.box.Dial = func(ctx context.Context, e migrate.Endpoint, mailbox migrate.Mailbox) (migrate.Source, error) {
		e.Host, e.Port, e.Security, e.Auth = at.Host, at.Port, at.Security, at.Auth
		return Dialer{Password: password}.Dial(ctx, e, mailbox)
	}
	return m
}

// until runs until the checkpoint is so.
func (m *migration) until(done func(*migrate.Checkpoint) bool) (c *migrate.Checkpoint) {
	m.t.Helper()
	m.world.Run(m.t, 5*time.Minute, func() bool {
		c = m.world.Checkpoint(m.t, m.box.Mailbox.ID)
		return done(c)
	})
	return m.world.Checkpoint(m.t, m.box.Mailbox.ID)
}

// passes runs until the mailbox was synced so many times more.
func (m *migration) passes(more int) *migrate.Checkpoint {
	m.t.Helper()
	n := m.world.Checkpoint(m.t, m.box.Mailbox.ID).Passes + more
	return m.until(func(c *migrate.Checkpoint) bool { return c.Passes >= n })
}

// want compares the target, a line "folder: subject" for each message.
func (m *migration) want(lines ...string) {
	m.t.Helper()
	var got []string
	for _, x := range m.box.Target.Messages() {
		got = append(got, x.FolderID+": "+x.Subject())
	}
	slices.Sort(got)
	for _, line := range difference(got, lines) {
		m.t.Errorf("at the target and not wanted: %s", line)
	}
	for _, line := range difference(lines, got) {
		m.t.Errorf("wanted and not at the target: %s", line)
	}
}
