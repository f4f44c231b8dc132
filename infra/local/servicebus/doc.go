// Package servicebus is an Azure Service Bus broker for one machine: an AMQP
// 1.0 server over TCP that the unchanged azservicebus client talks to with a
// connection string that says UseDevelopmentEmulator=true.
//
// It has queues and their dead-letter queues, in memory: peek-lock and
// receive-and-delete, lock renewal and loss, abandon, deferral, dead letters,
// time to live, duplicate detection, scheduled messages and peeking. Tokens are
// checked as far as that is possible here: the signature of a SAS token, the
// audience and end of either type. As in Service Bus, a message that was locked
// over a connection that is gone stays locked until the lock expires, and can be
// settled by its lock token; idle links and connections are ended.
//
// With Options.Faults it does wrong what a faults.Plan says, at these points:
//
//	bus.claim    a token is put; the detail is its audience
//	bus.attach   a link is attached; the address
//	bus.send     a message or batch is sent; the queue
//	bus.deliver  a receiver gets a message; the queue
//	bus.settle   a delivery is settled on its link; the queue
//	bus.manage   a request to $management; queue and operation, "q renew-lock"
//
// All know Delay, Cut, WorkLate, LoseAnswer, Throttle (com.microsoft:server-busy)
// and Answer (by Status: 401, 403, 404, 410, 503; else amqp:internal-error); all
// but bus.deliver AnswerLate; all but bus.attach AnswerTwice. WorkLate is as Cut
// at bus.attach. At bus.deliver, AnswerTwice hands a message out again at once under another lock,
// so that the first is lost, without counting a delivery; LoseAnswer locks the
// message for a connection that is gone. Expire ends a lock at bus.deliver
// (after), bus.settle and bus.manage (before), and a token at bus.claim. Verbs:
// bus.restart {"empty": false, "down": "2s"}, bus.drop-connections,
// bus.expire-locks {"queue": ""} and bus.detach {"queue": "", "condition": ""},
// which ends links, by default with com.microsoft:server-busy.
//
// The README of infra/local lists the rules of Service Bus that it holds to, with their tests.
// It leaves out, and refuses: sessions, topics and subscriptions, transactions,
// forwarding, SASL mechanisms but ANONYMOUS, AMQP over WebSockets, and the
// management of entities over HTTP. It doesn't check the signature of a JWT,
// partitions nothing, throttles only when told to, and keeps nothing on disk.
package servicebus
