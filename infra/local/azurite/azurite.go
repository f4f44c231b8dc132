// Package azurite runs Azurite, Microsoft's emulator of Azure Storage, as a child process.
//
// The version is pinned in package.json and package-lock.json beside this file and installed by
// "npm ci" on first use.
package azurite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"

	"mailferry/infra/local/needs"
	"mailferry/infra/local/ports"
)

// The account that every Azurite has. Its key is no secret:
// https://learn.microsoft.com/azure/storage/common/storage-use-azurite (well-known storage account).
const (
	account = "devstoreaccount1"
	key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

const (
	startTimeout = 3 * time.Minute  // node takes about a second where nothing else runs
	stopTimeout  = 10 * time.Second // from SIGTERM to SIGKILL
	portTries    = 3                // a free port may be taken before Azurite has it
)

// Options says how Azurite runs. The zero value keeps everything in memory and logs nothing.
type Options struct {
	Dir    string       // where the data lives and is found again; "" keeps it in memory
	Logger *slog.Logger // nil discards
}

// Server is a running Azurite with a blob and a queue service on ports of its own.
type Server struct {
	blobPort, queuePort int
	keep                bool // there is data to write before the end
	process             *exec.Cmd
	output              *tail
	ended               chan struct{} // closed when the process is gone
	logger              *slog.Logger

	once     sync.Once
	closeErr error
}

// Start installs Azurite when that has not been done yet, starts it and waits until it answers. ctx
// bounds the start only. The server ends with Close, or with this process (on Linux).
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	home, err := folder()
	if err != nil {
		return nil, err
	}
	if err := needs.NPM(ctx, home); err != nil {
		return nil, fmt.Errorf("install azurite: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for try := 1; ; try++ {
		s, err := start(ctx, home, o)
		if err == nil || try == portTries || ctx.Err() != nil {
			return s, err
		}
		o.Logger.Warn("azurite did not start", "try", try, "error", err)
	}
}

// start makes one try.
func start(ctx context.Context, home string, o Options) (*Server, error) {
	free, err := ports.Free(3)
	if err != nil {
		return nil, err
	}
	// --skipApiVersionCheck: azblob 1.8 sends a newer service version than Azurite 3.37 knows, which
	// would answer every request with InvalidHeaderValue.
	arguments := []string{
		filepath.Join(home, "node_modules", "azurite", "dist", "src", "azurite.js"),
		"--skipApiVersionCheck", "--disableTelemetry", "--silent",
		"--blobPort", strconv.Itoa(free[0]), "--queuePort", strconv.Itoa(free[1]), "--tablePort", strconv.Itoa(free[2]),
	}
	if o.Dir == "" {
		arguments = append(arguments, "--inMemoryPersistence")
	} else {
		arguments = append(arguments, "--location", o.Dir)
	}
	s := &Server{
		blobPort: free[0], queuePort: free[1], keep: o.Dir != "",
		output: &tail{}, ended: make(chan struct{}), logger: o.Logger,
		process: exec.Command("node", arguments...),
	}
	s.process.Dir = home
	s.process.Stdout, s.process.Stderr = s.output, s.output
	s.process.SysProcAttr = sysProcAttr()
	if err := s.process.Start(); err != nil {
		return nil, fmt.Errorf("start azurite: %w", err)
	}
	go func() {
		defer close(s.ended)
		_ = s.process.Wait() // how it ended stands in ProcessState
	}()
	if err := s.ready(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	o.Logger.Info("azurite is up", "blob", s.BlobURL(), "pid", s.process.Process.Pid)
	return s, nil
}

// ready waits until both services answer, whatever they say.
func (s *Server) ready(ctx context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for _, url := range []string{s.BlobURL(), s.QueueURL()} {
		for !answers(ctx, client, url) {
			select {
			case <-tick.C:
			case <-s.ended:
				return fmt.Errorf("start azurite: %s: %s", s.process.ProcessState, s.output)
			case <-ctx.Done():
				return fmt.Errorf("wait for azurite: %w: %s", context.Cause(ctx), s.output)
			}
		}
	}
	return nil
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return true
}

// BlobURL is the URL of the blob service, without a slash at its end.
func (s *Server) BlobURL() string { return serviceURL(s.blobPort) }

// QueueURL is the URL of the queue service, without a slash at its end.
func (s *Server) QueueURL() string { return serviceURL(s.queuePort) }

// ConnectionString is what the Azure SDKs and the Functions host connect with.
func (s *Server) ConnectionString() string { return s.connectionString(s.BlobURL()) }

// ConnectionStringThrough is ConnectionString with the blob service reached through a proxy of that
// base URL, which keeps paths as they are.
func (s *Server) ConnectionStringThrough(proxy string) string {
	return s.connectionString(proxy + "/" + account)
}

func (s *Server) connectionString(blob string) string {
	return "DefaultEndpointsProtocol=http;AccountName=" + account + ";AccountKey=" + key +
		";BlobEndpoint=" + blob + ";QueueEndpoint=" + s.QueueURL() + ";"
}

// Close ends Azurite and waits until it is gone. Data that is kept in a folder is written first.
// Closing again gives the same answer.
func (s *Server) Close() error {
	s.once.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Server) close() error {
	if s.keep {
		if err := s.signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-s.ended:
			return nil
		case <-time.After(stopTimeout):
			s.logger.Warn("azurite does not end; it is killed")
		}
	}
	err := s.signal(syscall.SIGKILL)
	<-s.ended
	return err
}

// signal reaches the whole process group; one that is gone already is no error.
func (s *Server) signal(signal syscall.Signal) error {
	err := syscall.Kill(-s.process.Process.Pid, signal)
	if err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("stop azurite: %w", err)
	}
	return nil
}

func serviceURL(port int) string { return fmt.Sprintf("http://127.0.0.1:%d/%s", port, account) }

// folder is where this file, and so package.json, lies.
func folder() (string, error) {
	_, file, _, ok := runtime.Caller(0)
	if !ok || !filepath.IsAbs(file) {
		return "", errors.New("find azurite's folder: built with -trimpath, run it from source")
	}
	return filepath.Dir(file), nil
}

// tail keeps the last that Azurite said, for an error.
type tail struct {
	mu   sync.Mutex
	data []byte
}

const tailLength = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	t.data = t.data[max(0, len(t.data)-tailLength):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(bytes.TrimSpace(t.data))
}
