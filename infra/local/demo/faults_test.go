package demo

import (
	"context"
	"testing"
	"time"

	"mailferry/infra/local/faults"
)

// troubles are one of each kind, at every joint of the app. Each is to strike during the first sync.
var troubles = []faults.Rule{
	// The target does the work and nobody hears of it, or does it after the connection died.
	{At: "imap.APPEND", Skip: 20, Times: 3, Do: faults.LoseAnswer},
	{At: "imap.APPEND", Skip: 60, Times: 2, Do: faults.WorkLate, After: 500 * time.Millisecond},
	{At: "imap.APPEND", Skip: 100, Times: 2, Do: faults.CutAfter, Bytes: 700},
	{At: "imap.APPEND", Skip: 150, Times: 1, Do: faults.Throttle, After: 2 * time.Second},
	{At: "graph.GET", Skip: 5, Times: 2, Do: faults.Throttle, After: time.Second},
	{At: "graph.*", Skip: 15, Times: 1, Do: faults.Answer, Status: 503},
	// The source breaks off in the middle of messages.
	{At: "source.down", Skip: 2, Times: 3, Do: faults.CutAfter, Bytes: 50_000},
	// Service Bus takes a wake-up and says nothing, forgets that one is settled, hands one out twice.
	{At: "bus.send", Skip: 1, Times: 2, Do: faults.LoseAnswer},
	{At: "bus.manage", Match: "update-disposition", Skip: 1, Times: 2, Do: faults.LoseAnswer},
	{At: "bus.deliver", Skip: 2, Times: 2, Do: faults.AnswerTwice},
	{At: "bus.manage", Match: "update-disposition", Skip: 2, Times: 1, Do: faults.Expire},
	// The host wakes a run twice, counts done work as failed, loses a lock, reports the CSV twice.
	{At: "host.blob-event", Times: 1, Do: faults.AnswerTwice},
	{At: "host.invoke", Match: "run", Skip: 1, Times: 2, Do: faults.AnswerTwice},
	{At: "host.answer", Match: "run", Skip: 3, Times: 2, Do: faults.LoseAnswer},
	{At: "host.invoke", Match: "run", Skip: 6, Times: 1, Do: faults.Expire},
	{At: "host.timer", Match: "tick", Skip: 1, Times: 1, Do: faults.AnswerTwice},
	// Connections break between the parts, after so many octets.
	{At: "wire.imap.up", Skip: 1, Times: 2, Do: faults.CutAfter, Bytes: 40_000},
	{At: "wire.graph.down", Skip: 2, Times: 1, Do: faults.CutAfter, Bytes: 6_000},
	{At: "wire.bus.down", Skip: 2, Times: 1, Do: faults.CutAfter, Bytes: 3_000},
	// The storage does what it was told and its answer gets lost; a lease is taken away.
	{At: "blob.PUT", Match: "/mailboxes/", Skip: 10, Times: 3, Do: faults.LoseAnswer},
	{At: "blob.PUT", Match: "comp=appendblock", Skip: 5, Times: 2, Do: faults.LoseAnswer},
	{At: "blob.PUT", Match: "comp=lease", Skip: 12, Times: 1, Do: faults.Expire},
	{At: "blob.GET", Skip: 30, Times: 2, Do: faults.Throttle},
}

// The main job while every part misbehaves: still, every message is there once.
func TestMainJobThroughFaults(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	plan := faults.New()
	ids := make(map[string]faults.Rule)
	for _, rule := range troubles {
		ids[plan.Add(rule)] = rule
	}
	err := Run(ctx, Options{Dir: t.TempDir(), App: app, Messages: 600, Instances: 2, Budget: 5 * time.Second, Faults: plan, Out: logWriter{t}})
	if err != nil {
		t.Error(err)
	}
	for id, rule := range ids {
		if plan.Taken(id) < rule.Times {
			t.Errorf("%s at %s struck %d times, not %d: the test does not show what it means to", rule.Do, rule.At, plan.Taken(id), rule.Times)
		}
	}
}
