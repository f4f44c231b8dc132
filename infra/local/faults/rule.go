package faults

import (
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"time"
)

// Action is what happens to a request at a point. Not every point knows every action: a point that
// does not know one goes on as if nothing were there, and its package comment lists what it knows.
type Action string

// The actions.
const (
	Delay       Action = "delay"        // wait After, then go on
	AnswerLate  Action = "answer-late"  // do the work, wait After, answer
	AnswerTwice Action = "answer-twice" // do the work once, answer or deliver twice
	LoseAnswer  Action = "lose-answer"  // do the work, then cut the connection instead of answering
	WorkLate    Action = "work-late"    // cut the connection at once, do the work After later
	Cut         Action = "cut"          // cut the connection, do nothing
	CutAfter    Action = "cut-after"    // cut once Bytes octets have passed, be it in the middle of a literal
	Throttle    Action = "throttle"     // refuse as this service throttles, naming After as the pause
	Answer      Action = "answer"       // refuse with Status, or with the protocol's failure
	Move        Action = "move"         // do the work, then move its result to To before anybody looks
	Expire      Action = "expire"       // expire the lock, lease or token in question, then go on
)

var actions = []Action{Delay, AnswerLate, AnswerTwice, LoseAnswer, WorkLate, Cut, CutAfter, Throttle, Answer, Move, Expire}

// Rule says what is to happen at a point.
type Rule struct {
	// At is the point, such as "imap.APPEND", with the wildcards of path.Match.
	At string `json:"at"`
	// Match is a part of the point's detail (mailbox, URL path, queue, function); empty is any.
	Match string `json:"match,omitempty"`
	// Skip is how many matches pass first.
	Skip int `json:"skip,omitempty"`
	// Times is how often it happens; 0 is until the rule is removed.
	Times int `json:"times,omitempty"`
	// Do is what happens.
	Do Action `json:"do"`
	// After is the pause of Delay, AnswerLate and WorkLate, and what Throttle asks for. "2s" in JSON.
	After time.Duration `json:"-"`
	// Bytes is how many octets CutAfter lets pass.
	Bytes int64 `json:"bytes,omitempty"`
	// Status is the HTTP status of Answer and, where set, of Throttle.
	Status int `json:"status,omitempty"`
	// To is the folder of Move.
	To string `json:"to,omitempty"`
}

func (r Rule) validate() error {
	if _, err := path.Match(r.At, ""); err != nil || r.At == "" {
		return fmt.Errorf("point %q is not a pattern of path.Match", r.At)
	}
	if !slices.Contains(actions, r.Do) {
		return fmt.Errorf("there is no action %q; the actions are %v", r.Do, actions)
	}
	if r.Skip < 0 || r.Times < 0 || r.After < 0 || r.Bytes < 0 {
		return fmt.Errorf("skip, times, after and bytes cannot be negative")
	}
	if r.Status != 0 && (r.Status < 400 || r.Status > 599) {
		return fmt.Errorf("status %d is no failure", r.Status)
	}
	return nil
}

// wireRule is a Rule with its pause as text.
type wireRule struct {
	*plainRule
	After string `json:"after,omitempty"`
}

type plainRule Rule

// MarshalJSON writes After in Go's duration format.
func (r Rule) MarshalJSON() ([]byte, error) {
	w := wireRule{plainRule: (*plainRule)(&r)}
	if r.After != 0 {
		w.After = r.After.String()
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (r *Rule) UnmarshalJSON(text []byte) error {
	w := wireRule{plainRule: (*plainRule)(r)}
	if err := json.Unmarshal(text, &w); err != nil {
		return err
	}
	r.After = 0
	if w.After == "" {
		return nil
	}
	d, err := time.ParseDuration(w.After)
	r.After = d
	return err
}
