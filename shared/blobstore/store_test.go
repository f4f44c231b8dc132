package blobstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"go.uber.org/goleak"

	"mailferry/infra/local/azurite"
	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// connect is FromConnectionString over a transport that ends with the test.
func connect(t *testing.T, connection, container string, tries int32) *Store {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	o := clientOptions()
	o.Transport = &http.Client{Transport: transport}
	o.Retry = policy.RetryOptions{MaxRetries: tries - 1, RetryDelay: time.Millisecond, MaxRetryDelay: 5 * time.Millisecond}
	if tries == 1 {
		o.Retry.MaxRetries = -1
	}
	client, err := azblob.NewClientFromConnectionString(connection, o)
	if err != nil {
		t.Fatal(err)
	}
	return New(client, container)
}

func emulator(t *testing.T) *azurite.Server {
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
	return server
}

func TestStore(t *testing.T) {
	server, containers := emulator(t), 0
	migratetest.StoreSuite(t, func(t *testing.T) migrate.Store {
		containers++
		s := connect(t, server.ConnectionString(), fmt.Sprintf("suite-%d", containers), 3)
		for range 2 { // the second finds it there
			if err := s.EnsureContainer(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		return s
	})
}

func TestNoContainer(t *testing.T) {
	s := connect(t, emulator(t).ConnectionString(), "nowhere", 1)
	_, _, err := s.Get(t.Context(), "a")
	if migrate.KindOf(err) != migrate.Configuration || errors.Is(err, migrate.ErrNotFound) {
		t.Errorf("get: %v", err)
	}
	if err := s.List(t.Context(), "", func(migrate.Entry) error { return nil }); migrate.KindOf(err) != migrate.Configuration {
		t.Errorf("list: %v", err)
	}
}

// answering is a store whose service is the given handler.
func answering(t *testing.T, tries int32, handler http.HandlerFunc) *Store {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return connect(t, "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YQ==;BlobEndpoint="+server.URL+"/a;", "box", tries)
}

func TestFaults(t *testing.T) {
	for _, c := range []struct {
		status int
		code   string
		kind   migrate.Kind
		is     error
	}{
		{403, "AuthorizationPermissionMismatch", migrate.Permission, nil},
		{401, "NoAuthenticationInformation", migrate.Permission, nil},
		{503, "ServerBusy", migrate.Throttled, nil},
		{429, "TooManyRequests", migrate.Throttled, nil},
		{500, "InternalError", migrate.Unreachable, nil},
		{504, "", migrate.Unreachable, nil},
		{400, "InvalidInput", migrate.Unexpected, nil},
		{404, "ContainerNotFound", migrate.Configuration, nil},
		{404, "BlobNotFound", "", migrate.ErrNotFound},
		{412, "ConditionNotMet", "", migrate.ErrConflict},
		{412, "LeaseIdMissing", "", migrate.ErrLeaseHeld},
	} {
		s := answering(t, 1, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Ms-Error-Code", c.code)
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(c.status)
		})
		_, err := s.Put(t.Context(), "a", nil, nil, migrate.Condition{})
		if c.is != nil {
			if !errors.Is(err, c.is) {
				t.Errorf("%d %s: %v", c.status, c.code, err)
			}
			continue
		}
		var e *migrate.Error
		if !errors.As(err, &e) || e.Kind != c.kind || strings.Contains(err.Error(), "\n") {
			t.Errorf("%d %s: %v", c.status, c.code, err)
			continue
		}
		if c.kind == migrate.Throttled && e.RetryAfter != 7*time.Second {
			t.Errorf("%d: retry after %s", c.status, e.RetryAfter)
		}
		if unknown := c.kind == migrate.Unreachable; e.Unknown != unknown {
			t.Errorf("%d: outcome unknown: %t", c.status, e.Unknown)
		}
	}
}

func TestBrokenConnection(t *testing.T) {
	var requests atomic.Int64
	s := answering(t, 2, func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		panic(http.ErrAbortHandler)
	})
	_, err := s.Put(t.Context(), "a", []byte("x"), nil, migrate.Condition{})
	if migrate.KindOf(err) != migrate.Unreachable || !migrate.OutcomeUnknown(err) || requests.Load() != 2 {
		t.Errorf("put: %v after %d requests", err, requests.Load())
	}
	if strings.Contains(err.Error(), "http://") {
		t.Errorf("the error has the URL: %v", err)
	}
	_, _, err = s.Get(t.Context(), "a")
	if migrate.KindOf(err) != migrate.Unreachable || migrate.OutcomeUnknown(err) {
		t.Errorf("get: %v", err)
	}
}

