package functionhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"time"

	"mailferry/infra/local/faults"
)

var (
	errAnswerLost = errors.New("the handler's answer was lost (fault)")
	errCutOff     = errors.New("the connection to the handler broke (fault)")
)

// statusError is how an invocation fails that the handler answered, or is said
// to have answered, with a status of failure.
func statusError(status int) error {
	if status == 0 {
		status = http.StatusInternalServerError
	}
	return fmt.Errorf("response status code does not indicate success: %d (fault)", status)
}

// invokeWithFaults performs a call as the plan has it at host.invoke, before the
// handler gets the request, and at host.answer, when it has answered.
func (in *instance) invokeWithFaults(c *call) error {
	rule := in.host.options.Faults.At("host.invoke", c.detail)
	if rule == nil {
		return in.answer(c, in.perform(c, nil))
	}
	switch rule.Do {
	case faults.Delay:
		if err := faults.Pause(in.work, rule.After); err != nil {
			return err
		}
	case faults.AnswerLate:
		err := in.perform(c, nil)
		return errors.Join(err, faults.Pause(in.work, rule.After))
	case faults.AnswerTwice:
		in.tasks.Go(func() { in.second(c) })
	case faults.LoseAnswer:
		return errors.Join(errAnswerLost, in.perform(c, nil))
	case faults.WorkLate:
		in.tasks.Go(func() {
			if faults.Pause(in.work, rule.After) == nil {
				in.second(c)
			}
		})
		return errAnswerLost
	case faults.Cut:
		return errors.Join(errCutOff, in.perform(c, killDuring(rule.After)))
	case faults.CutAfter:
		return errors.Join(errCutOff, in.perform(c, cutAfter(rule.Bytes)))
	case faults.Answer:
		return statusError(rule.Status)
	case faults.Expire:
		c.expire(in.life)
	}
	return in.answer(c, in.perform(c, nil))
}

// answer lets the plan change what becomes of an answer.
func (in *instance) answer(c *call, err error) error {
	rule := in.host.options.Faults.At("host.answer", c.detail)
	if rule == nil {
		return err
	}
	switch rule.Do {
	case faults.Delay, faults.AnswerLate:
		return errors.Join(err, faults.Pause(in.work, rule.After))
	case faults.LoseAnswer:
		return errAnswerLost
	case faults.Cut:
		if p, err := in.process(); err == nil {
			p.kill()
		}
		return errCutOff
	case faults.Answer:
		return statusError(rule.Status)
	case faults.Expire:
		c.expire(in.life)
	}
	return err
}

// second performs a call whose outcome counts for nothing.
func (in *instance) second(c *call) {
	if err := in.perform(c, nil); err != nil {
		in.log.Info("the second of two invocations failed (fault)", "function", c.function.name, "error", err)
	}
}

func (c *call) expire(ctx context.Context) {
	if c.lock != nil {
		c.lock(ctx)
	}
}

// killDuring kills the process when it has had the request for so long. There
// is no network between host and handler: a connection that is cut means that
// the process is gone.
func killDuring(after time.Duration) func(*http.Request, *process) *http.Request {
	return func(request *http.Request, p *process) *http.Request {
		trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) {
			go func() {
				_ = faults.Pause(request.Context(), after)
				p.kill()
			}()
		}}
		return request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
	}
}

// cutAfter breaks the connection in the middle of the request.
func cutAfter(octets int64) func(*http.Request, *process) *http.Request {
	return func(request *http.Request, _ *process) *http.Request {
		request.Body = io.NopCloser(io.MultiReader(io.LimitReader(request.Body, octets), brokenReader{}))
		request.GetBody = nil
		return request
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errCutOff }

func newBody(data []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(data)) }
