package azurite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

func run(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func client(t *testing.T, s *Server) *azblob.Client { return connect(t, s.ConnectionString()) }

func connect(t *testing.T, connection string) *azblob.Client {
	t.Helper()
	c, err := azblob.NewClientFromConnectionString(connection, &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: ownBodies{&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}},
		Retry:     policy.RetryOptions{RetryDelay: time.Millisecond},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ownBodies sends each try a body of its own. azcore rewinds the one it has for the next try, while
// net/http may still look for that one's end (http.RoundTripper: a body may be in use after the answer).
type ownBodies struct{ client *http.Client }

func (o ownBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return o.client.Do(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return o.client.Do(r)
}

func TestKeepsItsFolder(t *testing.T) {
	dir := t.TempDir()
	first := run(t, Options{Dir: dir})
	c := client(t, first)
	if _, err := c.CreateContainer(t.Context(), "box", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.UploadBuffer(t.Context(), "box", "a/b", []byte("kept"), nil); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second := run(t, Options{Dir: dir})
	response, err := client(t, second).DownloadStream(t.Context(), "box", "a/b", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if got, err := io.ReadAll(response.Body); err != nil || string(got) != "kept" {
		t.Fatalf("got %q, %v", got, err)
	}
}

func TestTwoAtOnceAreApart(t *testing.T) {
	a, b := run(t, Options{}), run(t, Options{})
	if _, err := client(t, a).CreateContainer(t.Context(), "box", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client(t, b).CreateContainer(t.Context(), "box", nil); err != nil {
		t.Fatalf("the other's container is seen: %v", err)
	}
}

func TestStartIsCancelled(t *testing.T) {
	stopped := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stopped)
	if s, err := Start(ctx, Options{}); err == nil {
		s.Close()
		t.Fatal("started in spite of a cancelled context")
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var said tail
	for i := range 2000 {
		fmt.Fprintf(&said, "line %d\n", i)
	}
	if got := said.String(); len(got) > tailLength || !strings.HasSuffix(got, "line 1999") {
		t.Fatalf("%d bytes, ending %q", len(got), got[len(got)-20:])
	}
}
