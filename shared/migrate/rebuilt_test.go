package migrate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

// TestIndexBuiltAnewAtRandom has a server give UIDs anew every few minutes, also under another UIDVALIDITY, while
// mail arrives and is removed, answers of the target get lost and processes die. In the end nothing is
// missing, and nothing doubled where each time another UIDVALIDITY tells.
func TestIndexBuiltAnewAtRandom(t *testing.T) {
	for seed := range 30 {
		bubble(t, fmt.Sprint(seed), func(t *testing.T, w *migratetest.World) {
			c := rebuildAtRandom(t, w, seed)
			w.Run(t, 4*time.Hour, func() bool {
				if c.once(120) {
					c.change()
				}
				return time.Now().After(c.until)
			})
			w.Sync(t)
			w.Settle(t)
			w.Complete(t)
			c.check(t, seed%4 > 1)
		})
	}
}

// TestIndexBuiltAnewInDoubt has UIDs given anew while it is not known whether the newest message came: it is known
// by its new UID, although the others that came are as they were.
func TestIndexBuiltAnewInDoubt(t *testing.T) {
	for _, do := range []bool{false, true} {
		bubble(t, fmt.Sprint("came: ", do), func(t *testing.T, w *migratetest.World) {
			b := oneMailbox(t, w, 6)
			inbox := b.Source.Folder("INBOX")
			w.Settle(t)
			mail(inbox, "removed")
			inbox.Remove(7)
			mail(inbox, "newest")
			b.Target.Fault = func([]byte) migratetest.Fault {
				b.Target.Fault = nil
				inbox.Rebuild() // 8 is 7 now
				return migratetest.Fault{Do: do, After: 5 * time.Second,
					Err: &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("the answer is lost")}}
			}
			w.Sync(t)
			wantContents(t, b, "(inbox): letter 0 letter 1 letter 2 letter 3 letter 4 letter 5 newest")
		})
	}
}

// rebuilding is a mailbox whose server gives UIDs anew again and again.
type rebuilding struct {
	*chaos
	box     *migratetest.Box
	arrived map[string]int // messages that there were ever, by subject
	count   int
	rebuild []func(*migratetest.SourceFolder)
}

func rebuildAtRandom(t *testing.T, w *migratetest.World, seed int) *rebuilding {
	w.Mercy = true
	w.SyncEvery = 10 * time.Minute
	w.Limits.Budget = 30 * time.Second
	c := &rebuilding{
		chaos: &chaos{random: rand.New(rand.NewPCG(uint64(seed), 11)), until: time.Now().Add(2 * time.Hour)},
		box:   w.AddMailbox(t, "ann"), arrived: make(map[string]int),
		rebuild: []func(*migratetest.SourceFolder){
			(*migratetest.SourceFolder).Rebuild,
			(*migratetest.SourceFolder).Renumber,
			func(f *migratetest.SourceFolder) { f.Renumber(); f.Rebuild() },
		},
	}
	if seed%4 > 0 {
		c.rebuild = c.rebuild[seed%4-1 : seed%4]
	}
	for range 25 {
		w.Kills = append(w.Kills, 10+c.random.IntN(80))
	}
	c.box.Target.Latency, c.box.Target.Parallel = 200*time.Millisecond, 1+seed%2
	c.befall(c.box)
	c.box.Target.Fault = c.lose
	breaks := c.box.Source.Before
	c.box.Source.Before = func(op, folder string, uid migrate.UID) error {
		if c.once(40) {
			c.change()
		}
		return breaks(op, folder, uid)
	}
	for range 10 {
		c.arrive()
	}
	return c
}

// lose loses answers of the target.
func (c *rebuilding) lose([]byte) migratetest.Fault {
	lost := &migrate.Error{Op: "append", Kind: migrate.Unreachable, Unknown: true, Err: errors.New("the answer is lost")}
	switch {
	case c.once(12):
		return migratetest.Fault{Err: lost, Do: true}
	case c.once(12):
		return migratetest.Fault{Err: lost, Do: true, After: c.seconds(50)}
	case c.once(12):
		return migratetest.Fault{Err: lost}
	}
	return migratetest.Fault{}
}

// change changes the folder at the source.
func (c *rebuilding) change() {
	c.mu.Lock()
	defer c.mu.Unlock()
	inbox := c.box.Source.Folder("INBOX")
	switch n := c.random.IntN(10); {
	case n < 4:
		c.rebuild[c.random.IntN(len(c.rebuild))](inbox)
	case n < 8:
		c.arrive()
	default:
		if all := inbox.Messages(); len(all) > 3 {
			inbox.Remove(all[c.random.IntN(len(all))].UID)
		}
	}
}

// arrive delivers a message, often one with twins or without a Message-ID.
func (c *rebuilding) arrive() {
	c.count++
	subject := fmt.Sprintf("letter %d", c.count)
	id, size, at := fmt.Sprint(c.count), 300+c.count, received.Add(time.Duration(c.count)*time.Minute)
	switch c.random.IntN(4) {
	case 0:
		subject, id, size, at = "twin", "twin", 400, received
	case 1:
		subject, id, size, at = "nameless", "", 200, received
	}
	c.box.Source.Folder("INBOX").Add(migratetest.Message(id, subject, size), at)
	c.arrived[subject]++
}

// check wants no message missing, and none doubled where the server gives a sign each time.
func (c *rebuilding) check(t *testing.T, sign bool) {
	there, now := make(map[string]int), make(map[string]int)
	for _, m := range c.box.Target.Messages() {
		there[m.Subject()]++
	}
	for _, m := range c.box.Source.Folder("INBOX").Messages() {
		now[subjectOf(m.Content)]++
	}
	for subject, n := range c.arrived {
		if there[subject] < now[subject] {
			t.Errorf("%s: the target has %d, the source %d", subject, there[subject], now[subject])
		}
		if sign && there[subject] > n {
			t.Errorf("%s: the target has %d, and %d arrived", subject, there[subject], n)
		}
	}
}

func subjectOf(content []byte) string {
	_, rest, _ := strings.Cut(string(content), "Subject: ")
	subject, _, _ := strings.Cut(rest, "\r\n")
	return subject
}
