package servicebus

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Queue describes a queue; zero fields take the defaults of Service Bus.
type Queue struct {
	Name                   string
	LockDuration           time.Duration // of a peek-lock; default 1 minute
	MaxDeliveryCount       int           // failed deliveries until a message is dead-lettered; default 10
	TTL                    time.Duration // time to live of messages that set none or a longer one; 0 none
	DuplicateDetection     time.Duration // how long message ids are remembered; 0 off
	MaxMessageSize         int           // bytes of an encoded message or batch; default 256 KiB
	MaxSize                int           // bytes of memory for all messages, dead letters included; default 256 MiB
	DeadLetterOnExpiration bool          // dead-letter what outlives its time, instead of dropping it
}

// Counts says how many messages a queue holds.
type Counts struct {
	Active       int // ready to be received
	Locked       int
	Scheduled    int
	DeadLettered int // in the dead-letter queue, locked ones included
	Delivered    int // deliveries since the start, redeliveries included
}

const (
	deadLetterSuffix = "/$deadletterqueue"
	managementSuffix = "/$management"
	cbsNode          = "$cbs"
)

// entity is a queue or dead-letter queue that links attach to.
type entity struct {
	name      string // as configured, for messages
	queue     *queue
	receivers []*link // in the order of their turns
}

func (b *Broker) addQueue(q Queue) error {
	key := entityKey(q.Name)
	if key == "" || strings.ContainsAny(key, "$ ?#\\") || strings.Trim(key, "/") != key {
		return fmt.Errorf("queue name %q is not valid", q.Name)
	}
	if b.entities[key] != nil {
		return fmt.Errorf("queue %q is named twice", q.Name)
	}
	if err := q.allowed(); err != nil {
		return err
	}
	q.LockDuration = cmp.Or(q.LockDuration, time.Minute)
	q.MaxDeliveryCount = cmp.Or(q.MaxDeliveryCount, 10)
	q.MaxMessageSize = cmp.Or(q.MaxMessageSize, 256<<10)
	q.MaxSize = cmp.Or(q.MaxSize, 256<<20)
	live := newQueue(q)
	main := &entity{name: q.Name, queue: live}
	dead := &entity{name: q.Name + "/$DeadLetterQueue", queue: live.dead}
	b.entities[key], b.entities[key+deadLetterSuffix] = main, dead
	b.order = append(b.order, main, dead)
	return nil
}

// allowed checks what Service Bus would refuse at a queue's creation
// (https://learn.microsoft.com/azure/service-bus-messaging/service-bus-quotas and
// Azure.Messaging.ServiceBus.Administration.QueueProperties). It allows locks
// shorter than the service's 5 seconds, for tests.
func (q Queue) allowed() error {
	for _, limit := range []struct {
		what     string
		ok       bool
		min, max any
	}{
		{"lock duration", q.LockDuration >= 0 && q.LockDuration <= 5*time.Minute, 0, 5 * time.Minute},
		{"duplicate detection window", q.DuplicateDetection == 0 ||
			q.DuplicateDetection >= 20*time.Second && q.DuplicateDetection <= 7*24*time.Hour, 20 * time.Second, 7 * 24 * time.Hour},
		{"time to live", q.TTL == 0 || q.TTL >= time.Second, time.Second, "any"},
		{"maximum delivery count", q.MaxDeliveryCount >= 0 && q.MaxDeliveryCount <= 2000, 1, 2000},
		{"maximum message size", q.MaxMessageSize >= 0 && q.MaxMessageSize <= 100<<20, 1, 100 << 20},
	} {
		if !limit.ok {
			return fmt.Errorf("queue %q: %s is not between %v and %v", q.Name, limit.what, limit.min, limit.max)
		}
	}
	return nil
}

// entityKey is by which an entity is found: names don't distinguish case.
func entityKey(name string) string { return strings.ToLower(name) }

// Counts returns the counts of a queue, or of a dead-letter queue when its path
// is given; zero for an unknown one.
func (b *Broker) Counts(queue string) Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entities[entityKey(queue)]
	if e == nil {
		return Counts{}
	}
	e.queue.advance(b.now())
	c := Counts{
		Active:    e.queue.count[stateReady],
		Locked:    e.queue.count[stateLocked],
		Scheduled: e.queue.count[stateScheduled],
		Delivered: e.queue.delivered,
	}
	if e.queue.dead != nil {
		c.DeadLettered = len(e.queue.dead.messages)
	}
	return c
}
