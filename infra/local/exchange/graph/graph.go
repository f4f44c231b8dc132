// Package graph is the Microsoft Graph face of the Exchange Online stand-in.
package graph

import (
	"log/slog"
	"net/http"
	"time"

	"mailferry/infra/local/exchange/store"
)

// Options say what is served.
type Options struct {
	Store    *store.Store
	TenantID string
	Check    func(token string) error // whether a bearer token opens Graph
	Logger   *slog.Logger
	Now      func() time.Time
}

// New returns the handler of /v1.0/.
func New(o Options) http.Handler { return http.NotFoundHandler() }
