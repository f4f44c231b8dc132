package exchange

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"mailferry/infra/local/faults"
)

// TestGraphAmbiguity writes with four workers while answers get lost, come late or say 429 after the
// work, and looks each unknown outcome up by its key before it writes again: every message is there
// once (graph.md section 1a, "Idempotency filter").
func TestGraphAmbiguity(t *testing.T) {
	plan := faults.New()
	s := start(t, Options{Faults: plan})
	g := newGraph(t, s)
	for i, r := range []faults.Rule{
		{Do: faults.LoseAnswer, Skip: 3}, {Do: faults.LoseAnswer, Status: 429}, {Do: faults.LoseAnswer, Status: 504, Skip: 5},
		{Do: faults.Cut}, {Do: faults.Throttle, Skip: 2}, {Do: faults.Answer, Status: 503}, {Do: faults.CutAfter, Bytes: 10},
		{Do: faults.AnswerLate, After: time.Millisecond}, {Do: faults.Move, To: "archive"},
	} {
		r.At, r.Times = "graph.POST", 5+i%3
		plan.Add(r)
	}
	key := "String " + ourGUID + " Name SourceKey"
	const messages = 60
	next := make(chan int)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for n := range next {
				body := fmt.Sprintf(`{"singleValueExtendedProperties":[{"id":"Integer 0x0E07","value":"1"},{"id":"%s","value":"key%d"}]}`, key, n)
				for {
					if status, err := g.try("POST", "/users/"+anna+"/mailFolders/inbox/messages", body); err == nil && status == 201 {
						break
					}
					filter := fmt.Sprintf("%s/Any(ep: ep/id eq '%s' and ep/value eq 'key%d')", props, key, n)
					r := g.get("/users/" + anna + "/messages?$select=id&$filter=" + esc(filter))
					for r.status == 429 {
						r = g.get("/users/" + anna + "/messages?$select=id&$filter=" + esc(filter))
					}
					if r.status != 200 || len(r.values()) > 0 {
						break // a look-up that fails shows in the end
					}
				}
			}
		})
	}
	for n := range messages {
		next <- n
	}
	close(next)
	workers.Wait()
	m, _ := s.Mailbox(anna)
	times := map[string]int{}
	for _, msg := range m.Messages() {
		times[msg.Properties["String {6f1f3e52-0c8b-4d7b-9d62-0123456789ab} Name SourceKey"]]++
	}
	for n := range messages {
		if key := fmt.Sprint("key", n); times[key] != 1 {
			t.Errorf("%s is there %d times", key, times[key])
		}
	}
	if len(times) != messages || len(s.Departures()) != 0 {
		t.Errorf("got %d messages, %v left", len(times), s.Departures())
	}
}
