package functionhost

import (
	"testing"

	"mailferry/infra/local/azurite"
)

// storage starts Azurite for one test and returns its connection string.
func storage(t *testing.T) string {
	t.Helper()
	server, err := azurite.Start(t.Context(), azurite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	return server.ConnectionString()
}
