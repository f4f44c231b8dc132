package migrate_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// fetched counts how often the source sends each message.
type fetched struct {
	mu    sync.Mutex
	times map[string]int
}

func (f *fetched) count(op, folder string, uid migrate.UID) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.times == nil {
		f.times = make(map[string]int)
	}
	if op == "fetch" && uid != 0 {
		f.times[fmt.Sprint(folder, " ", uid)]++
	}
	return len(f.times)
}

func (f *fetched) most() (most int) {
	for _, n := range f.times {
		most = max(most, n)
	}
	return most
}

// TestReadsAhead reads the next windows and the next folders while the last is being written: what the
// source takes is hidden behind what the target takes.
func TestReadsAhead(t *testing.T) {
	for connections, within := range map[int]time.Duration{1: 110 * time.Second, 3: 100 * time.Second} {
		bubble(t, fmt.Sprint(connections, " connections"), func(t *testing.T, w *migratetest.World) {
			w.Connections = connections
			b := oneMailbox(t, w, 20)
			for i := range 5 {
				f := b.Source.AddFolder("", fmt.Sprint("Folder ", i))
				for j := range 6 {
					f.Add(migratetest.Message(fmt.Sprint(i, "-", j), "letter", 300), received)
				}
			}
			b.Source.Latency, b.Target.Latency = 700*time.Millisecond, 900*time.Millisecond
			w.Limits.Budget = 10 * time.Minute
			began := time.Now()
			w.Settle(t)
			w.CheckExact(t, b)
			// 50 messages take the target 90 s, twice its latency each; one after the other it would be 150 s.
			if took := time.Since(began); took > within {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestConnections opens as many as it may when there is much to read, and few when there is little.
func TestConnections(t *testing.T) {
	for name, c := range map[string]struct{ allowed, taken, messages, want int }{
		"as many as it may":        {3, 0, 60, 3},
		"one":                      {1, 0, 60, 1},
		"as many as the server":    {5, 2, 60, 2},
		"no more than the server":  {3, 1, 60, 1},
		"no more than there is to": {3, 0, 3, 1},
	} {
		bubble(t, name, func(t *testing.T, w *migratetest.World) {
			w.Connections = c.allowed
			b := oneMailbox(t, w, c.messages)
			b.Source.MaxConnections = c.taken
			b.Source.Latency = 100 * time.Millisecond
			w.Settle(t)
			w.CheckExact(t, b)
			if n := b.Source.MostConnections(); n != c.want {
				t.Errorf("%d connections at once, want %d", n, c.want)
			}
			if cp := wantState(t, w, b, migrate.Synced); cp.Failures != 0 || cp.Epoch != 1 {
				t.Errorf("%d runs, %d failures", cp.Epoch, cp.Failures)
			}
		})
	}
}

// TestCrowdedServer is asked for no more connections than it took, until an hour later.
func TestCrowdedServer(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Connections, w.SyncEvery = 4, 10*time.Minute
		b := oneMailbox(t, w, 60)
		b.Source.Latency, b.Source.MaxConnections = 100*time.Millisecond, 2
		more := func(want int) {
			t.Helper()
			before := b.Source.Refused()
			for i := range 60 {
				b.Source.Folder("INBOX").Add(migratetest.Message(fmt.Sprint(time.Now().Unix(), "-", i), "more", 300), received)
			}
			w.Sync(t)
			w.CheckExact(t, b)
			if n := b.Source.Refused() - before; (n > 0) != (want > 0) || n > want {
				t.Errorf("%d connections were refused, want %d", n, want)
			}
		}
		w.Settle(t)
		if n := b.Source.Refused(); n < 1 || n > 2 {
			t.Errorf("%d connections were refused at first", n)
		}
		more(0)
		more(0)
		time.Sleep(time.Hour)
		more(2) // one more is tried; the server still does not take it
		more(0)
	})
}

// TestBrokenConnectionOfSeveral breaks one connection after the other: the others go on, and nothing
// is sent twice, however often that happens.
func TestBrokenConnectionOfSeveral(t *testing.T) {
	for _, at := range []int{1, 5, 9, 17, 33} {
		bubble(t, fmt.Sprint("at message ", at), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 40)
			b.Source.Latency, b.Target.Latency = 100*time.Millisecond, 10*time.Millisecond
			sent, broken := new(fetched), 0
			b.Source.Before = func(op, folder string, uid migrate.UID) error {
				if broken < 1 && op == "fetch" && uid != 0 && sent.count("", "", 0) >= at && b.Source.MostConnections() > 1 {
					broken++
					return errors.New("connection reset")
				}
				sent.count(op, folder, uid)
				return nil
			}
			w.Settle(t)
			w.CheckExact(t, b)
			if cp := wantState(t, w, b, migrate.Synced); cp.Epoch != 1 || cp.Failures != 0 || broken != 1 {
				t.Errorf("%d runs, %d failures, broken %d times", cp.Epoch, cp.Failures, broken)
			}
			if n := sent.most(); n != 1 {
				t.Errorf("a message was sent %d times", n)
			}
		})
	}
}

// TestSmallSpool has mailboxes share a spool that hardly takes one message: reading ahead never keeps
// what is to be written next from its place.
func TestSmallSpool(t *testing.T) {
	for _, size := range []int{300, 900, 1900} {
		bubble(t, fmt.Sprint(size, " octets a message"), func(t *testing.T, w *migratetest.World) {
			w.Memory, w.Disk, w.Limits.WindowMessages = 1000, 2000, 3
			for i := range 4 {
				b := w.AddMailbox(t, fmt.Sprint("user", i))
				b.Source.Latency, b.Target.Latency, b.Target.Parallel = 10*time.Millisecond, 30*time.Millisecond, 2
				for f := range 3 {
					folder := b.Source.AddFolder("", fmt.Sprint("Folder ", f))
					for j := range 9 {
						folder.Add(migratetest.Message(fmt.Sprint(i, f, j), "letter", size+j), received)
					}
				}
			}
			w.Run(t, 10*time.Minute, func() bool {
				for id := range w.Boxes {
					if w.Checkpoint(t, id).State != migrate.Synced {
						return false
					}
				}
				return true
			})
			for _, b := range w.Boxes {
				w.CheckExact(t, b)
			}
		})
	}
}

// TestPortions reads several windows with one FETCH in a spool that hardly takes one of them, from servers
// that send in another order than that of the UIDs, or leave messages out.
func TestPortions(t *testing.T) {
	for _, connections := range []int{1, 3} {
		for name, befall := range map[string]func(*migratetest.Box){
			"in order": func(*migratetest.Box) {},
			"reversed": func(b *migratetest.Box) { b.Source.Reversed = true },
			"one left out": func(b *migratetest.Box) {
				b.Source.Folder("Folder").Add(migratetest.Message("late", "late", 300), received).Omit = true
				b.Source.Folder("INBOX").Add(migratetest.Message("late", "late", 300), received).Omit = true
			},
		} {
			bubble(t, fmt.Sprint(name, " over ", connections), func(t *testing.T, w *migratetest.World) {
				w.Connections, w.Memory, w.Disk, w.Limits.WindowMessages = connections, 1000, 2000, 3
				b := oneMailbox(t, w, 40)
				folder := b.Source.AddFolder("", "Folder")
				befall(b)
				for i := range 40 {
					folder.Add(migratetest.Message(fmt.Sprint(i), "letter", 300+i), received)
				}
				b.Source.Latency, b.Target.Latency = 10*time.Millisecond, 30*time.Millisecond
				sent := new(fetched)
				b.Source.Before = func(op, folder string, uid migrate.UID) error { sent.count(op, folder, uid); return nil }
				began := time.Now()
				w.Settle(t)
				if took := time.Since(began); took > 3*time.Minute {
					t.Errorf("took %s", took)
				}
				if name == "in order" && sent.most() != 1 {
					t.Errorf("a message was sent %d times", sent.most())
				}
				cp := wantState(t, w, b, migrate.Synced)
				if n := cp.Counts().Failed; n != map[string]int{"one left out": 2}[name] {
					t.Errorf("%d messages were not migrated", n)
				}
				if name != "one left out" {
					w.CheckExact(t, b)
				}
			})
		}
	}
}

// TestOneFetchForSeveralWindows hides the round trip of each behind the messages of the last.
func TestOneFetchForSeveralWindows(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Connections, w.Limits.WindowMessages = 1, 5
		b := oneMailbox(t, w, 60)
		asked := 0
		b.Source.Before = func(op, _ string, uid migrate.UID) error {
			if op == "fetch" && uid == 0 {
				asked++
			}
			return nil
		}
		w.Settle(t)
		w.CheckExact(t, b)
		if asked != 3 { // 40 messages are described at once: 4 windows, 4, and the last 4
			t.Errorf("asked %d times", asked)
		}
	})
}