// A retry that meets its own first try must not look like success or like a failure of another kind.
func TestLostAnswers(t *testing.T) {
	server := emulator(t)
	loses := &loser{RoundTripper: &http.Transport{DisableKeepAlives: true}}
	o := clientOptions()
	o.Transport = &http.Client{Transport: loses}
	o.Retry.RetryDelay = time.Millisecond
	client, err := azblob.NewClientFromConnectionString(server.ConnectionString(), o)
	if err != nil {
		t.Fatal(err)
	}
	s := New(client, "box")
	if err := s.EnsureContainer(t.Context()); err != nil {
		t.Fatal(err)
	}
	tag, err := s.Put(t.Context(), "c", []byte("1"), nil, migrate.Condition{Absent: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(t.Context(), "log", []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	loses.next.Store(true)
	if _, err := s.Put(t.Context(), "c", []byte("2"), nil, migrate.Condition{Match: tag}); !errors.Is(err, migrate.ErrConflict) {
		t.Errorf("put: %v", err)
	}
	loses.next.Store(true)
	if _, err := s.Append(t.Context(), "log", []byte("2"), 1); !errors.Is(err, migrate.ErrConflict) {
		t.Errorf("append: %v", err)
	}
	for name, want := range map[string]string{"c": "2", "log": "12"} {
		if got, _, err := s.Get(t.Context(), name); err != nil || string(got) != want {
			t.Errorf("%s is %q, %v", name, got, err)
		}
	}
	loses.next.Store(true)
	lease, err := s.Acquire(t.Context(), "c", 15*time.Second)
	if err != nil {
		t.Fatalf("acquire: %v", err)
	}
	loses.next.Store(true)
	if err := lease.Release(t.Context()); err != nil {
		t.Errorf("release: %v", err)
	}
}

// loser lets a request through and loses its answer when next is set.
type loser struct {
	http.RoundTripper
	next atomic.Bool
}

func (l *loser) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(r)
	if err == nil && l.next.Swap(false) {
		response.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return response, err
}

func TestCauseIsKept(t *testing.T) {
	stopping := errors.New("stopping")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := answering(t, 3, func(w http.ResponseWriter, r *http.Request) {
		cancel(stopping)
		<-r.Context().Done()
	})
	_, _, err := s.Get(ctx, "a")
	if !errors.Is(err, context.Canceled) || !errors.Is(err, stopping) {
		t.Errorf("get: %v", err)
	}
}

func TestWrongConnectionStrings(t *testing.T) {
	if _, err := FromConnectionString("nonsense", "box"); migrate.KindOf(err) != migrate.Configuration {
		t.Errorf("connection string: %v", err)
	}
	for _, u := range []string{"://", "account.blob.core.windows.net", "http://account.blob.core.windows.net"} {
		if _, err := FromURL(u, noCredential{}, "box"); migrate.KindOf(err) != migrate.Configuration {
			t.Errorf("URL %s: %v", u, err)
		}
	}
	if _, err := FromURL("https://account.blob.core.windows.net", noCredential{}, "box"); err != nil {
		t.Error(err)
	}
}

// A token that cannot be had is nothing that trying again mends.
func TestTokenFails(t *testing.T) {
	client, err := azblob.NewClient("https://127.0.0.1:1", noCredential{}, clientOptions())
	if err != nil {
		t.Fatal(err)
	}
	_, _, err = New(client, "box").Get(t.Context(), "a")
	var e *migrate.Error
	if !errors.As(err, &e) || e.Kind != migrate.Permission || e.Advice == "" {
		t.Fatal(err)
	}
}

type noCredential struct{}

func (noCredential) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{}, noToken{}
}

// noToken is marked as azidentity marks its errors.
type noToken struct{}

func (noToken) Error() string { return "no token here" }
func (noToken) NonRetriable() {}
