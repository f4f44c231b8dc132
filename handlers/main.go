// Command handler is the custom handler of the Functions app: it decodes what the host sends, calls,
// and encodes the answer. Decisions are made elsewhere.
//
// https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"mailferry/shared/settings"
)

// exitTerminated is what a process ended by SIGTERM gives: 128 + 15. The host restarts a handler
// that leaves with anything but 0.
const exitTerminated = 143

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stdout, nil)) // stderr would be level Error in the host's log
	if err := run(log); err != nil {
		log.Error("handler ends", "cause", err.Error())
		os.Exit(1)
	}
	os.Exit(exitTerminated)
}

// run serves until SIGTERM. The port is bound before anything slow: the host takes any answer for
// readiness and only a refused connection for "not yet".
func run(log *slog.Logger) error {
	s, err := settings.Read(os.Getenv)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		return fmt.Errorf("bind the handler's port: %w", err)
	}
	soft, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	app := newApp(soft, log)
	server := &http.Server{Handler: app.routes(), ReadHeaderTimeout: 30 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := app.wire(s); err != nil {
		return fmt.Errorf("set up: %w", err)
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-soft.Done():
	}
	log.Info("stopping: runs finish their window and write their checkpoint")
	err = server.Shutdown(context.Background())
	if served := <-served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	app.close()
	return err
}
