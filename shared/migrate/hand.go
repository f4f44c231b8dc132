package migrate

import "errors"

// hand is one connection of a reader, used by one goroutine.
type hand struct {
	*reader
	source Source // nil: not connected yet
	first  bool   // its source is the run's own and stays open
}

// work takes one task after the other.
func (h *hand) work() {
	defer h.leave()
	for do := h.take(h); do != nil; do = h.take(h) {
		if err := do(); err != nil {
			h.change(func() {
				if h.source != nil || h.failure == nil { // one connection more says less than one that broke
					h.failure = unnamed(err)
				}
			})
			return
		}
	}
}

// unnamed leaves out which message an error is about: whoever waits for another one must not blame his.
func unnamed(err error) error {
	var e *Error
	if !errors.As(err, &e) {
		return err
	}
	return &Error{Op: "read ahead", Kind: KindOf(err), Reason: e.Reason, RetryAfter: e.RetryAfter, Advice: e.Advice, Err: errors.New(err.Error())}
}

// leave closes the hand's connection: what is idle costs the server.
func (h *hand) leave() {
	if h.source == nil {
		return
	}
	h.change(func() { h.connected-- })
	if !h.first {
		h.source.Close()
	}
}

// dismiss gives up the hand's connection, of which the run has too many. It is called under the lock.
func (h *hand) dismiss() func() error {
	source := h.source
	h.source = nil
	h.connected--
	return func() error {
		source.Close()
		return nil
	}
}

// connect signs in once more. Where the server has enough connections, the others go on without. Some
// servers then refuse the password, which was right for the first: more tries would count as guesses.
func (h *hand) connect() error {
	source, err := h.run.Dial(h.ctx, h.run.endpoint, h.run.cp.Mailbox)
	crowded := err != nil && h.run.crowds(err)
	if crowded {
		h.run.lowerCap(err)
	}
	h.change(func() {
		h.dialing--
		if err == nil {
			h.source = source
			return
		}
		h.connected--
		if kind := KindOf(err); kind == Throttled || kind == SignIn {
			h.refused = true
			if !crowded {
				h.took = max(h.connected, 1)
			}
		}
	})
	return err
}

// yields reports whether a task is better left to another hand, after this connection broke.
func (h *hand) yields(err error) bool {
	if err == nil || h.ctx.Err() != nil {
		return false
	}
	var e *Error
	if errors.As(err, &e) && e.UID != 0 {
		return false // another would fare no better
	}
	action := Judge(err, 0).Action
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.connected > 1 && (action == Reconnect || KindOf(err) == Throttled)
}

// over returns err if it ends the connection's use.
func (h *hand) over(err error) error {
	if err != nil && Judge(err, 0).Action == SkipFolder {
		return nil
	}
	return err
}
