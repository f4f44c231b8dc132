package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"mailferry/infra/local/demo"
)

// largeMessage runs the main job with one message of 100 MiB and prints the handler's peak memory.
func largeMessage(ctx context.Context, b *bench) error {
	app, err := b.app(ctx)
	if err != nil {
		return err
	}
	peaks := make(chan int64)
	watching, stop := context.WithCancel(ctx)
	go func() { peaks <- watchPeak(watching, filepath.Join(app, "handler")) }()
	began := time.Now()
	err = demo.Run(ctx, demo.Options{Dir: filepath.Join(b.dir, "data"), App: app, Messages: 60, Instances: 1, Large: 100 << 20,
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
