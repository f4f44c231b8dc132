// Package strike makes an HTTP handler misbehave as a fault plan says.
//
// It knows these actions: delay, answer-late, lose-answer, work-late, cut, cut-after, throttle and
// answer. A lose-answer with a status does the work and then answers with that status, as Graph may
// answer 429 to a POST that it carried out. A cut-after counts the octets of the request's body, or of
// the answer where the method has no body. Move and expire are for the handler: it finds them with
// Rule.
package strike

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
	"time"

	"mailferry/infra/local/faults"
)

// Options say what is struck and where.
type Options struct {
	Plan *faults.Plan
	// At names the point of a request and its detail.
	At func(r *http.Request) (point, detail string)
	// Refuse answers in the service's own words. After is the pause to ask for, or 0.
	Refuse func(w http.ResponseWriter, r *http.Request, status int, after time.Duration)
	Next   http.Handler
}

// Handler is Next with the faults of a plan.
type Handler struct {
	o    Options
	ctx  context.Context // of work that is done late
	stop context.CancelFunc
	late sync.WaitGroup
}

// New returns a handler; it has to be closed.
func New(o Options) *Handler {
	h := &Handler{o: o}
	h.ctx, h.stop = context.WithCancel(context.Background())
	return h
}

// Close drops the work that is still to be done late and waits for what is under way.
func (h *Handler) Close() {
	h.stop()
	h.late.Wait()
}

type ruleKey struct{}

// Rule returns the rule that strikes the request, or nil.
func Rule(ctx context.Context) *faults.Rule {
	rule, _ := ctx.Value(ruleKey{}).(*faults.Rule)
	return rule
}

// ServeHTTP does what the rule at this point says, or serves. Panicking with http.ErrAbortHandler is
// net/http's way to cut a connection in the middle of an exchange.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rule := h.o.Plan.At(h.o.At(r))
	if rule == nil {
		h.o.Next.ServeHTTP(w, r)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), ruleKey{}, rule))
	switch rule.Do {
	case faults.Delay:
		pause(r, rule.After)
	case faults.AnswerLate:
		h.answerLate(w, r, rule.After)
		return
	case faults.LoseAnswer:
		h.loseAnswer(w, r, rule)
		return
	case faults.WorkLate:
		h.workLate(r, rule.After)
		panic(http.ErrAbortHandler)
	case faults.Cut:
		panic(http.ErrAbortHandler)
	case faults.CutAfter:
		w, r = cutAfter(w, r, rule.Bytes)
	case faults.Throttle:
		h.o.Refuse(w, r, orStatus(rule.Status, http.StatusTooManyRequests), max(rule.After, time.Second))
		return
	case faults.Answer:
		h.o.Refuse(w, r, orStatus(rule.Status, http.StatusServiceUnavailable), rule.After)
		return
	}
	h.o.Next.ServeHTTP(w, r)
}

func orStatus(status, otherwise int) int {
	if status == 0 {
		return otherwise
	}
	return status
}

func pause(r *http.Request, d time.Duration) {
	if faults.Pause(r.Context(), d) != nil {
		panic(http.ErrAbortHandler)
	}
}

func (h *Handler) answerLate(w http.ResponseWriter, r *http.Request, after time.Duration) {
	answer := newRecorder()
	h.o.Next.ServeHTTP(answer, r)
	pause(r, after)
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes()) // a client that is gone needs no answer
}

func (h *Handler) loseAnswer(w http.ResponseWriter, r *http.Request, rule *faults.Rule) {
	h.o.Next.ServeHTTP(newRecorder(), r)
	if rule.Status == 0 {
		panic(http.ErrAbortHandler)
	}
	h.o.Refuse(w, r, rule.Status, rule.After)
}

// workLate takes the request whole and has it done later.
func (h *Handler) workLate(r *http.Request, after time.Duration) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client did not send it whole, so there is nothing to do
	}
	late := r.Clone(h.ctx)
	late.Body = io.NopCloser(bytes.NewReader(body))
	h.late.Go(func() {
		if faults.Pause(h.ctx, after) == nil {
			defer func() {
				if v := recover(); v != nil && v != http.ErrAbortHandler {
					panic(v)
				}
			}()
			h.o.Next.ServeHTTP(newRecorder(), late)
		}
	})
}

// cutAfter wraps the request's body, or the answer where there is none.
func cutAfter(w http.ResponseWriter, r *http.Request, n int64) (http.ResponseWriter, *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return &cutWriter{w, n}, r
	}
	r.Body = &cutReader{r.Body, n}
	return w, r
}

type cutReader struct {
	io.ReadCloser
	left int64
}

func (c *cutReader) Read(b []byte) (int, error) {
	if c.left == 0 {
		panic(http.ErrAbortHandler)
	}
	n, err := c.ReadCloser.Read(b[:min(int64(len(b)), c.left)])
	c.left -= int64(n)
	return n, err
}

type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (c *cutWriter) Write(b []byte) (int, error) {
	if int64(len(b)) <= c.left {
		c.left -= int64(len(b))
		return c.ResponseWriter.Write(b)
	}
	// Whether the client still gets it does not matter: it is cut off in any case.
	_, _ = c.ResponseWriter.Write(b[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// recorder keeps an answer that is not, or not yet, given.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: make(http.Header), status: http.StatusOK} }

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if status >= http.StatusOK {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
