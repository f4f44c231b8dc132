package servicebus

import (
	"math"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	sb "github.com/Azure/azure-sdk-for-go/sdk/messaging/azservicebus"
)

var scenarios = []scenario{
	{"send", Queue{}, func(o *observer) {
		o.must(o.sender.SendMessage(o.ctx, &sb.Message{MessageID: to.Ptr("a"), Subject: to.Ptr("s"), Body: []byte("body of a"),
			TimeToLive: to.Ptr(time.Minute), ApplicationProperties: map[string]any{"n": int64(7)}}, nil))
		r := o.receiver(nil)
		m := o.takeNext(r)
		o.say("%s subject %s n %d ttl %.0f", m.Body, *m.Subject, m.ApplicationProperties["n"], m.TimeToLive.Seconds())
		o.counts()
		o.must(r.CompleteMessage(o.ctx, m, nil))
		o.counts()
	}, []string{"a delivery 1", "body of a subject s n 7 ttl 60",
		"active 0 locked 1 scheduled 0 dead 0 delivered 1", "active 0 locked 0 scheduled 0 dead 0 delivered 1"}},

	{"batch", Queue{}, func(o *observer) {
		batch, err := o.sender.NewMessageBatch(o.ctx, nil)
		o.must(err)
		for _, id := range []string{"a", "b"} {
			o.must(batch.AddMessage(&sb.Message{MessageID: &id}, nil))
		}
		o.must(o.sender.SendMessageBatch(o.ctx, batch, nil))
		r := o.receiver(nil)
		o.finish(r)
		o.finish(r)
	}, []string{"a delivery 1", "b delivery 1"}},

	{"receive-and-delete", Queue{}, func(o *observer) {
		o.send("a")
		o.takeNext(o.receiver(&sb.ReceiverOptions{ReceiveMode: sb.ReceiveModeReceiveAndDelete}))
		o.counts()
	}, []string{"a delivery 1", "active 0 locked 0 scheduled 0 dead 0 delivered 1"}},

	{"abandon", Queue{}, func(o *observer) {
		o.send("a")
		r := o.receiver(nil)
		o.must(r.AbandonMessage(o.ctx, o.takeNext(r), &sb.AbandonMessageOptions{PropertiesToModify: map[string]any{"tried": "yes"}}))
		o.say("tried %s", o.takeNext(r).ApplicationProperties["tried"])
	}, []string{"a delivery 1", "a delivery 2", "tried yes"}},

	// azservicebus releases what comes after ReceiveMessages has returned.
	{"release", Queue{}, func(o *observer) {
		o.send("first")
		r := o.receiver(nil)
		messages, err := r.ReceiveMessages(o.ctx, 2, nil)
		o.must(err)
		o.must(r.CompleteMessage(o.ctx, messages[0], nil))
		o.send("a") // to the credit that is left
		o.must(o.released("a"))
		o.say("a delivery 1")
		o.takeNext(o.receiver(nil))
	}, []string{"a delivery 1", "a delivery 1"}},

	{"defer", Queue{}, func(o *observer) {
		o.send("a")
		r := o.receiver(nil)
		m := o.takeNext(r)
		o.must(r.DeferMessage(o.ctx, m, nil))
		o.counts()
		again := o.deferred(r, *m.SequenceNumber)
		o.say("%s came", again.MessageID)
		_, err := r.ReceiveDeferredMessages(o.ctx, []int64{*m.SequenceNumber}, nil)
		o.refused("again", err)
		o.must(r.CompleteMessage(o.ctx, again, nil))
		o.counts()
	}, []string{"a delivery 1", "active 0 locked 0 scheduled 0 dead 0 delivered 1", "a came", "again: not found",
		"active 0 locked 0 scheduled 0 dead 0 delivered 2"}},

	{"dead-letter", Queue{}, func(o *observer) {
		o.send("a")
		r := o.receiver(nil)
		o.must(r.DeadLetterMessage(o.ctx, o.takeNext(r), because))
		o.sayDead()
		o.counts()
	}, []string{"a delivery 1", "a delivery 1", "dead: why / because", "active 0 locked 0 scheduled 0 dead 1 delivered 1"}},

	{"settle-by-token", Queue{}, func(o *observer) {
		o.send("a", "b", "c")
		r := o.receiver(nil)
		var held []*sb.ReceivedMessage
		for range 3 {
			held = append(held, &sb.ReceivedMessage{LockToken: o.takeNext(r).LockToken})
		}
		o.must(r.CompleteMessage(o.ctx, held[0], nil))
		o.must(r.AbandonMessage(o.ctx, held[1], &sb.AbandonMessageOptions{PropertiesToModify: map[string]any{"tried": "yes"}}))
		o.must(r.DeadLetterMessage(o.ctx, held[2], because))
		o.refused("again", r.CompleteMessage(o.ctx, held[0], nil))
		o.say("tried %s", o.takeNext(r).ApplicationProperties["tried"])
		o.sayDead()
	}, []string{"a delivery 1", "b delivery 1", "c delivery 1", "again: lock lost", "b delivery 2", "tried yes",
		"c delivery 1", "dead: why / because"}},

	{"renew-lock", Queue{LockDuration: time.Minute}, func(o *observer) {
		o.send("a")
		r := o.receiver(nil)
		m := o.takeNext(r)
		before := *m.LockedUntil
		o.clock.pass(50 * time.Second)
		o.must(r.RenewMessageLock(o.ctx, m, nil))
		o.say("renewed by %.0f", math.Round(m.LockedUntil.Sub(before).Seconds()/10)*10)
		o.clock.pass(50 * time.Second)
		o.must(r.CompleteMessage(o.ctx, m, nil))
		o.refused("renew", r.RenewMessageLock(o.ctx, m, nil))
	}, []string{"a delivery 1", "renewed by 50", "renew: lock lost"}},

	{"lock-expiry", Queue{LockDuration: time.Minute}, func(o *observer) {
		o.send("a")
		r := o.receiver(nil)
		first := o.takeNext(r)
		o.clock.pass(61 * time.Second)
		second := o.takeNext(r)
		o.refused("first", r.CompleteMessage(o.ctx, first, nil))
		o.refused("second", r.CompleteMessage(o.ctx, second, nil))
	}, []string{"a delivery 1", "a delivery 2", "first: lock lost", "second: done"}},

	{"maximum-delivery-count", Queue{MaxDeliveryCount: 3}, func(o *observer) {
		o.send("a")
		r := o.receiver(nil)
		for range 3 {
			o.must(r.AbandonMessage(o.ctx, o.takeNext(r), nil))
		}
		o.sayDead()
	}, []string{"a delivery 1", "a delivery 2", "a delivery 3", "a delivery 4",
		"dead: MaxDeliveryCountExceeded / Message could not be consumed after 3 delivery attempts."}},

	{"time-to-live", Queue{TTL: time.Minute, DeadLetterOnExpiration: true}, func(o *observer) {
		o.must(o.sender.SendMessage(o.ctx, &sb.Message{MessageID: to.Ptr("a"), TimeToLive: to.Ptr(30 * time.Second)}, nil))
		o.clock.pass(30 * time.Second)
		o.sayDead()
	}, []string{"a delivery 1", "dead: TTLExpiredException / The message expired and was dead lettered."}},

	{"duplicates", Queue{DuplicateDetection: 30 * time.Second}, func(o *observer) {
		o.send("a", "a")
		r := o.receiver(nil)
		o.finish(r)
		o.send("a", "b") // history outlives completion
		o.finish(r)
		o.schedule("c")
		o.send("c")
		o.counts()
		o.clock.pass(40 * time.Second)
		o.send("a")
		o.counts()
	}, []string{"a delivery 1", "b delivery 1", "active 0 locked 0 scheduled 1 dead 0 delivered 2",
		"active 1 locked 0 scheduled 1 dead 0 delivered 2"}},

	{"schedule", Queue{}, func(o *observer) {
		numbers := o.schedule("a", "b")
		o.counts()
		o.must(o.sender.CancelScheduledMessages(o.ctx, numbers[1:], nil))
		o.refused("cancel again", o.sender.CancelScheduledMessages(o.ctx, numbers[1:], nil))
		o.clock.pass(61 * time.Second)
		o.say("number %d", *o.takeNext(o.receiver(nil)).SequenceNumber)
		o.counts()
	}, []string{"active 0 locked 0 scheduled 2 dead 0 delivered 0", "cancel again: not found", "a delivery 1", "number 3",
		"active 0 locked 1 scheduled 0 dead 0 delivered 1"}},

	{"peek", Queue{}, func(o *observer) {
		o.sayPeeked()
		o.send("a", "b")
		o.schedule("c")
		o.takeNext(o.receiver(nil))
		o.sayPeeked()
	}, []string{"a delivery 1", "peeked a number 1 state 0", "peeked b number 2 state 0", "peeked c number 3 state 2"}},

	{"too-large", Queue{MaxMessageSize: 1000}, func(o *observer) {
		o.refused("small", o.sender.SendMessage(o.ctx, &sb.Message{Body: make([]byte, 500)}, nil))
		o.refused("send", o.sender.SendMessage(o.ctx, &sb.Message{Body: make([]byte, 2000)}, nil))
		o.counts()
	}, []string{"small: done", "send: too large", "active 1 locked 0 scheduled 0 dead 0 delivered 0"}},

	{"unknown-queue", Queue{}, func(o *observer) { o.sendTo("nowhere") }, []string{"send: not found"}},

	{"session-filter", Queue{}, func(o *observer) {
		_, err := o.client.AcceptSessionForQueue(o.ctx, "q", "s", nil)
		o.refused("accept", err)
		o.send("a")
		o.counts()
	}, []string{"accept: not allowed", "active 1 locked 0 scheduled 0 dead 0 delivered 0"}},

	{"send-to-dead-letters", Queue{}, func(o *observer) { o.sendTo("q/$DeadLetterQueue") }, []string{"send: not allowed"}},

	{"wrong-key", Queue{}, func(o *observer) {
		o.refused("send", o.as("root", "wrong").sender.SendMessage(o.ctx, &sb.Message{}, nil))
	}, []string{"send: unauthorized"}},

	{"expired-token", Queue{}, func(o *observer) {
		client := o.connect("Endpoint=sb://" + o.Addr() + ";UseDevelopmentEmulator=true;SharedAccessSignature=" +
			sasToken(scenarioKeys[0], o.Addr(), time.Unix(1, 0)))
		sender, err := client.NewSender("q", nil)
		o.must(err)
		o.refused("send", sender.SendMessage(o.ctx, &sb.Message{}, nil))
	}, []string{"send: unauthorized"}},

	{"missing-right", Queue{}, func(o *observer) {
		sender := o.as("sender", "sender")
		sender.send("a")
		_, err := sender.receiver(nil).ReceiveMessages(o.ctx, 1, nil)
		o.refused("receive", err)
		o.counts()
	}, []string{"receive: unauthorized", "active 1 locked 0 scheduled 0 dead 0 delivered 0"}},
}
