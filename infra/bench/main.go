// Command bench measures the app on this machine and prints what it measured: how soon the handler
// answers after its start, and how much memory it takes while it moves one large message.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"mailferry/infra/local/demo"
	"mailferry/infra/package/layout"
	"mailferry/shared/credentials"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "mailferry-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	root, err := layout.Root(ctx)
	if err != nil {
		return err
	}
	app := filepath.Join(dir, "app")
	if err := layout.Build(ctx, root, app, "", ""); err != nil {
		return err
	}
	if err := startTimes(ctx, filepath.Join(app, "handler")); err != nil {
		return fmt.Errorf("measure the start: %w", err)
	}
	return largeMessage(ctx, app, dir)
}

// startTimes prints the time from the handler's start to its first answer on /.
func startTimes(ctx context.Context, handler string) error {
	var times []time.Duration
	for range 11 {
		d, err := startTime(ctx, handler)
		if err != nil {
			return err
		}
		times = append(times, d)
	}
	slices.Sort(times)
	fmt.Printf("handler start to first answer on /: median %s, worst %s of %d (bound: 300ms)\n",
		times[len(times)/2].Round(time.Millisecond), times[len(times)-1].Round(time.Millisecond), len(times))
	return nil
}

func startTime(ctx context.Context, handler string) (time.Duration, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	address := listener.Addr().String()
	listener.Close()
	identity, recipient, err := credentials.GenerateKey()
	if err != nil {
		return 0, err
	}
	_, port, _ := net.SplitHostPort(address)
	command := exec.CommandContext(ctx, handler)
	command.Env = []string{"FUNCTIONS_CUSTOMHANDLER_PORT=" + port, "SEAL_IDENTITY=" + identity, "SEAL_RECIPIENT=" + recipient,
		"DropZone=DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/a",
		"ServiceBusConnection=Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=k;SharedAccessKey=k;UseDevelopmentEmulator=true",
		"EXCHANGE_TENANT_ID=t", "EXCHANGE_CLIENT_ID=c", "EXCHANGE_CLIENT_SECRET=s"}
	began := time.Now()
	if err := command.Start(); err != nil {
		return 0, err
	}
	defer func() { command.Process.Kill(); command.Wait() }()
	client := &http.Client{Timeout: time.Second}
	for time.Since(began) < 10*time.Second {
		response, err := client.Get("http://" + address + "/")
		if err == nil {
			io.Copy(io.Discard, response.Body)
			response.Body.Close()
			return time.Since(began), nil
		}
		time.Sleep(time.Millisecond) // as the host does, only more often
	}
	return 0, errors.New("no answer within 10 s")
}

// largeMessage runs the main job with one message of 100 MiB and prints the handler's peak memory.
func largeMessage(ctx context.Context, app, dir string) error {
	peaks := make(chan int64)
	watching, stop := context.WithCancel(ctx)
	go func() { peaks <- watchPeak(watching, filepath.Join(app, "handler")) }()
	began := time.Now()
	err := demo.Run(ctx, demo.Options{Dir: filepath.Join(dir, "data"), App: app, Messages: 60, Instances: 1, Large: 100 << 20,
		MaxMessage: 150 << 20, Budget: time.Minute, Out: io.Discard})
	stop()
	peak := <-peaks
	if err != nil {
		return fmt.Errorf("move a message of 100 MiB: %w", err)
	}
	fmt.Printf("handler's peak resident memory while moving a mailbox with a message of 100 MiB: %.0f MiB (bound: 128 MiB), whole job %s\n",
		float64(peak)/(1<<10), time.Since(began).Round(100*time.Millisecond))
	return nil
}

// watchPeak follows VmHWM (KiB) of the process that runs the given executable.
func watchPeak(ctx context.Context, executable string) (peak int64) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return peak
		case <-tick.C:
		}
		links, _ := filepath.Glob("/proc/[0-9]*/exe")
		for _, link := range links {
			if target, err := os.Readlink(link); err == nil && target == executable {
				peak = max(peak, highWater(filepath.Join(filepath.Dir(link), "status")))
			}
		}
	}
}

func highWater(status string) (kib int64) {
	f, err := os.Open(status)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			fmt.Sscan(rest, &kib)
		}
	}
	return kib
}
