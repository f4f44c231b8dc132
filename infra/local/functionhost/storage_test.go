package functionhost

import (
	"fmt"
	"net"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// storage starts Azurite for one test and returns its connection string.
//
// --skipApiVersionCheck: azblob 1.8 sends a newer service version than Azurite
// 3.37 knows, which would answer every request with InvalidHeaderValue.
func storage(t *testing.T) string {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	// npm installs the package on the first run and then takes it from its cache.
	azurite := exec.Command("npm", "exec", "--yes", "--package=azurite@3.37.0", "--", "azurite-blob",
		"--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent", "--blobPort", fmt.Sprint(port))
	azurite.Dir = t.TempDir()
	azurite.SysProcAttr = sysProcAttr()
	if err := azurite.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Kill(-azurite.Process.Pid, syscall.SIGKILL); err != nil {
			t.Errorf("kill azurite: %v", err)
		}
		_ = azurite.Wait() // says that it was killed
	})
	address := fmt.Sprintf("127.0.0.1:%d", port)
	within(t, 3*time.Minute, "an answer of azurite", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;" +
		"AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;" +
		"BlobEndpoint=http://" + address + "/devstoreaccount1;"
}
