package exchange

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	auth "github.com/microsoft/kiota-authentication-azure-go"
	khttp "github.com/microsoft/kiota-http-go"
	msgraph "github.com/microsoftgraph/msgraph-sdk-go"
	graphcore "github.com/microsoftgraph/msgraph-sdk-go-core"
)

// newTransport is HTTP with progress deadlines on its connections.
func newTransport(o Options) *http.Transport {
	dialer := &net.Dialer{Timeout: o.Stall}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &progressConn{Conn: conn, stall: o.Stall}, nil
		},
		TLSClientConfig:     &tls.Config{RootCAs: o.RootCAs, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost: graphConcurrency,
		IdleConnTimeout:     o.Stall / 2, // before the progress deadline ends them
	}
}

// newAdapter puts the SDK's pipeline together by hand. The default one takes its middlewares out of
// a map, so that a retried request may go out labelled gzip but not compressed
// (microsoft/kiota-http-go issues 130 and 183); here is no compression, and the order is fixed.
func newAdapter(o Options, host string, transport http.RoundTripper) (*msgraph.GraphRequestAdapter, error) {
	provider, err := auth.NewAzureIdentityAuthenticationProviderWithScopesAndValidHosts(
		namedCredential{o.Graph}, []string{graphScope}, []string{host})
	if err != nil {
		return nil, err
	}
	options := msgraph.GetDefaultClientOptions()
	client := &http.Client{
		Transport: khttp.NewCustomTransportWithParentTransport(transport,
			failures{},
			retries{},
			graphcore.NewGraphTelemetryHandler(&options),
			khttp.NewParametersNameDecodingHandler(),
		),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	adapter, err := msgraph.NewGraphRequestAdapterWithParseNodeFactoryAndSerializationWriterFactoryAndHttpClient(
		provider, nil, nil, client)
	if err != nil {
		return nil, err
	}
	adapter.SetBaseUrl(o.GraphURL)
	return adapter, nil
}

// failures turns each failed answer into a *graphError and asks for ids that survive moves. The SDK's
// own error type panics when the body holds no message, and loses the status when the body is no
// JSON, as gateways answer 503 and 504.
type failures struct{}

var _ khttp.Middleware = failures{}

func (failures) Intercept(pipeline khttp.Pipeline, index int, req *http.Request) (*http.Response, error) {
	// https://learn.microsoft.com/graph/outlook-immutable-id: on every request.
	req.Header.Set("Prefer", `IdType="ImmutableId"`)
	resp, err := pipeline.Next(req, index)
	if err != nil || resp.StatusCode < 400 {
		return resp, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	if err != nil {
		body = nil // the status says enough
	}
	return nil, newGraphError(resp, body, time.Now())
}

// Retries within a call: few and short. Longer waits are the caller's to plan.
const (
	maxRetries    = 3
	maxRetryDelay = 5 * time.Second
)

// retries sends a request again that was pushed back for a few seconds. The SDK's own handler
// sleeps for minutes and leaves the bodies of failed answers open.
type retries struct{}

var _ khttp.Middleware = retries{}

func (retries) Intercept(pipeline khttp.Pipeline, index int, req *http.Request) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		resp, err := pipeline.Next(req, index)
		if err != nil || attempt > maxRetries || !pushedBack(resp.StatusCode) {
			return resp, err
		}
		delay, said := retryAfter(resp.Header.Get("Retry-After"), time.Now())
		if !said {
			delay = time.Duration(attempt) * time.Second
		}
		if delay > maxRetryDelay || !rewind(req) {
			return resp, nil
		}
		io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBody))
		resp.Body.Close()
		if err := wait(req.Context(), delay); err != nil {
			return nil, err
		}
		req.Header.Set("Retry-Attempt", strconv.Itoa(attempt))
	}
}

func pushedBack(status int) bool {
	return status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable ||
		status == http.StatusGatewayTimeout
}

// rewind makes the body readable again and reports whether that was possible.
func rewind(req *http.Request) bool {
	if req.Body == nil {
		return true
	}
	s, ok := req.Body.(io.Seeker)
	if !ok {
		return false
	}
	_, err := s.Seek(0, io.SeekStart)
	return err == nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// retryAfter reads both forms of the header (RFC 9110 section 10.2.3).
func retryAfter(value string, now time.Time) (time.Duration, bool) {
	if value == "" {
		return 0, false
	}
	if s, err := strconv.Atoi(value); err == nil {
		return min(max(time.Duration(s), 0), maxBackoffSeconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), maxBackoffSeconds*time.Second), true
	}
	return 0, false
}

// raw reads a resource that the SDK has no builder for, below the user.
func (x *Exchange) raw(ctx context.Context, template string, parameters map[string]string) ([]byte, error) {
	info := abstractions.NewRequestInformationWithMethodAndUrlTemplateAndPathParameters(
		abstractions.GET, template, parameters)
	info.Headers.TryAdd("Accept", "application/json")
	body, err := x.adapter.SendPrimitive(ctx, info, "[]byte", nil)
	if err != nil {
		return nil, err
	}
	octets, _ := body.([]byte)
	return octets, nil
}
