package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"mailferry/shared/intake"
	"mailferry/shared/migrate"
)

// trusting is a transport that trusts the given authorities.
func trusting(roots *x509.CertPool) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t
}

// routes maps functions (by folder name) and proxied HTTP routes (by their address) to methods.
func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, answer{}) })
	mux.HandleFunc("POST /intake", a.triggered(a.onIntake))
	mux.HandleFunc("POST /run", a.triggered(a.onRun))
	mux.HandleFunc("POST /deadletter", a.triggered(a.onDeadLetter))
	mux.HandleFunc("POST /tick", a.triggered(a.onTick))
	mux.HandleFunc("POST /api/batches/{endpoint}/{batch}/complete", a.asked(a.onComplete))
	mux.HandleFunc("POST /api/batches/{endpoint}/{batch}/start", a.asked(a.onStart))
	mux.HandleFunc("POST /api/batches/{endpoint}/{batch}/preflight", a.asked(a.onPreflight))
	mux.HandleFunc("GET /api/batches", a.asked(a.onBatches))
	mux.HandleFunc("GET /api/batches/{endpoint}", a.asked(a.onBatches))
	mux.HandleFunc("GET /api/batches/{endpoint}/{batch}", a.asked(a.onBatch))
	return mux
}

// triggered serves a function that gets an envelope. An error is logged here, once, and fails the
// invocation, so that the host offers it again. The work doesn't depend on the request's context:
// the host's own time-outs do not reach it, and a run ends by its budget.
func (a *app) triggered(f func(context.Context, envelope) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := guard(func() error {
			e, err := readEnvelope(r)
			if err != nil {
				return err
			}
			if err := a.wait(r.Context()); err != nil {
				return err
			}
			return f(context.WithoutCancel(r.Context()), e)
		})
		if err != nil {
			a.log.Error("invocation failed", "function", strings.TrimPrefix(r.URL.Path, "/"), "invocation", r.Header.Get("X-Azure-Functions-InvocationId"), "cause", err.Error())
			writeJSON(w, http.StatusInternalServerError, answer{})
			return
		}
		writeJSON(w, http.StatusOK, answer{})
	}
}

// guard turns a panic into an error: one mailbox's bug must not end the others' runs.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return f()
}

