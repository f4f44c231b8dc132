package servicebus

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// verbs are what is done at once, by name.
func (b *Broker) verbs() map[string]func(args verbArgs) error {
	return map[string]func(args verbArgs) error{
		"bus.restart": func(args verbArgs) error {
			b.restart(args.Empty, args.down)
			return nil
		},
		"bus.drop-connections": func(verbArgs) error {
			b.restart(false, 0)
			return nil
		},
		"bus.expire-locks": func(args verbArgs) error { return b.expireLocks(args.Queue) },
		"bus.detach":       func(args verbArgs) error { return b.detachLinks(args.Queue, args.Condition) },
	}
}

// verbArgs is the argument of every verb.
type verbArgs struct {
	Queue     string `json:"queue"`     // of bus.expire-locks and bus.detach; "" all
	Condition symbol `json:"condition"` // of bus.detach; "" com.microsoft:server-busy
	Empty     bool   `json:"empty"`     // of bus.restart: forget everything
	Down      string `json:"down"`      // of bus.restart: how long connections are refused, such as "2s"
	down      time.Duration
}

func (b *Broker) registerVerbs() {
	for name, do := range b.verbs() {
		b.faults.Verb(name, func(_ context.Context, raw json.RawMessage) error {
			var args verbArgs
			if len(raw) > 0 {
				if err := json.Unmarshal(raw, &args); err != nil {
					return fmt.Errorf("read argument: %w", err)
				}
			}
			if args.Down != "" {
				var err error
				if args.down, err = time.ParseDuration(args.Down); err != nil {
					return fmt.Errorf("read down: %w", err)
				}
			}
			return do(args)
		})
	}
}

// restart drops all connections and, for a while, takes none. What isn't
// forgotten stays, locks included, as in a service that fails over.
func (b *Broker) restart(empty bool, down time.Duration) {
	if empty {
		b.Wipe()
	}
	b.mu.Lock()
	for c := range b.conns {
		c.drop()
	}
	if down > 0 {
		b.down++
	}
	b.mu.Unlock()
	if down > 0 {
		b.later(down, func(time.Time) { b.down-- })
	}
}

func (b *Broker) expireLocks(queue string) (err error) {
	b.update(func(now time.Time) {
		err = b.knows(queue)
		for _, e := range b.order {
			if queue == "" || entityKey(queue) == entityKey(e.name) {
				e.queue.expireLocks(now)
			}
		}
	})
	return err
}

// knows returns an error for a queue that is not there; "" stands for all.
func (b *Broker) knows(queue string) error {
	if _, known := b.entities[entityKey(queue)]; queue != "" && !known {
		return fmt.Errorf("there is no queue %q", queue)
	}
	return nil
}

// detachLinks ends the links to a queue, as Service Bus does when it is disabled (azure-sdk-for-python pull
// request 34820). Those to its management stay: azservicebus 1.11 reads one that ended with server-busy
// again and again, without a pause (internal/rpc.go, responseRouter).
func (b *Broker) detachLinks(queue string, condition symbol) (err error) {
	b.update(func(time.Time) {
		err = b.knows(queue)
		for c := range b.conns {
			for _, s := range c.sessions {
				for _, l := range s.links {
					if l.node == nodeQueue && l.entity != nil && !l.detached && (queue == "" || entityKey(queue) == entityKey(l.entity.name)) {
						l.detach(refusal(cmp.Or(condition, condServerBusy), "The link '%s' is detached.", l.name))
					}
				}
			}
		}
	})
	return err
}
