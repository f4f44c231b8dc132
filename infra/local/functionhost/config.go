package functionhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// config is what host.json says, with the host's defaults filled in.
type config struct {
	executable  string // absolute, or a name found on PATH
	arguments   []string
	directory   string        // the handler's working directory
	readyWithin time.Duration // customHandler.initializationTimeout
	timeout     time.Duration // functionTimeout; 0 is none
	proxyHTTP   bool          // customHandler.enableProxyingHttpRequest
	bundled     bool          // there is an extensionBundle
	routePrefix string        // extensions.http.routePrefix
	queues      queueConfig
	blobs       blobConfig
}

// queueConfig is extensions.serviceBus (ServiceBusOptions in azure-sdk-for-net).
type queueConfig struct {
	concurrency  int           // maxConcurrentCalls, per function and instance
	prefetch     int           // prefetchCount
	autoComplete bool          // autoCompleteMessages
	renewFor     time.Duration // maxAutoLockRenewalDuration; negative is forever
}

// blobConfig is extensions.blobs.
type blobConfig struct {
	concurrency int // maxDegreeOfParallelism
	tries       int // poisonBlobThreshold
}

// hostFile is host.json. Keys are matched without regard to case, as the real
// host's configuration does.
type hostFile struct {
	Version         string
	FunctionTimeout *timeSpan
	Retry           json.RawMessage
	ExtensionBundle struct{ ID, Version string }
	CustomHandler   *struct {
		Description struct {
			DefaultExecutablePath string
			WorkingDirectory      string
			Arguments             []string
		}
		EnableForwardingHTTPRequest bool
		EnableProxyingHTTPRequest   bool
		InitializationTimeout       *timeSpan
		HTTP                        struct{ Routes []json.RawMessage }
	}
	Extensions struct {
		HTTP       struct{ RoutePrefix *string }
		ServiceBus struct {
			MaxConcurrentCalls         *int
			PrefetchCount              int
			AutoCompleteMessages       *bool
			MaxAutoLockRenewalDuration *timeSpan
		}
		Blobs struct {
			MaxDegreeOfParallelism *int
			PoisonBlobThreshold    *int
		}
	}
}

// readConfig reads host.json in root.
func readConfig(root string, s settings) (*config, error) {
	data, err := os.ReadFile(filepath.Join(root, "host.json"))
	if err != nil {
		return nil, fmt.Errorf("read host.json: %w", err)
	}
	var file hostFile
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("read host.json: %w", err)
	}
	if err := file.check(); err != nil {
		return nil, fmt.Errorf("read host.json: %w", err)
	}
	handler := file.CustomHandler
	c := &config{
		directory:   absolute(root, handler.Description.WorkingDirectory),
		readyWithin: span(handler.InitializationTimeout, 30*time.Second),
		timeout:     max(span(file.FunctionTimeout, 30*time.Minute), 0),
		proxyHTTP:   handler.EnableProxyingHTTPRequest,
		bundled:     file.ExtensionBundle.ID != "" && file.ExtensionBundle.Version != "",
		routePrefix: or(file.Extensions.HTTP.RoutePrefix, "api"),
		queues: queueConfig{
			concurrency:  or(file.Extensions.ServiceBus.MaxConcurrentCalls, 16*runtime.NumCPU()),
			prefetch:     file.Extensions.ServiceBus.PrefetchCount,
			autoComplete: or(file.Extensions.ServiceBus.AutoCompleteMessages, true),
			renewFor:     span(file.Extensions.ServiceBus.MaxAutoLockRenewalDuration, 5*time.Minute),
		},
		blobs: blobConfig{
			concurrency: or(file.Extensions.Blobs.MaxDegreeOfParallelism, 8*runtime.NumCPU()),
			tries:       or(file.Extensions.Blobs.PoisonBlobThreshold, 5),
		},
	}
	for _, argument := range handler.Description.Arguments {
		c.arguments = append(c.arguments, s.expandKnown(argument))
	}
	if c.executable, err = findExecutable(root, handler.Description.DefaultExecutablePath); err != nil {
		return nil, fmt.Errorf("read host.json: %w", err)
	}
	if c.queues.concurrency < 1 || c.queues.prefetch < 0 || c.blobs.concurrency < 1 || c.blobs.tries < 1 {
		return nil, errors.New("read host.json: maxConcurrentCalls, maxDegreeOfParallelism and poisonBlobThreshold must be at least 1, prefetchCount not negative")
	}
	return c, nil
}

// check refuses what the real host refuses and what this one cannot play.
func (f *hostFile) check() error {
	switch {
	case f.Version != "2.0":
		return fmt.Errorf("version is %q, must be \"2.0\"", f.Version)
	case f.CustomHandler == nil:
		return errors.New("there is no customHandler section")
	case f.CustomHandler.Description.DefaultExecutablePath == "":
		return errors.New("customHandler.description.defaultExecutablePath is required")
	case len(f.Retry) > 0:
		return errors.New("retry is not supported")
	case f.CustomHandler.EnableForwardingHTTPRequest:
		return errors.New("customHandler.enableForwardingHttpRequest is not supported; use enableProxyingHttpRequest")
	case len(f.CustomHandler.HTTP.Routes) > 0:
		return errors.New("detected both function.json files and custom handler HTTP route configuration")
	}
	return nil
}

// findExecutable takes the file below root if there is one, else what PATH
// holds (HttpWorkerDescription.cs).
func findExecutable(root, name string) (string, error) {
	path := absolute(root, name)
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return path, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find the handler: %w", err)
	}
	return path, nil
}

func absolute(root, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(root, path)
}

func or[T any](value *T, fallback T) T {
	if value == nil {
		return fallback
	}
	return *value
}

func span(value *timeSpan, fallback time.Duration) time.Duration {
	return time.Duration(or(value, timeSpan(fallback)))
}

// timeSpan is a .NET TimeSpan in JSON: [-][d.]hh:mm:ss[.fffffff]. The string
// "-1" stands for no limit in functionTimeout and is -1 here.
type timeSpan time.Duration

// UnmarshalJSON implements json.Unmarshaler.
func (t *timeSpan) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	d, err := parseTimeSpan(text)
	*t = timeSpan(d)
	return err
}

func parseTimeSpan(text string) (time.Duration, error) {
	if text == "-1" {
		return -1, nil
	}
	rest, negative := strings.CutPrefix(text, "-")
	parts := strings.Split(rest, ":")
	if len(parts) != 3 {
		return 0, fmt.Errorf("%q is no time span of the form hh:mm:ss", text)
	}
	days, hours, ok := strings.Cut(parts[0], ".")
	if !ok {
		days, hours = "0", parts[0]
	}
	seconds, fraction, _ := strings.Cut(parts[2], ".")
	var total time.Duration
	for _, field := range []struct {
		digits string
		limit  uint64
		unit   time.Duration
	}{
		{days, 36500, 24 * time.Hour}, {hours, 23, time.Hour}, {parts[1], 59, time.Minute}, {seconds, 59, time.Second},
		{(fraction + "0000000")[:7], 9999999, 100 * time.Nanosecond},
	} {
		n, err := strconv.ParseUint(field.digits, 10, 32)
		if err != nil || n > field.limit || len(fraction) > 7 {
			return 0, fmt.Errorf("%q is no time span of the form hh:mm:ss", text)
		}
		total += time.Duration(n) * field.unit
	}
	if negative {
		return -total, nil
	}
	return total, nil
}
