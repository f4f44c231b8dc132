// Package graph is the Microsoft Graph face of the Exchange Online stand-in:
// users, mail folders and messages of version 1.0, with the paging, ids, draft
// rules, limits and errors of the Outlook service.
package graph

import (
	"cmp"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"mailferry/infra/local/exchange/store"
	"mailferry/infra/local/exchange/token"
)

const (
	// maxConcurrent requests per app and mailbox
	// (https://learn.microsoft.com/graph/throttling-limits, Outlook service).
	maxConcurrent = 4
	// maxRequest is the length of a request body
	// (microsoft-graph-docs-contrib issue 682).
	maxRequest = 4 << 20
)

// Options say what is served.
type Options struct {
	Store    *store.Store
	TenantID string
	// Check returns an error of package token unless the bearer token opens
	// Graph.
	Check  func(token string) error
	Logger *slog.Logger
	Now    func() time.Time
}

type face struct {
	o   Options
	mux *http.ServeMux

	mu      sync.Mutex
	running map[*store.Mailbox]int // requests
}

// New returns the handler of /v1.0/.
func New(o Options) http.Handler {
	f := &face{o: o, mux: http.NewServeMux(), running: map[*store.Mailbox]int{}}
	f.routes()
	return f
}

func (f *face) routes() {
	f.mux.HandleFunc("GET /v1.0/users", f.plain(f.listUsers))
	f.mux.HandleFunc("GET /v1.0/users/{user}", f.plain(f.getUser))
	const user, folder = "/v1.0/users/{user}", "/v1.0/users/{user}/mailFolders/{folder}"
	for pattern, h := range map[string]mailHandler{
		"GET " + user + "/settings/exchange": f.getExchangeSettings,
		"GET " + user + "/mailFolders":       f.listFolders,
		"POST " + user + "/mailFolders":      f.createFolder,
		"GET " + folder:                      f.getFolder,
		"PATCH " + folder:                    f.renameFolder,
		"DELETE " + folder:                   f.deleteFolder,
		"GET " + folder + "/childFolders":    f.listFolders,
		"POST " + folder + "/childFolders":   f.createFolder,
	} {
		f.mux.HandleFunc(pattern, f.mail(h))
	}
	for _, base := range []string{user, folder} {
		messages := base + "/messages"
		for pattern, h := range map[string]mailHandler{
			"GET " + messages:                  f.listMessages,
			"GET " + messages + "/$count":      f.countMessages,
			"POST " + messages:                 f.createMessage,
			"GET " + messages + "/{id}":        f.getMessage,
			"PATCH " + messages + "/{id}":      f.updateMessage,
			"DELETE " + messages + "/{id}":     f.deleteMessage,
			"POST " + messages + "/{id}/move":  f.moveMessage,
			"POST " + messages + "/{id}/copy":  f.moveMessage,
			"GET " + messages + "/{id}/$value": f.getMIME,
		} {
			f.mux.HandleFunc(pattern, f.mail(h))
		}
	}
	f.mux.HandleFunc("/", f.plain(func(_ http.ResponseWriter, r *http.Request) error {
		return badRequest("Resource not found for the segment '%s'.", r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
	}))
}

// ServeHTTP checks the token before anything else.
func (f *face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := newRequestID()
	w.Header().Set("request-id", id)
	w.Header().Set("client-request-id", cmp.Or(r.Header.Get("client-request-id"), id))
	w.Header().Set("Cache-Control", "private")
	if err := f.authorize(r); err != nil {
		f.fail(w, r, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
	f.mux.ServeHTTP(w, r)
}

func (f *face) authorize(r *http.Request) error {
	scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || raw == "" {
		return &refusal{401, "InvalidAuthenticationToken", "Access token is empty."}
	}
	err := f.o.Check(raw)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, token.ErrAudience):
		return &refusal{401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience."}
	case errors.Is(err, token.ErrExpired):
		return &refusal{401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired."}
	}
	return &refusal{401, "InvalidAuthenticationToken", "CompactToken parsing failed with error code: 80049217"}
}

func (f *face) plain(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := h(w, r); err != nil {
			f.fail(w, r, err)
		}
	}
}

// mailHandler serves a request for something in a mailbox.
type mailHandler func(w http.ResponseWriter, r *request) error

// request is an HTTP request with the mailbox it is for.
type request struct {
	*http.Request
	mailbox   *store.Mailbox
	immutable bool // ids were asked for that survive moves
	query     query
}

// mail finds the mailbox and keeps the number of requests to it within bounds.
func (f *face) mail(h mailHandler) http.HandlerFunc {
	return f.plain(func(w http.ResponseWriter, r *http.Request) error {
		m, ok := f.user(r.PathValue("user"))
		if !ok {
			return &refusal{404, "ErrorInvalidUser", "The requested user '" + r.PathValue("user") + "' is invalid."}
		}
		if !m.User().HasMailbox() {
			return errNoMailbox
		}
		if !f.enter(m) {
			return errThrottled
		}
		defer f.leave(m)
		q, err := parseQuery(r.URL)
		if err != nil {
			return err
		}
		req := &request{Request: r, mailbox: m, query: q}
		// https://learn.microsoft.com/graph/outlook-immutable-id
		for _, p := range r.Header.Values("Prefer") {
			if strings.Contains(strings.ToLower(p), `idtype="immutableid"`) {
				req.immutable = true
				w.Header().Set("Preference-Applied", `IdType="ImmutableId"`)
			}
		}
		return h(w, req)
	})
}

func (f *face) enter(m *store.Mailbox) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[m] >= maxConcurrent {
		return false
	}
	f.running[m]++
	return true
}

func (f *face) leave(m *store.Mailbox) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[m]--; f.running[m] == 0 {
		delete(f.running, m)
	}
}
