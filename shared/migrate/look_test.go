package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// inPieces is a mailbox of 12 folders, 20 messages of 200 octets in each, that one run does not look through.
func inPieces(t *testing.T, w *migratetest.World) *migratetest.Box {
	w.Limits.Budget = 90 * time.Second
	b := w.AddMailbox(t, "ann")
	b.Source.Latency = 5 * time.Second
	for i := range 12 {
		f := b.Source.AddFolder("", fmt.Sprintf("f%02d", i))
		for range 20 {
			f.Add(migratetest.Message("", "letter", 200), received)
		}
	}
	return b
}

// midLook runs until some folders were looked into, and not all.
func midLook(t *testing.T, w *migratetest.World, b *migratetest.Box) {
	w.Run(t, time.Hour, func() bool { return w.Checkpoint(t, b.Mailbox.ID).Epoch == 2 })
	r, _, err := migrate.LoadPreflight(t.Context(), w.Store, b.Mailbox.ID)
	if err != nil || r.Whole || !r.Folders[1].Looked || r.Folders[len(r.Folders)-1].Looked {
		t.Fatalf("not in the middle: %+v, %v", r, err)
	}
}

// TestPreflightUnderOtherSettings begins anew when endpoint.json was mended in mid-look: what was found
// under the old settings is not mixed with the rest.
func TestPreflightUnderOtherSettings(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		first := func(e *migrate.Endpoint) {
			e.Preflight, e.MaxSize = true, 100
			e.ExcludeFolders = []string{"f00"}
		}
		w.Endpoint = first
		b := inPieces(t, w)
		midLook(t, w, b)
		setEndpoint(t, w, func(e *migrate.Endpoint) { e.Preflight, e.Slots, e.MaxSize = true, 1, 300 })
		w.Preflight(t)
		p := wantUntouched(t, w, b).Preflight
		if want := (migrate.Extent{Messages: 240, Octets: 240 * 200}); p.Extent != want || p.LeftOut != 0 || p.Folders != 13 {
			t.Errorf("%+v, want %+v", p, want)
		}
	})
}

// TestPreflightAddsUp has mail come and go while a mailbox is looked at in pieces: messages and octets of a
// folder are of one time.
func TestPreflightAddsUp(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		b := inPieces(t, w)
		b.Source.NoSizes = true
		midLook(t, w, b)
		for i := range 12 {
			f := b.Source.Folder(fmt.Sprintf("f%02d", i))
			f.Remove(1)
			for range 10 {
				f.Add(migratetest.Message("", "late", 200), received)
			}
		}
		w.Preflight(t)
		p := wantUntouched(t, w, b).Preflight
		if p.Messages <= 240 || p.Messages >= 12*29 || p.Octets != 200*int64(p.Messages) || p.Estimated || p.Unsized != 0 {
			t.Errorf("%+v", p)
		}
	})
}

// TestPreflightCountsLabelsOnce counts what folders only show by itself: labels, too, if a message comes once.
func TestPreflightCountsLabelsOnce(t *testing.T) {
	for rule, want := range map[migrate.LabelRule]int{migrate.LabelsAsFolders: 5, migrate.LabelsOnce: 3} {
		bubble(t, string(rule), func(t *testing.T, w *migratetest.World) {
			w.Endpoint = func(e *migrate.Endpoint) { e.Preflight, e.Labels = true, rule }
			b := oneMailbox(t, w, 3)
			label, all := b.Source.AddFolder("", "Label"), b.Source.AddFolder(migrate.UseAll, "All")
			for _, m := range b.Source.Folder("INBOX").Messages() {
				all.Add(m.Content, m.Received)
				if m.UID > 1 {
					label.Add(m.Content, m.Received)
				}
			}
			w.Preflight(t)
			p := wantUntouched(t, w, b).Preflight
			if p.Messages != want || p.Shown != 8-want || detailOf(t, w).Preflight.Shown != p.Shown {
				t.Errorf("%+v, want %d messages", p, want)
			}
			w.Start(t)
			if n := len(b.Target.Messages()); n != want {
				t.Errorf("%d messages came, want %d", n, want)
			}
		})
	}
}

