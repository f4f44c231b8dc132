package ports

import (
	"net"
	"os"
	"strconv"
	"testing"
)

func TestFree(t *testing.T) {
	free, err := Free(50)
	if err != nil {
		t.Fatal(err)
	}
	content, _ := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	given := string(content) == "32768\t60999\n" // Linux as it comes
	for _, port := range free {
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // so that one that is there twice fails
		if given && port >= 32768 {
			t.Errorf("anybody may get port %d", port)
		}
	}
}