func (a *app) wait(ctx context.Context) error {
	select {
	case <-a.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *app) onIntake(ctx context.Context, e envelope) error {
	endpoint, err := e.text("endpoint")
	if err != nil {
		return err
	}
	name, err := e.text("name")
	if err != nil {
		return err
	}
	if strings.Contains(endpoint+name, "/") {
		a.log.Warn("file ignored: not directly in an endpoint's folder")
		return nil
	}
	report, err := a.intake.Accept(ctx, endpoint, name)
	if err != nil {
		return err
	}
	a.log.Info("batch taken in", "endpoint", endpoint, "batch", name, "accepted", report.Accepted, "new", report.New, "problems", len(report.Problems), "refused", report.Refused)
	return nil
}

func (a *app) onRun(ctx context.Context, e envelope) error {
	w, err := wakeUp(e)
	if err != nil {
		return err
	}
	return a.runner.Run(ctx, a.soft, w)
}

func (a *app) onDeadLetter(ctx context.Context, e envelope) error {
	w, err := wakeUp(e)
	if migrate.KindOf(err) == migrate.Corrupt {
		a.log.Warn("dead letter dropped: it is no wake-up", "cause", err.Error())
		return nil
	}
	if err != nil {
		return err
	}
	return a.planner.DeadLetter(ctx, w)
}

func wakeUp(e envelope) (migrate.WakeUp, error) {
	body, err := e.octets("wakeup")
	if err != nil {
		return migrate.WakeUp{}, err
	}
	return migrate.ParseWakeUp(body)
}

func (a *app) onTick(ctx context.Context, _ envelope) error { return a.planner.Tick(ctx) }

// problem is an HTTP error's body (RFC 9457).
type problem struct {
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
}

// asked serves a proxied HTTP request.
func (a *app) asked(f func(w http.ResponseWriter, r *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := guard(func() error {
			if err := a.wait(r.Context()); err != nil {
				return err
			}
			return f(w, r)
		})
		switch {
		case err == nil:
		case errors.Is(err, migrate.ErrNotFound):
			writeJSON(w, http.StatusNotFound, problem{Title: "No such batch", Status: 404, Detail: "No mailbox is in it. /api/batches lists all batches, and the status of one shows what became of its CSV."})
		case migrate.KindOf(err) == migrate.Configuration:
			writeJSON(w, http.StatusConflict, problem{Title: "Not as the endpoint and the batch are", Status: 409, Detail: detail(err)})
		default:
			a.log.Error("request failed", "path", r.URL.Path, "cause", err.Error())
			writeJSON(w, http.StatusInternalServerError, problem{Title: "Internal error", Status: 500})
		}
	}
}

// detail is an error's text, with what can be done.
func detail(err error) string {
	var e *migrate.Error
	if errors.As(err, &e) && e.Advice != "" {
		return err.Error() + ". " + e.Advice
	}
	return err.Error()
}

// batchAddress reads and checks the address of a batch.
func batchAddress(r *http.Request) (endpoint, batch string, err error) {
	endpoint, batch = r.PathValue("endpoint"), r.PathValue("batch")
	if !migrate.ValidEndpointName(endpoint) || !intake.ValidBatchName(batch) {
		return "", "", migrate.ErrNotFound
	}
	return endpoint, batch, nil
}

func (a *app) onComplete(w http.ResponseWriter, r *http.Request) error {
	return a.order(w, r, "complete", migrate.OrderComplete)
}

func (a *app) onStart(w http.ResponseWriter, r *http.Request) error {
	return a.order(w, r, "start", migrate.OrderStart)
}

func (a *app) onPreflight(w http.ResponseWriter, r *http.Request) error {
	return a.order(w, r, "preflight", func(ctx context.Context, s migrate.Store, endpoint, batch string) error {
		return migrate.OrderPreflight(ctx, a.drop, s, endpoint, batch)
	})
}

// order gives a batch an order, which is carried out behind the answer.
func (a *app) order(w http.ResponseWriter, r *http.Request, name string, give func(ctx context.Context, s migrate.Store, endpoint, batch string) error) error {
	endpoint, batch, err := batchAddress(r)
	if err != nil {
		return err
	}
	if err := migrate.HasBatch(r.Context(), a.store, endpoint, batch); err != nil {
		return err
	}
	if err := give(r.Context(), a.store, endpoint, batch); err != nil {
		return err
	}
	w.Header().Set("Location", location(r, endpoint, batch))
	w.Header().Set("Retry-After", "20")
	writeJSON(w, http.StatusAccepted, map[string]string{"endpoint": endpoint, "batch": batch, "order": name})
	return nil
}

// location is where the status of a batch stands. A Logic App polls it while it answers 202.
func location(r *http.Request, endpoint, batch string) string {
	scheme := r.Header.Get("X-Forwarded-Proto")
	if scheme == "" {
		scheme = "http"
	}
	return fmt.Sprintf("%s://%s/api/batches/%s/%s", scheme, r.Host, endpoint, batch)
}

func (a *app) onBatches(w http.ResponseWriter, r *http.Request) error {
	names := []string{r.PathValue("endpoint")}
	if names[0] == "" {
		var err error
		if names, err = migrate.Endpoints(r.Context(), a.store); err != nil {
			return err
		}
	}
	list := []*migrate.BatchStatus{}
	for _, name := range names {
		if !migrate.ValidEndpointName(name) {
			return migrate.ErrNotFound
		}
		some, err := migrate.Batches(r.Context(), a.store, name)
		if err == nil && len(some) > 0 {
			err = migrate.NoteEndpoint(r.Context(), a.drop, name, some...)
		}
		if err != nil {
			return err
		}
		list = append(list, some...)
	}
	writeJSON(w, http.StatusOK, list)
	return nil
}

func (a *app) onBatch(w http.ResponseWriter, r *http.Request) error {
	endpoint, batch, err := batchAddress(r)
	if err != nil {
		return err
	}
	b, err := intake.BatchStatus(r.Context(), a.store, endpoint, batch)
	if err == nil {
		err = migrate.NoteEndpoint(r.Context(), a.drop, endpoint, b.BatchStatus)
	}
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, b)
	return nil
}
