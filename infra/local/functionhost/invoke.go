package functionhost

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"

	"github.com/google/uuid"
)

// hostVersion is what X-Azure-Functions-HostVersion and User-Agent say.
const hostVersion = "4.1037.0.0"

// errFunctionTimeout is the cause when an invocation exceeds functionTimeout.
var errFunctionTimeout = errors.New("timeout value exceeded by function")

// call is one invocation of a function. The real host makes each attempt a call
// of its own.
type call struct {
	function *function
	detail   string   // what it is about, for the fault plan: a message id, a blob
	body     []byte   // the envelope
	lock     lostLock // what Expire takes away; nil if there is nothing
}

// lostLock takes the lock of what is being worked on away, as if it had run
// out.
type lostLock func(ctx context.Context)

func newCall(f *function, detail string, e envelope, lock lostLock) (*call, error) {
	body, err := e.encode()
	if err != nil {
		return nil, fmt.Errorf("encode the envelope: %w", err)
	}
	return &call{function: f, detail: f.name + " " + detail, body: body, lock: lock}, nil
}

// invoke sends one invocation to the instance's handler and returns nil when it
// succeeded. When it lasts longer than functionTimeout the process is killed
// and started again, with everything else that it was working on
// (WebScriptHostExceptionHandler.cs).
func (in *instance) invoke(f *function, detail string, e envelope, lock lostLock) error {
	c, err := newCall(f, detail, e, lock)
	if err == nil {
		err = in.invokeWithFaults(c)
	}
	if err != nil {
		return fmt.Errorf("invoke %s: %w", f.name, err)
	}
	return nil
}

// perform is an invocation without faults. watch, which may be nil, gets the
// request before it is sent.
func (in *instance) perform(c *call, watch func(*http.Request, *process) *http.Request) error {
	p, err := in.handler(in.work)
	if err != nil {
		return err
	}
	limited, cancel := in.limit()
	defer cancel()
	request, err := newRequest(limited, p, c)
	if err != nil {
		return err
	}
	if watch != nil {
		request = watch(request, p)
	}
	answered, err := in.post(request, c.function.name)
	if errors.As(err, new(*url.Error)) && !errors.Is(err, errCutOff) {
		p.awaitEnd()
	}
	if err == nil && !answered {
		// The host completes an invocation only for an answer that is not null,
		// so this one stays open until functionTimeout.
		select {
		case <-limited.Done():
		case <-in.work.Done():
			err = context.Cause(in.work)
		}
	}
	if limited.Err() != nil {
		err = context.Cause(limited)
	}
	if errors.Is(err, errFunctionTimeout) {
		p.kill()
	}
	return err
}

// limit makes the context of one call to the handler. The end of the host does
// not cut a call: the process ends first, and an answer given before counts.
func (in *instance) limit() (context.Context, context.CancelFunc) {
	if in.config.timeout == 0 {
		return context.WithCancel(context.Background())
	}
	return withTimeout(context.Background(), in.host.clock, in.config.timeout, errFunctionTimeout)
}

// newRequest is the request of DefaultHttpWorkerService.ProcessDefaultInvocationRequest.
func newRequest(ctx context.Context, p *process, c *call) (*http.Request, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url(c.function.name), newBody(c.body))
	if err != nil {
		return nil, err
	}
	request.ContentLength = int64(len(c.body))
	request.GetBody = func() (io.ReadCloser, error) { return newBody(c.body), nil } // for a redirect
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "Azure-Functions-Host/"+hostVersion)
	setInvocation(request.Header)
	return request, nil
}

func setInvocation(header http.Header) {
	header.Set("X-Azure-Functions-InvocationId", uuid.NewString())
	header.Set("X-Azure-Functions-HostVersion", hostVersion)
}

// post sends the request and takes the answer in. It returns false without an
// error for an empty or null answer.
func (in *instance) post(request *http.Request, name string) (answered bool, err error) {
	response, err := in.host.client.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return false, fmt.Errorf("read the answer: %w", err)
	}
	result, err := readResult(response, answer)
	if err != nil {
		return false, err
	}
	if result == nil {
		return false, nil
	}
	for _, line := range result.Logs {
		in.log.Info(line, "function", name)
	}
	return true, nil
}

// result is HttpScriptInvocationResult.
type result struct {
	Outputs     map[string]any
	Logs        []string
	ReturnValue any
}

// readResult returns nil without an error for an empty or null answer.
func readResult(response *http.Response, answer []byte) (*result, error) {
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return nil, fmt.Errorf("response status code does not indicate success: %d", response.StatusCode)
	}
	if len(answer) == 0 {
		return nil, nil
	}
	contentType := response.Header.Get("Content-Type")
	mediaType, _, err := mime.ParseMediaType(contentType)
	if err != nil || (mediaType != "application/json" && mediaType != "text/json") {
		return nil, fmt.Errorf("no MediaTypeFormatter is available to read content with media type %q", contentType)
	}
	var r *result
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, fmt.Errorf("invalid HttpResponseMessage: %w", err)
	}
	return r, nil
}