// TestFolderGoneWhileReadAhead deletes a folder whose windows are being read: the others go on.
func TestFolderGoneWhileReadAhead(t *testing.T) {
	for at := range 30 {
		bubble(t, fmt.Sprint("after message ", at), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 8)
			old := b.Source.AddFolder("", "A")
			more := b.Source.AddFolder("", "More")
			for i := range 10 {
				old.Add(migratetest.Message(fmt.Sprint("old", i), "old", 300), received)
				more.Add(migratetest.Message(fmt.Sprint("more", i), "more", 300), received)
			}
			b.Source.Latency, b.Target.Latency = 10*time.Millisecond, 15*time.Millisecond
			sent := new(fetched)
			b.Source.Before = func(op, folder string, uid migrate.UID) error {
				if sent.count(op, folder, uid) == at {
					old.Delete()
				}
				return nil
			}
			w.Settle(t)
			found := make(map[string]int)
			for _, m := range b.Target.Messages() {
				found[m.FolderID]++
			}
			if found[migratetest.FolderID(migrate.UseInbox, []string{"INBOX"})] != 8 || found[migratetest.FolderID("", []string{"More"})] != 10 {
				t.Errorf("at the target: %v", found)
			}
		})
	}
}

// TestBrokenConnectionInASmallSpool breaks a connection while the others have read ahead as much as they
// may: nobody waits for what nobody reads.
func TestBrokenConnectionInASmallSpool(t *testing.T) {
	for at := range 40 {
		bubble(t, fmt.Sprint("at call ", at), func(t *testing.T, w *migratetest.World) {
			w.Connections, w.Memory, w.Disk, w.Limits.WindowMessages = 3, 1000, 2000, 3
			b := oneMailbox(t, w, 20)
			more := b.Source.AddFolder("", "More")
			for i := range 9 {
				more.Add(migratetest.Message(fmt.Sprint("more", i), "more", 300), received)
			}
			b.Source.Latency, b.Target.Latency = 10*time.Millisecond, 30*time.Millisecond
			calls := 0
			b.Source.Before = func(op, folder string, uid migrate.UID) error {
				if calls++; calls > at && b.Source.MostConnections() > 1 {
					if calls == at+1 {
						return errors.New("connection reset")
					}
				}
				return nil
			}
			began := time.Now()
			w.Settle(t)
			if took := time.Since(began); took > 2*time.Minute {
				t.Errorf("took %s", took)
			}
		})
	}
}

