package functionhost

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"net/http"
	"strconv"
	"time"

	"mailferry/infra/local/faults"
)

// serveWithFaults serves a request as the plan has it at host.http. The detail
// is method and path. Panicking with http.ErrAbortHandler is net/http's way to
// cut a connection.
func (d *frontDoor) serveWithFaults(w http.ResponseWriter, request *http.Request) {
	rule := d.host.options.Faults.At("host.http", request.Method+" "+request.URL.Path)
	if rule == nil {
		d.forward(w, request)
		return
	}
	switch rule.Do {
	case faults.Delay:
		if faults.Pause(request.Context(), rule.After) != nil {
			return
		}
	case faults.AnswerLate:
		w = &lateWriter{ResponseWriter: w, ctx: request.Context(), after: rule.After}
	case faults.LoseAnswer:
		d.forward(discard{header: http.Header{}}, request)
		panic(http.ErrAbortHandler)
	case faults.WorkLate:
		d.workLate(request, rule.After)
		panic(http.ErrAbortHandler)
	case faults.Cut:
		panic(http.ErrAbortHandler)
	case faults.CutAfter:
		w = &cutWriter{ResponseWriter: w, left: rule.Bytes}
	case faults.Throttle:
		w.Header().Set("Retry-After", strconv.Itoa(int((rule.After+time.Second-1)/time.Second)))
		w.WriteHeader(http.StatusTooManyRequests)
		return
	case faults.Answer:
		w.WriteHeader(cmp.Or(rule.Status, http.StatusInternalServerError))
		return
	}
	d.forward(w, request)
}

// workLate takes the request whole and has the handler do it later.
func (d *frontDoor) workLate(request *http.Request, after time.Duration) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return
	}
	ctx := d.host.intake
	if ctx.Err() != nil {
		return
	}
	late := request.Clone(ctx)
	late.Body = io.NopCloser(bytes.NewReader(body))
	d.host.tasks.Go(func() {
		if faults.Pause(ctx, after) == nil {
			d.forward(discard{header: http.Header{}}, late)
		}
	})
}

// discard is the answer that nobody gets.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}

// lateWriter holds the whole answer back for a while.
type lateWriter struct {
	http.ResponseWriter
	ctx   context.Context
	after time.Duration
}

func (w *lateWriter) WriteHeader(status int) {
	_ = faults.Pause(w.ctx, w.after) // who has gone needs no answer
	w.ResponseWriter.WriteHeader(status)
}

// cutWriter cuts the connection in the middle of the answer.
type cutWriter struct {
	http.ResponseWriter
	left int64
}

func (w *cutWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= w.left {
		w.left -= int64(len(p))
		return w.ResponseWriter.Write(p)
	}
	_, _ = w.ResponseWriter.Write(p[:w.left])
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// Unwrap lets the answer be streamed.
func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Unwrap lets the answer be streamed.
func (w *lateWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
