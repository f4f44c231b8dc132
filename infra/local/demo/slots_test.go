package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"mailferry/infra/local/dovecot"
	"mailferry/infra/local/exchange"
	"mailferry/infra/local/sample"
	"mailferry/infra/local/stack"
	"mailferry/shared/migrate"
)

// journal reads the runs' begin and end out of the handlers' log.
type journal struct {
	mu      sync.Mutex
	freed   map[int]time.Time // by slot
	longest time.Duration
	sum     time.Duration
	runs    int
	handed  int
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range bytes.Lines(b) {
		_, record, ok := bytes.Cut(line, []byte("info: "))
		var r struct {
			Time time.Time
			Msg  string
			Slot int
		}
		if !ok || json.Unmarshal(record, &r) != nil {
			continue
		}
		switch r.Msg {
		case "run ended":
			j.freed[r.Slot] = r.Time
		case "run began":
			j.runs++
			if freed, ok := j.freed[r.Slot]; ok {
				gap := r.Time.Sub(freed)
				j.longest, j.sum, j.handed = max(j.longest, gap), j.sum+gap, j.handed+1
			}
		}
	}
	return len(b), nil
}

// 200 mailboxes, of one connection each, share 5 slots of one endpoint over 2 instances that could take
// 16: the source never sees more than 5 at once, and a run that ends hands its slot on. The planner looks once a minute
// only. Of 200 slots that waited for it some would stay free for almost a minute, and half a minute on average: no
// machine is so slow that this looks the same.
func TestSlots(t *testing.T) {
	const mailboxes, slots, each = 200, 5, 12
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	source, err := dovecot.Start(ctx, dovecot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer source.Stop()
	log := &journal{freed: make(map[int]time.Time)}
	s, err := stack.Start(ctx, stack.Options{Dir: t.TempDir(), App: app, Instances: 2, Output: log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	csv := "EmailAddress,UserName,Password\n"
	for i := range mailboxes {
		login := fmt.Sprintf("user%03d", i)
		address := login + "@contoso.example"
		if err := source.AddUser(login, password); err != nil {
			t.Fatal(err)
		}
		if err := source.Fill(ctx, login, sample.Mailbox(uint64(i), address, each)); err != nil {
			t.Fatal(err)
		}
		if err := s.Exchange.AddUser(exchange.User{UserPrincipalName: address, Licensed: true, AccountEnabled: true}); err != nil {
			t.Fatal(err)
		}
		csv += fmt.Sprintf("%s,%s,\"%s\"\n", address, login, password)
	}
	host, port := source.TLSAddr()
	description, _ := json.Marshal(map[string]any{"host": host, "port": port, "ca": string(source.CA()), "slots": slots, "connections": 1})
	if _, err := s.Drop.Put(ctx, endpoint+"/endpoint.json", description, nil, migrate.Condition{}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Drop.Put(ctx, endpoint+"/"+batch+".csv", []byte(csv), nil, migrate.Condition{}); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for synced := 0; synced < mailboxes; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d of %d mailboxes synced", synced, mailboxes)
		}
		list, err := migrate.Batches(ctx, s.State, endpoint)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) == 1 {
			synced = list[0].States[migrate.Synced]
			if n := list[0].States[migrate.Failed]; n > 0 {
				t.Fatalf("%d mailboxes failed", n)
			}
		}
	}
	_, peak, total := source.Connections()
	log.mu.Lock()
	defer log.mu.Unlock()
	t.Logf("%d runs, %d connections, at most %d at once; a slot stayed free for %s on average, %s at most",
		log.runs, total, peak, log.sum/time.Duration(max(1, log.handed)), log.longest)
	if peak > slots {
		t.Errorf("%d connections at once, %d slots", peak, slots)
	}
	if peak < slots || total < mailboxes {
		t.Errorf("%d connections, at most %d at once: the slots were not used", total, peak)
	}
	if mean := log.sum / time.Duration(max(1, log.handed)); log.longest > 45*time.Second || mean > 10*time.Second {
		t.Errorf("a slot stayed free for %s on average and %s at most while mailboxes waited", mean, log.longest)
	}
	for i := range mailboxes {
		m, _ := s.Exchange.Mailbox(fmt.Sprintf("user%03d@contoso.example", i))
		if n := len(m.Messages()); n != each {
			t.Errorf("mailbox %d has %d messages, not %d", i, n, each)
		}
	}
}
