package servicebus

import (
	"cmp"
	"slices"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/uuid"
)

var errLockLost = refusal(condMessageLockLost,
	"The lock supplied is invalid. Either the lock expired, or the message has already been removed from the queue.")

// queue is a queue in memory, or a dead-letter queue. It has no clock and no
// lock of its own: every method is told the time and first does what is due.
type queue struct {
	config Queue
	dead   *queue // where dead letters go; nil in a dead-letter queue

	sequence  int64
	messages  map[int64]*message
	locked    map[amqp.UUID]*message
	ready     heapOf[*message] // by sequence; may hold messages no longer ready
	timeline  heapOf[event]
	history   history
	count     [stateDeferred + 1]int
	bytes     int
	delivered int
}

// newQueue returns an empty queue and its empty dead-letter queue.
func newQueue(config Queue) *queue {
	q := emptyQueue(config)
	q.dead = emptyQueue(config)
	return q
}

func emptyQueue(config Queue) *queue {
	return &queue{
		config:   config,
		messages: map[int64]*message{},
		locked:   map[amqp.UUID]*message{},
		ready:    heapOf[*message]{less: func(a, b *message) bool { return a.sequence < b.sequence }},
		timeline: heapOf[event]{less: func(a, b event) bool { return a.at.Before(b.at) }},
		history:  history{window: config.DuplicateDetection, limit: maxHistory, until: map[string]time.Time{}},
	}
}

// send adds messages, all or none, and returns their sequence numbers. A message
// whose scheduled time lies ahead waits for it; a duplicate is dropped in
// silence and gets a sequence number that stands for nothing. Nothing can be
// sent to a dead-letter queue.
func (q *queue) send(now time.Time, parcels ...parcel) ([]int64, error) {
	q.advance(now)
	more := 0
	for _, p := range parcels {
		more += p.weight
	}
	if err := q.room(more, len(parcels)); err != nil {
		return nil, err
	}
	sequences := make([]int64, 0, len(parcels))
	for _, p := range parcels {
		q.sequence++
		sequences = append(sequences, q.sequence)
		if !q.history.isDuplicate(now, p.content) {
			q.add(now, p)
		}
	}
	return sequences, nil
}

// room says whether the queue, with its dead letters, may take so many bytes and
// message ids more.
func (q *queue) room(bytes, ids int) error {
	held := q.bytes
	if q.dead != nil {
		held += q.dead.bytes
	}
	if held+bytes > q.config.MaxSize {
		return refusal(condResourceLimit, "the queue is full: it holds %d bytes", held)
	}
	if len(q.history.until)+ids > q.history.limit {
		return refusal(condResourceLimit, "%d message ids are remembered to find duplicates", len(q.history.until))
	}
	return nil
}

func (q *queue) add(now time.Time, p parcel) {
	m := &message{parcel: p, sequence: q.sequence, enqueued: now}
	q.messages[m.sequence] = m
	q.bytes += m.weight
	if at := scheduledTime(m.content); at.After(now) {
		q.set(m, stateScheduled, at)
		return
	}
	q.enqueue(now, m)
}

// cancel removes scheduled messages; either all of them or, with an error, none.
func (q *queue) cancel(now time.Time, sequences []int64) error {
	q.advance(now)
	for _, n := range sequences {
		if m := q.messages[n]; m == nil || m.state != stateScheduled {
			return refusal(condMessageNotFound, "no scheduled message has sequence number %d", n)
		}
	}
	for _, n := range sequences {
		if m := q.messages[n]; m != nil {
			q.remove(m)
		}
	}
	return nil
}

// available says whether receive has a message to give.
func (q *queue) available(now time.Time) bool {
	q.advance(now)
	for q.ready.Len() > 0 && q.ready.items[0].state != stateReady {
		q.ready.removeFirst()
	}
	return q.ready.Len() > 0
}

// receive takes the oldest message that is ready, or nil. It locks the message
// or, when the receiver settles in advance, removes it.
func (q *queue) receive(now time.Time, remove bool) *message {
	if !q.available(now) {
		return nil
	}
	return q.hand(now, q.ready.removeFirst(), remove)
}

// hand gives a message to a receiver: locked or, with remove, for good.
func (q *queue) hand(now time.Time, m *message, remove bool) *message {
	q.delivered++
	m.token = amqp.UUID(uuid.New())
	if remove {
		q.remove(m)
		return m
	}
	q.locked[m.token] = m
	q.set(m, stateLocked, now.Add(q.config.LockDuration))
	return m
}

