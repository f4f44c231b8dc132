package functionhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/google/uuid"
)

// hostVersion is what X-Azure-Functions-HostVersion and User-Agent say.
const hostVersion = "4.1037.0.0"

// errFunctionTimeout is the cause when an invocation exceeds functionTimeout.
var errFunctionTimeout = errors.New("timeout value exceeded by function")

// invoke sends one invocation to the instance's handler and returns nil when it
// succeeded. When it lasts longer than functionTimeout the process is killed
// and started again, with everything else that it was working on
// (WebScriptHostExceptionHandler.cs). ctx ends only when the host does.
func (in *instance) invoke(ctx context.Context, f *function, e envelope) error {
	body, err := e.encode()
	if err != nil {
		return fmt.Errorf("encode the envelope: %w", err)
	}
	p, err := in.handler(ctx)
	if err != nil {
		return fmt.Errorf("invoke %s: %w", f.name, err)
	}
	call, cancel := in.limit(ctx)
	defer cancel()
	answered, err := in.post(call, p, f.name, body)
	if err == nil && !answered {
		// The host completes an invocation only for an answer that is not null,
		// so this one stays open until functionTimeout.
		select {
		case <-call.Done():
		case <-ctx.Done():
			err = errStopped
		}
	}
	if call.Err() != nil {
		err = context.Cause(call)
	}
	if errors.Is(err, errFunctionTimeout) {
		p.kill()
	}
	if err != nil {
		return fmt.Errorf("invoke %s: %w", f.name, err)
	}
	return nil
}

// limit makes the context of one call to the handler. The end of the host does
// not cut a call: the process ends first, and an answer given before counts.
func (in *instance) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if in.config.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, in.config.timeout, errFunctionTimeout)
}

// post is DefaultHttpWorkerService.ProcessDefaultInvocationRequest. It returns
// false without an error for an empty or null answer.
func (in *instance) post(ctx context.Context, p *process, name string, body []byte) (answered bool, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url(name), bytes.NewReader(body))
	if err != nil {
		return false, err
	}
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	request.Header.Set("User-Agent", "Azure-Functions-Host/"+hostVersion)
	setInvocation(request.Header)
	response, err := in.client.Do(request)
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
		in.log.Info(line, "instance", in.index, "function", name)
	}
	return true, nil
}

func setInvocation(header http.Header) {
	header.Set("X-Azure-Functions-InvocationId", uuid.NewString())
	header.Set("X-Azure-Functions-HostVersion", hostVersion)
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
