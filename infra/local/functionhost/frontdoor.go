package functionhost

import (
	"context"
	"crypto/subtle"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// responseLimit is how long an HTTP function may take to answer on any plan.
//
// https://learn.microsoft.com/azure/azure-functions/functions-scale#timeout
const responseLimit = 230 * time.Second

// errResponseLimit is the cause when a request exceeds responseLimit.
var errResponseLimit = errors.New("the function did not answer within 230 s")

// frontDoor is the HTTP face of the host.
type frontDoor struct {
	host   *Host
	routes []*route
}

// frontDoor expects functions that were checked, so that every route is valid.
func (h *Host) frontDoor() *frontDoor {
	d := &frontDoor{host: h}
	for _, f := range h.functions {
		if f.trigger.is("httpTrigger") {
			if r, err := newRoute(f, h.config.routePrefix); err == nil {
				d.routes = append(d.routes, r)
			}
		}
	}
	sortRoutes(d.routes)
	return d
}

// ServeHTTP passes a request on to a handler process and its answer back, both
// as they are. A request that no function.json fits is 404, also for its method;
// without a key it is 401.
func (d *frontDoor) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	r := d.find(request)
	if r == nil {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if !d.authorized(r.level, request) {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	d.serveWithFaults(w, request)
}

// forward passes the request on. After 230 s the client gets an answer without
// the handler; after functionTimeout, if that is shorter, the process is killed.
func (d *frontDoor) forward(w http.ResponseWriter, request *http.Request) {
	in := d.host.pick()
	if in == nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	limit, reason := responseLimit, errResponseLimit
	if timeout := d.host.config.timeout; timeout > 0 && timeout < limit {
		limit, reason = timeout, errFunctionTimeout
	}
	ctx, cancel := withTimeout(request.Context(), d.host.clock, limit, reason)
	defer cancel()
	request = request.WithContext(ctx)
	p, err := in.handler(ctx)
	if err != nil {
		d.fail(w, request, err)
		return
	}
	defer context.AfterFunc(ctx, func() {
		if context.Cause(ctx) == errFunctionTimeout {
			p.kill()
		}
	})()
	d.proxy(p).ServeHTTP(w, request)
}

func (d *frontDoor) find(request *http.Request) *route {
	path := split(request.URL.EscapedPath())
	for i := range path {
		if unescaped, err := url.PathUnescape(path[i]); err == nil {
			path[i] = unescaped
		}
	}
	for _, r := range d.routes {
		if r.matches(request.Method, path) {
			return r
		}
	}
	return nil
}

// authorized looks at the header x-functions-key and the query's code.
func (d *frontDoor) authorized(level string, request *http.Request) bool {
	if level == "anonymous" {
		return true
	}
	key := request.Header.Get("x-functions-key")
	if key == "" {
		key = request.URL.Query().Get("code")
	}
	same := func(valid string) bool {
		return valid != "" && subtle.ConstantTimeCompare([]byte(key), []byte(valid)) == 1
	}
	return same(d.host.masterKey) || level == "function" && same(d.host.settings["FunctionKey"])
}

// proxy is the host's YARP forwarder: method, path, query, headers (Host too)
// and body go on unchanged, and both bodies are streamed.
func (d *frontDoor) proxy(p *process) *httputil.ReverseProxy {
	target, _ := url.Parse(p.url("")) // a number as port always parses
	return &httputil.ReverseProxy{
		Transport:     d.host.client.Transport,
		FlushInterval: -1,
		ErrorHandler:  d.fail,
		ErrorLog:      slog.NewLogLogger(d.host.log.Handler(), slog.LevelWarn),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.URL.RawQuery = r.In.URL.RawQuery
			setInvocation(r.Out.Header)
			if client, _, err := net.SplitHostPort(r.In.RemoteAddr); err == nil {
				r.Out.Header.Set("X-Forwarded-For", client)
			}
			r.Out.Header.Set("X-Forwarded-Proto", "http")
		},
	}
}

// fail answers 504 after the limit and 502 when the process is gone.
func (d *frontDoor) fail(w http.ResponseWriter, request *http.Request, err error) {
	cause := context.Cause(request.Context())
	late := cause == errResponseLimit || cause == errFunctionTimeout
	if request.Context().Err() != nil && !late {
		return // the client has gone
	}
	d.host.log.Error("HTTP invocation failed", "error", errors.Join(err, cause))
	if late {
		w.WriteHeader(http.StatusGatewayTimeout)
		return
	}
	w.WriteHeader(http.StatusBadGateway)
}
