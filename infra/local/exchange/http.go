package exchange

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"mailferry/infra/local/exchange/graph"
	"mailferry/infra/local/exchange/strike"
	"mailferry/infra/local/exchange/token"
)

// startHTTP serves Graph and the token endpoint from one listener, and the host
// that takes large attachments from another.
func (s *Server) startHTTP(ctx context.Context, o Options, a *token.Authority, t *tls.Config) error {
	config := new(net.ListenConfig)
	var err error
	if s.graph, err = config.Listen(ctx, "tcp", o.GraphAddr); err != nil {
		return fmt.Errorf("listen for Graph: %w", err)
	}
	if s.uploads, err = config.Listen(ctx, "tcp", o.UploadAddr); err != nil {
		return errors.Join(fmt.Errorf("listen for uploads: %w", err), s.graph.Close())
	}
	_, port, err := net.SplitHostPort(s.uploads.Addr().String())
	if err != nil {
		return fmt.Errorf("read address of the upload host: %w", err)
	}
	face := graph.New(graph.Options{
		Store: s.store, TenantID: o.TenantID, Logger: o.Logger, Now: o.Now, Limits: o.Graph,
		UploadURL: "https://localhost:" + port, UnverifiedDomains: o.UnverifiedDomains, Expire: a.Expire,
		Check: func(raw string) (token.Claims, error) { return a.Check(raw, token.Graph) },
	})
	s.serve(s.graph, t, o, s.onePort(o, face, a))
	s.serve(s.uploads, t, o, s.struck(strike.Options{
		Plan: o.Faults, At: face.UploadPoint, Refuse: face.Refuse, Next: http.HandlerFunc(face.ServeUpload),
	}))
	return nil
}

// onePort serves Graph below /v1.0/ and the token endpoint beside it.
func (s *Server) onePort(o Options, face *graph.Face, a *token.Authority) http.Handler {
	login := http.NewServeMux()
	a.Register(login)
	toGraph := s.struck(strike.Options{Plan: o.Faults, At: face.Point, Refuse: face.Refuse, Next: face})
	toLogin := s.struck(strike.Options{
		Plan: o.Faults, Refuse: a.Refuse, Next: login,
		At: func(r *http.Request) (string, string) { return "token." + r.Method, r.URL.Path },
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/v1.0/") {
			toGraph.ServeHTTP(w, r)
		} else {
			toLogin.ServeHTTP(w, r)
		}
	})
}

// struck makes a handler of which Close knows.
func (s *Server) struck(o strike.Options) *strike.Handler {
	h := strike.New(o)
	s.late = append(s.late, h)
	return h
}

func (s *Server) serve(ln net.Listener, t *tls.Config, o Options, h http.Handler) {
	server := &http.Server{
		Handler: h, TLSConfig: t.Clone(), // the server changes it
		ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	s.http = append(s.http, server)
	s.serving.Go(func() {
		if err := server.ServeTLS(ln, "", ""); !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error("serve HTTP", "error", err)
		}
	})
}
