package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Plan holds the rules of one or several stand-ins. Its methods may be called from any goroutine, and
// on a nil Plan, which has no rules and takes none.
type Plan struct {
	mu      sync.Mutex
	next    int
	rules   []*entry
	verbs   map[string]Do
	changed chan struct{} // closed and replaced whenever a rule is taken
}

type entry struct {
	id    string
	rule  Rule
	met   int // how often point and detail matched
	taken int
}

// Do is what a verb does. args is the request's body, or nil.
type Do func(ctx context.Context, args json.RawMessage) error

// New returns an empty Plan.
func New() *Plan {
	return &Plan{verbs: make(map[string]Do), changed: make(chan struct{})}
}

// Add adds a rule, which counts from now on, and returns its id. Of several that match, the one added
// first is taken. A rule that is not valid panics: it is a mistake of the test.
func (p *Plan) Add(r Rule) (id string) {
	id, err := p.add(r)
	if err != nil {
		panic("faults: " + err.Error())
	}
	return id
}

func (p *Plan) add(r Rule) (id string, err error) {
	if err := r.validate(); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next++
	e := &entry{id: strconv.Itoa(p.next), rule: r}
	p.rules = append(p.rules, e)
	return e.id, nil
}

// Remove removes a rule and reports whether there was one. What is under way goes on.
func (p *Plan) Remove(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := len(p.rules)
	p.rules = slices.DeleteFunc(p.rules, func(e *entry) bool { return e.id == id })
	return len(p.rules) < before
}

// Clear removes every rule.
func (p *Plan) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = nil
}

// At returns the rule that strikes at this point now, or nil. It counts as taken.
func (p *Plan) At(point, detail string) *Rule {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.rules {
		if fits, _ := path.Match(e.rule.At, point); !fits || !strings.Contains(detail, e.rule.Match) {
			continue
		}
		if e.rule.Times > 0 && e.taken == e.rule.Times {
			continue
		}
		e.met++
		if e.met <= e.rule.Skip {
			continue
		}
		e.taken++
		close(p.changed)
		p.changed = make(chan struct{})
		struck := e.rule
		return &struck
	}
	return nil
}

// Taken is how often a rule has struck; 0 for one that is not there.
func (p *Plan) Taken(id string) int {
	n, _ := p.count(id)
	return n
}

func (p *Plan) count(id string) (taken int, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.rules {
		if e.id == id {
			taken = e.taken
		}
	}
	return taken, p.changed
}

// Wait returns when a rule has struck n times, or with the context's cause.
func (p *Plan) Wait(ctx context.Context, id string, n int) error {
	for {
		taken, changed := p.count(id)
		if taken >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for fault %s (struck %d times): %w", id, taken, context.Cause(ctx))
		}
	}
}

// Verb registers something that is done at once when it is asked for, in place of an earlier one of
// that name. On a nil Plan it does nothing.
func (p *Plan) Verb(name string, do Do) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.verbs[name] = do
}

// Verbs are the names of the verbs, sorted.
func (p *Plan) Verbs() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Sorted(maps.Keys(p.verbs))
}

// Pause waits d, or until ctx ends, which it returns as an error.
func Pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
