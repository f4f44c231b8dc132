package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"mailferry/shared/credentials"
)

// startTimes prints the time from the handler's start to its first answer on /.
func startTimes(ctx context.Context, b *bench) error {
	app, err := b.app(ctx)
	if err != nil {
		return err
	}
	handler := filepath.Join(app, "handler")
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
