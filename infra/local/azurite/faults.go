package azurite

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"mailferry/infra/local/faults"
)

// Faulty carries the blob service through a proxy whose points are blob.<METHOD>, with path and
// query as detail (a lease is "comp=lease"). Throttle is 503 ServerBusy, Answer its status with the storage
// error code that goes with it, and Expire says that a lease is no longer the caller's.
func (s *Server) Faulty(ctx context.Context, plan *faults.Plan) (*faults.HTTPProxy, error) {
	return faults.StartHTTPProxy(ctx, faults.HTTPProxyOptions{
		Name: "blob", Upstream: fmt.Sprintf("http://127.0.0.1:%d", s.blobPort), Plan: plan, Refuse: refuse,
	})
}

// refuse answers as Blob Storage does:
// https://learn.microsoft.com/rest/api/storageservices/status-and-error-codes2.
func refuse(w http.ResponseWriter, _ *http.Request, rule faults.Rule) {
	status, code := rule.Status, ""
	switch {
	case rule.Do == faults.Expire:
		status, code = http.StatusConflict, "LeaseIdMismatchWithLeaseOperation"
	case status == 0:
		status = http.StatusServiceUnavailable
	}
	switch status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		code = "ServerBusy"
	case http.StatusInternalServerError:
		code = "InternalError"
	case http.StatusGatewayTimeout:
		code = "OperationTimedOut"
	}
	if code != "" {
		w.Header().Set("x-ms-error-code", code)
	}
	if rule.After > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((rule.After+time.Second-1)/time.Second)))
	}
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0" encoding="utf-8"?><Error><Code>%s</Code><Message>on demand</Message></Error>`, code)
}