// TestCrowdedServerRefusesThePassword tries no further connection where one was refused, whatever the
// server says of it: a few wrong passwords would lock the account.
func TestCrowdedServerRefusesThePassword(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Connections = 6
		b := oneMailbox(t, w, 90)
		b.Source.Latency, b.Source.MaxConnections, b.Source.CrowdedKind = 100*time.Millisecond, 1, migrate.SignIn
		w.Settle(t)
		w.CheckExact(t, b)
		wantState(t, w, b, migrate.Synced)
		if n := b.Source.Refused(); n > 2 { // two at once
			t.Errorf("%d sign-ins were refused", n)
		}
	})
}

// TestDescriptionsBreakTheConnection lists folders without them from then on.
func TestDescriptionsBreakTheConnection(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		b := threeFolders(t, w)
		broken := 0
		b.Source.Before = func(op, folder string, _ migrate.UID) error {
			if op == "describe with the list" && folder == "Mail" {
				broken++
				return errors.New("connection reset")
			}
			return nil
		}
		w.Settle(t)
		w.CheckExact(t, b)
		if cp := wantState(t, w, b, migrate.Synced); cp.Epoch != 1 || cp.Failures != 0 || broken != 1 {
			t.Errorf("%d runs, %d failures, broken %d times", cp.Epoch, cp.Failures, broken)
		}
	})
}

// TestFewRoundTrips lists, describes and reads a small folder in two, and opens none again for that.
func TestFewRoundTrips(t *testing.T) {
	bubble(t, "", func(t *testing.T, w *migratetest.World) {
		w.Connections = 1
		b := threeFolders(t, w)
		calls := make(map[string]int)
		b.Source.Before = func(op, _ string, uid migrate.UID) error {
			if uid == 0 {
				calls[op]++
			}
			return nil
		}
		w.Settle(t)
		w.CheckExact(t, b)
		if calls["open folder"] != 3 || calls["describe"] != 0 || calls["ask for states"] != 0 {
			t.Errorf("calls %v", calls)
		}
	})
}

// TestGroupOfFolders lists small new folders together. One that the server refuses, or a connection that
// breaks over them, keeps none of the others.
func TestGroupOfFolders(t *testing.T) {
	for name, befall := range map[string]func(*migratetest.Box){
		"all well": func(*migratetest.Box) {},
		"refused":  func(b *migratetest.Box) { b.Source.Folder("Folder 2").Refuse(true) },
		"broken": func(b *migratetest.Box) {
			b.Source.Before = func(op, folder string, _ migrate.UID) error {
				if op == "describe with the list" && folder == "Folder 2" {
					return errors.New("connection reset")
				}
				return nil
			}
		},
	} {
		for _, connections := range []int{1, 3} {
			bubble(t, fmt.Sprint(name, " over ", connections), func(t *testing.T, w *migratetest.World) {
				w.Connections = connections
				b := oneMailbox(t, w, 2)
				for i := range 6 {
					f := b.Source.AddFolder("", fmt.Sprint("Folder ", i))
					for j := range i {
						f.Add(migratetest.Message(fmt.Sprint(i, "-", j), "letter", 300), received)
					}
				}
				b.Source.Latency = 10 * time.Millisecond
				befall(b)
				w.Settle(t)
				want := 2 + 15
				if name == "refused" {
					want -= 2
				} else {
					w.CheckExact(t, b)
				}
				if n := len(b.Target.Messages()); n != want {
					t.Errorf("%d messages at the target, want %d", n, want)
				}
				if cp := w.Checkpoint(t, b.Mailbox.ID); cp.Epoch != 1 && name != "refused" {
					t.Errorf("%d runs", cp.Epoch)
				}
			})
		}
	}
}
