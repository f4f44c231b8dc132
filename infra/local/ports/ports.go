// Package ports finds ports for servers that are told where to listen.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"syscall"
)

// Linux gives whoever asks for any port one from 32768 on (ip_local_port_range), so also a port that was
// free a moment ago and that a server is about to open. Those below it are only taken by name.
const first, end = 10_000, 32_768

// Free returns n different ports of this machine that are free now.
func Free(n int) ([]int, error) {
	var free []int
	for len(free) < n {
		port := first + rand.IntN(end-first)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if errors.Is(err, syscall.EADDRINUSE) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		defer l.Close()
		free = append(free, port)
	}
	return free, nil
}