// holds says whether token still holds a lock.
func (q *queue) holds(now time.Time, token amqp.UUID) bool {
	q.advance(now)
	return q.locked[token] != nil
}

// renew starts a lock's duration anew and returns its end.
func (q *queue) renew(now time.Time, token amqp.UUID) (time.Time, error) {
	q.advance(now)
	m := q.locked[token]
	if m == nil {
		return time.Time{}, errLockLost
	}
	q.set(m, stateLocked, now.Add(q.config.LockDuration))
	return m.due, nil
}

// settle ends the lock that token holds.
func (q *queue) settle(now time.Time, token amqp.UUID, s settlement) error {
	q.advance(now)
	m := q.locked[token]
	if m == nil {
		return errLockLost
	}
	if s.kind == settleDeadLetter && q.dead == nil {
		return refusal(condNotAllowed, "a message in a dead-letter queue cannot be dead-lettered")
	}
	if err := q.modify(m, s.properties); err != nil {
		return err
	}
	delete(q.locked, token)
	switch s.kind {
	case settleComplete:
		q.remove(m)
	case settleAbandon:
		q.failed(now, m)
	case settleRelease:
		q.makeReady(now, m)
	case settleDefer:
		m.deferred = true
		q.makeReady(now, m)
	case settleDeadLetter:
		q.bury(m)
	}
	return nil
}

// modify sets application properties of a message.
func (q *queue) modify(m *message, properties map[string]any) error {
	changed := withProperties(m.content.ApplicationProperties, properties)
	size := propertiesSize(changed)
	if size > maxProperties {
		return errProperties
	}
	grown := decodedWeight * (size - propertiesSize(m.content.ApplicationProperties))
	if grown > 0 {
		if err := q.room(grown, 0); err != nil {
			return err
		}
	}
	m.content.ApplicationProperties = changed
	m.weight += grown
	q.bytes += grown
	return nil
}

// peek returns up to n messages of any state, from a sequence number upwards.
func (q *queue) peek(now time.Time, from int64, n int) []*message {
	q.advance(now)
	var found []*message
	for sequence, m := range q.messages {
		if sequence >= from {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b *message) int { return cmp.Compare(a.sequence, b.sequence) })
	return found[:max(0, min(n, len(found)))]
}

// advance does everything that is due: scheduled messages are enqueued, locks
// expire, messages outlive their time.
func (q *queue) advance(now time.Time) {
	for at := q.next(); !at.IsZero() && !at.After(now); at = q.next() {
		m := q.timeline.removeFirst().m
		switch m.state {
		case stateScheduled:
			q.activate(now, m)
		case stateLocked:
			q.expireLock(now, m.token)
		case stateReady:
			q.expire(m)
		}
	}
	q.history.forget(now)
}

// activate appends a scheduled message under a new sequence number, as if it
// were sent at this moment
// (https://learn.microsoft.com/azure/service-bus-messaging/message-sequencing).
func (q *queue) activate(now time.Time, m *message) {
	delete(q.messages, m.sequence)
	q.sequence++
	m.sequence = q.sequence
	q.messages[m.sequence] = m
	q.enqueue(now, m)
}

func (q *queue) enqueue(now time.Time, m *message) {
	m.enqueued = now
	if ttl := q.timeToLive(m.content); ttl > 0 {
		m.expires = now.Add(ttl)
	}
	q.makeReady(now, m)
}

// timeToLive is the shorter one of the queue's and the message's own; 0: none.
func (q *queue) timeToLive(content *amqp.Message) time.Duration {
	ttl := q.config.TTL
	if content.Header != nil && content.Header.TTL > 0 && (ttl == 0 || content.Header.TTL < ttl) {
		ttl = content.Header.TTL
	}
	return ttl
}

// makeReady gives a message its place in the order of sequence numbers, which
// an abandoned message never lost, or sets it aside when it is deferred. A
// message expires only while it is ready.
func (q *queue) makeReady(now time.Time, m *message) {
	if m.deferred {
		q.set(m, stateDeferred, time.Time{})
		return
	}
	if m.expired(now) {
		q.expire(m)
		return
	}
	q.set(m, stateReady, m.expires)
	q.ready.add(m)
	if q.ready.Len() > 64+2*q.count[stateReady] {
		q.ready.keep(func(m *message) bool { return m.state == stateReady })
	}
}

func (q *queue) remove(m *message) {
	delete(q.messages, m.sequence)
	q.bytes -= m.weight
	q.set(m, stateGone, time.Time{})
}
