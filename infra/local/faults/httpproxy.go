package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// HTTPProxyOptions say what an HTTPProxy carries.
type HTTPProxyOptions struct {
	Name     string // the first half of its points
	Upstream string // base URL, such as "http://127.0.0.1:10000"
	Plan     *Plan
	// Refuse answers Throttle, Answer and Expire; nil is the bare status (503 for none) with Retry-After.
	Refuse func(w http.ResponseWriter, r *http.Request, rule Rule)
}

// HTTPProxy carries HTTP requests to a part that knows no plan, such as a storage emulator. Its points
// are NAME.<METHOD>, with "path?query" as detail, the path decoded: Delay, AnswerLate, LoseAnswer, WorkLate, Cut,
// Throttle, Answer, Expire. Requests keep path, query, headers and body, so that signatures stay valid.
type HTTPProxy struct {
	o        HTTPProxyOptions
	listener net.Listener
	server   *http.Server
	forward  *httputil.ReverseProxy
	ctx      context.Context
	stop     context.CancelFunc
	work     sync.WaitGroup
}

// StartHTTPProxy listens and serves until Close is called.
func StartHTTPProxy(ctx context.Context, o HTTPProxyOptions) (*HTTPProxy, error) {
	upstream, err := url.Parse(o.Upstream)
	if err != nil {
		return nil, fmt.Errorf("start the %s proxy: %w", o.Name, err)
	}
	p := &HTTPProxy{o: o}
	if p.listener, err = new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("listen for the %s proxy: %w", o.Name, err)
	}
	p.ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	p.forward = &httputil.ReverseProxy{
		Rewrite:      func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = upstream.Scheme, upstream.Host },
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		Transport:    &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
	}
	p.server = &http.Server{Handler: http.HandlerFunc(p.serve), ReadHeaderTimeout: time.Minute}
	p.work.Go(func() { _ = p.server.Serve(p.listener) })
	return p, nil
}

// URL is the base URL clients use.
func (p *HTTPProxy) URL() string { return "http://" + p.listener.Addr().String() }

// Close cuts everything. Work that was put off by WorkLate is not done any more.
func (p *HTTPProxy) Close() error {
	p.stop()
	err := p.server.Close()
	p.work.Wait()
	p.forward.Transport.(*http.Transport).CloseIdleConnections()
	return err
}

// serve does what a rule says, or forwards. Panicking with http.ErrAbortHandler is net/http's way to
// cut a connection in the middle of an exchange.
func (p *HTTPProxy) serve(w http.ResponseWriter, r *http.Request) {
	rule := p.o.Plan.At(p.o.Name+"."+r.Method, r.URL.Path+"?"+r.URL.RawQuery)
	if rule == nil {
		p.forward.ServeHTTP(w, r)
		return
	}
	switch rule.Do {
	case Delay:
		if Pause(r.Context(), rule.After) != nil {
			panic(http.ErrAbortHandler)
		}
	case AnswerLate:
		p.answerLate(w, r, rule.After)
		return
	case LoseAnswer:
		p.forward.ServeHTTP(newRecorder(), r)
		panic(http.ErrAbortHandler)
	case WorkLate:
		p.workLate(r, rule.After)
		panic(http.ErrAbortHandler)
	case Cut:
		panic(http.ErrAbortHandler)
	case Throttle, Answer, Expire:
		p.refuse(w, r, *rule)
		return
	}
	p.forward.ServeHTTP(w, r)
}

func (p *HTTPProxy) answerLate(w http.ResponseWriter, r *http.Request, after time.Duration) {
	answer := newRecorder()
	p.forward.ServeHTTP(answer, r)
	if Pause(r.Context(), after) != nil {
		panic(http.ErrAbortHandler)
	}
	for name, values := range answer.header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.status)
	_, _ = w.Write(answer.body.Bytes())
}

// workLate takes the request whole and has it done later.
func (p *HTTPProxy) workLate(r *http.Request, after time.Duration) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	late := r.Clone(p.ctx)
	late.Body = io.NopCloser(bytes.NewReader(body))
	p.work.Go(func() {
		if Pause(p.ctx, after) == nil {
			defer func() { _ = recover() }() // an upstream that is gone by then, see ErrorHandler
			p.forward.ServeHTTP(newRecorder(), late)
		}
	})
}

// refuse reads the request first, as services do with small ones: an answer that comes while a body is
// still being sent is a fault of its own.
func (p *HTTPProxy) refuse(w http.ResponseWriter, r *http.Request, rule Rule) {
	_, _ = io.Copy(io.Discard, r.Body) // a client that breaks off gets no answer
	if p.o.Refuse != nil {
		p.o.Refuse(w, r, rule)
		return
	}
	if rule.After > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((rule.After+time.Second-1)/time.Second)))
	}
	status := rule.Status
	if status == 0 {
		status = http.StatusServiceUnavailable
	}
	w.WriteHeader(status)
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
	if status >= 200 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