// TestPreflightOrderEndsPauses has a wrong endpoint.json, or a server that is down, make a mailbox wait longer
// and longer. It is looked at as soon as that is ordered again, once; a pause that the server wants is kept.
func TestPreflightOrderEndsPauses(t *testing.T) {
	for kind, hurried := range map[migrate.Kind]bool{migrate.Unreachable: true, migrate.Configuration: true, migrate.Throttled: false} {
		inPreflight(t, string(kind), func(t *testing.T, w *migratetest.World) {
			b := w.AddMailbox(t, "ann")
			b.Dial = func(ctx context.Context, _ migrate.Endpoint, _ migrate.Mailbox) (migrate.Source, error) {
				return nil, &migrate.Error{Op: "connect", Kind: kind, RetryAfter: time.Hour, Err: errors.New("wrong host")}
			}
			w.Run(t, 3*time.Hour, func() bool { return time.Until(w.Checkpoint(t, b.Mailbox.ID).Due) > 4*time.Minute })
			order := func() {
				t.Helper()
				if err := migrate.OrderPreflight(t.Context(), w.Drop, w.Store, migratetest.EndpointName, migratetest.Batch); err != nil {
					t.Fatal(err)
				}
			}
			order()
			before, end := w.Checkpoint(t, b.Mailbox.ID).Epoch, time.Now().Add(3*time.Minute)
			w.Run(t, time.Hour, func() bool { return time.Now().After(end) })
			if runs := w.Checkpoint(t, b.Mailbox.ID).Epoch - before; (runs == 1) != hurried || runs > 1 {
				t.Errorf("%d runs in three minutes", runs)
			}
			b.Dial = nil
			order()
			began := time.Now()
			w.Preflight(t)
			if took := time.Since(began); took < 2*time.Minute != hurried {
				t.Errorf("took %s", took)
			}
			wantUntouched(t, w, b)
		})
	}
}

// TestPreflightKilledInMidLook kills every process before its budget ends: the next goes on near where it was,
// and the mailbox is not given up.
func TestPreflightKilledInMidLook(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		b := inPieces(t, w)
		w.Limits.Budget = time.Hour
		looked, killed, calls := make(map[string]int), 0, 0
		b.Source.Before = func(op, folder string, _ migrate.UID) error {
			if op != "fetch headers" {
				return nil
			}
			looked[folder]++
			if calls++; calls%6 == 0 { // of the folders before, four or five were stored
				killed++
				w.KillHolder(b.Mailbox.ID)
			}
			return nil
		}
		w.Preflight(t)
		p := wantUntouched(t, w, b).Preflight
		again := 0
		for _, n := range looked {
			again += n - 1
		}
		if p.Messages != 240 || p.Unsized != 0 || killed < 2 || again > 3*killed {
			t.Errorf("%+v after %d kills: %v", p, killed, looked)
		}
	})
}

// TestPreflightWithoutPressing asks a server that wants pauses for nothing that can be done without.
func TestPreflightWithoutPressing(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		b := w.AddMailbox(t, "ann")
		for i := range 50 {
			uneven(b.Source.AddFolder("", fmt.Sprint(i)), 100)
		}
		tries := 0
		b.Dial = func(ctx context.Context, _ migrate.Endpoint, _ migrate.Mailbox) (migrate.Source, error) {
			s, err := b.Source.Dial(ctx)
			return pressed{s, &tries}, err
		}
		began := time.Now()
		w.Preflight(t)
		if p := wantUntouched(t, w, b).Preflight; p.Messages != 5000 || tries != 1 || time.Since(began) > time.Hour {
			t.Errorf("%+v after %s, pressed %d times", p, time.Since(began), tries)
		}
	})
}

// pressed is a source that wants a pause when it is asked to describe messages.
type pressed struct {
	migrate.Source
	tries *int
}

func (p pressed) Describe(context.Context, migrate.UIDSet, func(migrate.MessageInfo) error) error {
	*p.tries++
	return &migrate.Error{Op: "describe", Kind: migrate.Throttled, RetryAfter: 10 * time.Minute, Err: errors.New("too fast")}
}

// TestPreflightAsksOnce asks for the states of folders that are done only once, and takes no size that nothing
// has.
func TestPreflightAsksOnce(t *testing.T) {
	inPreflight(t, "", func(t *testing.T, w *migratetest.World) {
		b := inPieces(t, w)
		b.Source.PlainList = true
		for range 2 {
			b.Source.Folder("INBOX").Add(migratetest.Message("", "letter", 200), received).Size = 1 << 62
		}
		var asked []int
		b.Dial = func(ctx context.Context, _ migrate.Endpoint, _ migrate.Mailbox) (migrate.Source, error) {
			s, err := b.Source.Dial(ctx)
			return stated{s, &asked}, err
		}
		w.Preflight(t)
		p := wantUntouched(t, w, b).Preflight
		if p.Messages != 242 || p.Octets != 240*200 || p.Unsized != 2 || !p.Estimated {
			t.Errorf("%+v", p)
		}
		if len(asked) < 3 || asked[0] != 13 || asked[len(asked)-1] > 5 {
			t.Errorf("asked for the states of %v folders", asked)
		}
	})
}

// stated counts the folders whose states are asked for.
type stated struct {
	migrate.Source
	asked *[]int
}

func (s stated) States(ctx context.Context, names []string) (map[string]migrate.FolderState, error) {
	*s.asked = append(*s.asked, len(names))
	return s.Source.States(ctx, names)
}
