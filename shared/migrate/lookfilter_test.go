package migrate_test

import (
	"fmt"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestPreflightFilters says how much the endpoint's filters leave out: what the sync then leaves out, where
// the server tells enough of every message; else about as much.
func TestPreflightFilters(t *testing.T) {
	since := migrate.Day(received.AddDate(0, 0, -1000).Truncate(24 * time.Hour))
	filters := func(e *migrate.Endpoint) { e.Since, e.MaxSize, e.Deleted = since, 3000, migrate.SkipDeleted }
	fill := func(f *migratetest.SourceFolder, n int) {
		for i := range n {
			at := received.AddDate(0, 0, -i)
			content := fmt.Appendf(nil, "Date: %s\r\nSubject: %d\r\n\r\n%*d", at.Format(time.RFC1123Z), i, 1+i*i%4001, i)
			var flags []migrate.Flag
			if i%9 == 0 {
				flags = append(flags, migrate.Deleted)
			}
			f.Add(content, at, flags...)
		}
	}
	check := func(name string, exact bool, set func(*migrate.Endpoint), change func(*migratetest.SourceMailbox)) {
		bubble(t, name, func(t *testing.T, w *migratetest.World) {
			w.Limits.WindowMessages = 200
			w.Endpoint = func(e *migrate.Endpoint) { e.Preflight = true; filters(e); set(e) }
			b := w.AddMailbox(t, "ann")
			fill(b.Source.Folder("INBOX"), 1500)
			fill(b.Source.AddFolder("", "Small"), 10)
			b.Source.AddFolder("", "Empty")
			change(b.Source)
			messages, octets := 0, int64(0)
			for _, f := range b.Source.Folders() {
				for _, m := range f.Messages() {
					messages, octets = messages+1, octets+int64(len(m.Content))
				}
			}
			w.Preflight(t)
			p := wantUntouched(t, w, b).Preflight
			if s := detailOf(t, w).Preflight; p.Messages != messages || s.Extent != p.Extent {
				t.Errorf("the checkpoint has %+v, the status %+v", p.Extent, s.Extent)
			}
			list, err := migrate.Batches(t.Context(), w.Store, migratetest.EndpointName)
			if err != nil || list[0].Preflight.Extent != p.Extent {
				t.Errorf("the checkpoint has %+v, the list %+v, %v", p.Extent, list[0].Preflight, err)
			}
			w.Start(t)
			c := w.Checkpoint(t, b.Mailbox.ID).Counts()
			octets -= c.Octets
			n := c.Skipped
			got := p.Filtered
			if exact && got != (migrate.Portion{Messages: n, Octets: octets}) {
				t.Errorf("%+v, the sync left %d messages of %d octets out", got, n, octets)
			}
			if !exact && (!got.Estimated || got.Messages == n || got.Messages < n*8/10 || got.Messages > n*12/10 || got.Octets < octets*8/10 || got.Octets > octets*12/10) {
				t.Errorf("%+v, the sync left %d messages of %d octets out", got, n, octets)
			}
		})
	}
	same, nothing := func(*migratetest.SourceMailbox) {}, func(*migrate.Endpoint) {}
	check("exact", true, nothing, same)
	check("none", true, func(e *migrate.Endpoint) { e.MessageFilter, e.Deleted = migrate.MessageFilter{}, "" }, same)
	check("everything", true, func(e *migrate.Endpoint) { e.MaxSize = 10 }, same)
	check("header dates", false, func(e *migrate.Endpoint) { e.Received = migrate.ReceivedOrder{migrate.FromDateHeader} }, same)
	check("header dates and no filter by date", true, func(e *migrate.Endpoint) {
		e.Received, e.Since = migrate.ReceivedOrder{migrate.FromDateHeader}, migrate.Day{}
	}, same)
	check("slow sizes", false, nothing, func(s *migratetest.SourceMailbox) { s.SizeTakes = 10 * time.Second })
	check("dates that cannot be read", false, nothing, func(s *migratetest.SourceMailbox) {
		undated := s.AddFolder("", "Undated")
		for _, m := range s.Folder("INBOX").Messages() {
			undated.Add(m.Content, time.Time{})
		}
	})
}
