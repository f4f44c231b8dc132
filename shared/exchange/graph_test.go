package exchange

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"mailferry/shared/migrate"
)

// answer writes a JSON answer.
func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	io.WriteString(w, body)
}

func graphFailure(w http.ResponseWriter, status int, code string) {
	answer(w, status, fmt.Sprintf(`{"error":{"code":%q,"message":"words","innerError":{"request-id":"1"}}}`, code))
}

// directoryOf serves one user and its mailbox id.
func directoryOf(filter string) *http.ServeMux {
	mux := http.NewServeMux()
	user := `{"id":"user-1","mail":"anna@contoso.example","proxyAddresses":["smtp:a@contoso.example","SMTP:Anna@contoso.example"]}`
	mux.HandleFunc("GET /v1.0/users", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$filter") == filter {
			answer(w, 200, `{"value":[`+user+`]}`)
			return
		}
		answer(w, 200, `{"value":[]}`)
	})
	mux.HandleFunc("GET /v1.0/users/anna@contoso.onmicrosoft.example", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, user)
	})
	mux.HandleFunc("GET /v1.0/users/", func(w http.ResponseWriter, r *http.Request) {
		graphFailure(w, 404, "Request_ResourceNotFound")
	})
	mux.HandleFunc("GET /v1.0/users/user-1/settings/exchange", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, `{"primaryMailboxId":"MBX:AB12-cd@tenant"}`)
	})
	return mux
}

func TestResolve(t *testing.T) {
	x, c := newExchange(t, nil, directoryOf(`proxyAddresses/any(x:x eq 'smtp:o''neil+x@contoso.example')`))
	want := migrate.TargetMailbox{GUID: "ab12-cd", UserID: "user-1", Address: "Anna@contoso.example"}
	for _, address := range []string{"o'neil+x@contoso.example", "anna@contoso.onmicrosoft.example"} {
		got, err := x.Resolve(t.Context(), address)
		if err != nil || got != want {
			t.Errorf("%s: got %v, %v", address, got, err)
		}
	}
	_, err := x.Resolve(t.Context(), "nobody@contoso.example")
	if e := asError(t, err); e.Kind != migrate.NoMailbox || !strings.Contains(err.Error(), "no user") {
		t.Errorf("got %v", err)
	}
	if slices.ContainsFunc(c.scopes, func(s string) bool { return s != graphScope }) {
		t.Errorf("scopes %v", c.scopes)
	}
}

func TestGraphFailures(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   migrate.Kind
		after  time.Duration
		words  string
	}{
		{"no mailbox", func(w http.ResponseWriter, r *http.Request) { graphFailure(w, 404, "MailboxNotEnabledForRESTAPI") }, migrate.NoMailbox, 0, "no mailbox in Exchange Online"},
		{"invalid user", func(w http.ResponseWriter, r *http.Request) { graphFailure(w, 404, "ErrorInvalidUser") }, migrate.NoMailbox, 0, "no user of this tenant"},
		{"forbidden", func(w http.ResponseWriter, r *http.Request) { graphFailure(w, 403, "ErrorAccessDenied") }, migrate.Permission, 0, "ErrorAccessDenied"},
		{"unauthorized", func(w http.ResponseWriter, r *http.Request) { graphFailure(w, 401, "InvalidAuthenticationToken") }, migrate.Permission, 0, "401"},
		{"full", func(w http.ResponseWriter, r *http.Request) { graphFailure(w, 403, "ErrorQuotaExceeded") }, migrate.Full, 0, ""},
		{"full, inner", func(w http.ResponseWriter, r *http.Request) {
			answer(w, 500, `{"error":{"code":"ErrorInternalServerError","message":"m","innerError":{"code":"ErrorQuotaExceeded"}}}`)
		}, migrate.Full, 0, ""},
		{"throttled", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "120")
			graphFailure(w, 429, "ApplicationThrottled")
		}, migrate.Throttled, 2 * time.Minute, "ApplicationThrottled"},
		{"gateway page", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "60")
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(503)
			io.WriteString(w, "<html>")
		}, migrate.Throttled, time.Minute, "503"},
		{"no words", func(w http.ResponseWriter, r *http.Request) { answer(w, 500, `{}`) }, migrate.Unreachable, 0, "500"},
		{"nothing", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502) }, migrate.Unreachable, 0, "502"},
		{"new", func(w http.ResponseWriter, r *http.Request) { graphFailure(w, 400, "Strange") }, migrate.Unexpected, 0, "Strange"},
		{"cut", func(w http.ResponseWriter, r *http.Request) { panic(http.ErrAbortHandler) }, migrate.Unreachable, 0, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			x, _ := newExchange(t, nil, test.answer)
			_, err := x.Resolve(t.Context(), "anna@contoso.example")
			e := asError(t, err)
			if e.Kind != test.kind || e.RetryAfter != test.after || !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %v, retry after %v", err, e.RetryAfter)
			}
			if (e.Kind == migrate.Permission) != (e.Advice == graphAdvice) {
				t.Errorf("advice %q", e.Advice)
			}
			if strings.Contains(err.Error(), "anna@") {
				t.Errorf("the address is in %v", err)
			}
		})
	}
}

// A short pushback is waited for; the request is sent again as it was.
func TestShortPushback(t *testing.T) {
	var bodies []string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1.0/users/user-1/mailFolders/msgfolderroot/childFolders", func(w http.ResponseWriter, r *http.Request) {
		answer(w, 200, `{"value":[]}`)
	})
	mux.HandleFunc("POST /v1.0/users/user-1/mailFolders/msgfolderroot/childFolders", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Content-Encoding") != "" {
			t.Error("the request is compressed")
		}
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		if len(bodies) < 3 {
			w.Header().Set("Retry-After", "0")
			graphFailure(w, 429, "TooManyRequests")
			return
		}
		answer(w, 201, `{"id":"new","displayName":"Work"}`)
	})
	tgt, _ := open(t, nil, mux)
	if _, err := tgt.Folder(t.Context(), "", []string{"Work"}); err != nil {
		t.Fatal(err)
	}
	if want := []string{`{"displayName":"Work"}`, `{"displayName":"Work"}`, `{"displayName":"Work"}`}; !slices.Equal(bodies, want) {
		t.Errorf("bodies %q", bodies)
	}
}

// A long pushback is the caller's to wait for.
func TestLongPushback(t *testing.T) {
	var requests atomic.Int32
	x, _ := newExchange(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		w.Header().Set("Retry-After", "30")
		graphFailure(w, 503, "ServiceUnavailable")
	}))
	_, err := x.Resolve(t.Context(), "anna@contoso.example")
	if e := asError(t, err); e.Kind != migrate.Throttled || e.RetryAfter != 30*time.Second || requests.Load() != 1 {
		t.Errorf("got %v, retry after %v, after %d requests", err, e.RetryAfter, requests.Load())
	}
}

func TestCredentialFailures(t *testing.T) {
	tests := []struct {
		name string
		err  error
		kind migrate.Kind
	}{
		{"refused", &azidentity.AuthenticationFailedError{RawResponse: &http.Response{StatusCode: 401}}, migrate.Configuration},
		{"unreachable", fmt.Errorf("dial: %w", io.ErrUnexpectedEOF), migrate.Unreachable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer(t, func(w *wire) {})
			tgt, c := open(t, p, http.NotFoundHandler())
			c.err = test.err
			_, err := tgt.Put(t.Context(), inbox, message("m"))
			if e := asError(t, err); e.Kind != test.kind {
				t.Errorf("Put: %v", err)
			}
			_, err = tgt.x.Resolve(t.Context(), "anna@contoso.example")
			if e := asError(t, err); e.Kind != test.kind {
				t.Errorf("Resolve: %v", err)
			}
		})
	}
}

// graphMailbox is a small mailbox with folders in pages of two, and messages in pages of one.
type graphMailbox struct {
	t        *testing.T
	mu       sync.Mutex
	folders  map[string][]string // parent id to names; the id of a folder is parent/name
	hidden   map[string]bool     // ids that lists leave out
	known    map[string]string   // well-known name to display name
	messages []string            // JSON
	filters  []string
	posts    int
	busy     atomic.Int32
	most     atomic.Int32
	before   func(r *http.Request)
	outbox   string // its id
}

func (m *graphMailbox) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	for most, now := m.most.Load(), m.busy.Add(1); now > most && !m.most.CompareAndSwap(most, now); most = m.most.Load() {
	}
	defer m.busy.Add(-1)
	if m.before != nil {
		m.before(r)
	}
	if r.Header.Get("Prefer") != `IdType="ImmutableId"` || r.Header.Get("Authorization") == "" {
		m.t.Errorf("headers of %s %s: %v", r.Method, r.URL.Path, r.Header)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	path, _ := strings.CutPrefix(r.URL.Path, "/v1.0/users/user-1")
	path, isFolder := strings.CutPrefix(path, "/mailFolders/")
	switch parent, children := strings.CutSuffix(path, "/childFolders"); {
	case isFolder && children && r.Method == "GET":
		m.list(w, r, strings.ReplaceAll(parent, "|", "/"))
	case isFolder && children:
		m.create(w, r, strings.ReplaceAll(parent, "|", "/"))
	case strings.HasSuffix(path, "/messages"):
		m.page(w, r)
	case path == "outbox" && m.outbox != "":
		answer(w, 200, fmt.Sprintf(`{"id":%q,"displayName":"Postausgang"}`, m.outbox))
	case isFolder && m.known[path] != "":
		answer(w, 200, fmt.Sprintf(`{"id":"id-of-%s","displayName":%q}`, path, m.known[path]))
	default:
		graphFailure(w, 404, "ErrorItemNotFound")
	}
}

func skip(r *http.Request) (n int) { fmt.Sscan(r.URL.Query().Get("$skip"), &n); return n }

func nextLink(r *http.Request, n int) string {
	return fmt.Sprintf(`"@odata.nextLink":"http://%s%s?$skip=%d",`, r.Host, r.URL.Path, n)
}

func (m *graphMailbox) list(w http.ResponseWriter, r *http.Request, parent string) {
	var entries []string
	for _, name := range m.folders[parent] {
		if !m.hidden[parent+"/"+name] {
			entries = append(entries, fmt.Sprintf(`{"id":%q,"displayName":%q}`, strings.ReplaceAll(parent+"/"+name, "/", "|"), name))
		}
	}
	from, link := min(skip(r), len(entries)), ""
	to := min(from+2, len(entries))
	if to < len(entries) {
		link = nextLink(r, to)
	}
	answer(w, 200, "{"+link+`"value":[`+strings.Join(entries[from:to], ",")+"]}")
}

func (m *graphMailbox) create(w http.ResponseWriter, r *http.Request, parent string) {
	var body struct{ DisplayName string }
	json.NewDecoder(r.Body).Decode(&body)
	m.posts++
	for _, name := range m.folders[parent] {
		if strings.EqualFold(name, body.DisplayName) {
			graphFailure(w, 409, "ErrorFolderExists")
			return
		}
	}
	m.folders[parent] = append(m.folders[parent], body.DisplayName)
	answer(w, 201, fmt.Sprintf(`{"id":%q,"displayName":%q}`, strings.ReplaceAll(parent+"/"+body.DisplayName, "/", "|"), body.DisplayName))
}

func (m *graphMailbox) page(w http.ResponseWriter, r *http.Request) {
	m.filters = append(m.filters, r.URL.Query().Get("$filter"))
	from := skip(r)
	if from >= len(m.messages) {
		answer(w, 200, `{"value":[]}`)
		return
	}
	link := ""
	if from+1 < len(m.messages) {
		link = nextLink(r, from+1)
	}
	answer(w, 200, "{"+link+`"value":[`+m.messages[from]+"]}")
}

func german(t *testing.T) *graphMailbox {
	return &graphMailbox{t: t, hidden: map[string]bool{},
		folders: map[string][]string{"msgfolderroot": {"Posteingang", "Gesendete Elemente", "Entwürfe", "Projekte", "Z"}},
		known:   map[string]string{"inbox": "Posteingang", "sentitems": "Gesendete Elemente"},
	}
}

func TestFolder(t *testing.T) {
	m := german(t)
	tgt, _ := open(t, nil, m)
	tests := []struct {
		use  migrate.SpecialUse
		path []string
		id   string
		want []string
	}{
		{migrate.UseInbox, []string{"INBOX"}, "id-of-inbox", []string{"INBOX"}},
		{migrate.UseInbox, nil, "id-of-inbox", []string{"INBOX"}},
		{"", []string{"inbox", "Sub"}, "id-of-inbox|Sub", []string{"INBOX", "Sub"}},
		{migrate.UseSent, []string{"Sent", "2019"}, "id-of-sentitems|2019", []string{"Gesendete Elemente", "2019"}},
		{migrate.UseArchive, []string{"Archive"}, "msgfolderroot|Archive", []string{"Archive"}},
		{migrate.UseAll, []string{"All Mail"}, "msgfolderroot|All Mail", []string{"All Mail"}},
		{"", []string{"PROJEKTE"}, "msgfolderroot|Projekte", []string{"Projekte"}},
		{"", []string{"z"}, "msgfolderroot|Z", []string{"Z"}},
		{"", []string{"Projekte", "a/b", "c\\d"}, "msgfolderroot|Projekte|a_b|c_d", []string{"Projekte", "a_b", "c_d"}},
		{"", []string{"Files", "Files"}, "msgfolderroot|Files_|Files", []string{"Files_", "Files"}},
	}
	for range 2 {
		for _, test := range tests {
			got, err := tgt.Folder(t.Context(), test.use, test.path)
			if err != nil || got.ID != test.id || !slices.Equal(got.Path, test.want) {
				t.Errorf("%s %q: got %v, %v", test.use, test.path, got, err)
			}
		}
	}
	if m.posts != 8 {
		t.Errorf("%d folders created, want 8", m.posts)
	}
	_, err := tgt.Folder(t.Context(), "", nil)
	if e := asError(t, err); e.Kind != migrate.NoFolder {
		t.Errorf("empty path: %v", err)
	}
}

func TestFolderMadeByManyAtOnce(t *testing.T) {
	m := german(t)
	tgt, _ := open(t, nil, m)
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			f, err := tgt.Folder(t.Context(), "", []string{"New", "Sub"})
			if err != nil || f.ID != "msgfolderroot|New|Sub" {
				t.Errorf("got %v, %v", f, err)
			}
		})
	}
	all.Wait()
	if m.posts != 2 {
		t.Errorf("%d folders created, want 2", m.posts)
	}
}

// Someone else makes the folder between listing and creating.
func TestFolderExists(t *testing.T) {
	m := german(t)
	m.before = func(r *http.Request) {
		if r.Method == "POST" {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.folders["msgfolderroot"] = append(m.folders["msgfolderroot"], "NEW")
		}
	}
	tgt, _ := open(t, nil, m)
	f, err := tgt.Folder(t.Context(), "", []string{"new"})
	if err != nil || f.ID != "msgfolderroot|NEW" || !slices.Equal(f.Path, []string{"NEW"}) {
		t.Errorf("got %v, %v", f, err)
	}
}

// A folder that Graph does not list, such as the calendar, and one of Outlook's own take no mail.
func TestFolderHidden(t *testing.T) {
	m := german(t)
	m.folders["msgfolderroot"] = append(m.folders["msgfolderroot"], "Kalender", "Postausgang", "u\u0308ber")
	m.hidden["msgfolderroot/Kalender"] = true
	m.outbox = "msgfolderroot|Postausgang"
	tgt, _ := open(t, nil, m)
	for range 2 {
		for path, want := range map[string]string{
			"kalender": "kalender (mail)", "Postausgang": "Postausgang (mail)", "über": "u\u0308ber", "Projekte": "Projekte",
		} {
			f, err := tgt.Folder(t.Context(), "", []string{path})
			if err != nil || !slices.Equal(f.Path, []string{want}) {
				t.Errorf("%s: got %v, %v", path, f, err)
			}
		}
	}
	m.folders["msgfolderroot"] = append(m.folders["msgfolderroot"], "x", "x (mail)")
	m.hidden["msgfolderroot/x"], m.hidden["msgfolderroot/x (mail)"] = true, true
	tgt, _ = open(t, nil, m)
	_, err := tgt.Folder(t.Context(), "", []string{"x"})
	if e := asError(t, err); e.Kind != migrate.NoFolder || e.Advice == "" {
		t.Errorf("got %v", err)
	}
}

// A folder that the server no longer has is looked for again.
func TestFolderGone(t *testing.T) {
	m := german(t)
	p := newPeer(t, func(w *wire) {
		w.welcome()
		a := w.receive()
		w.say("%s NO [TRYCREATE] The requested folder could not be found.", a.tag)
		w.accept(nil)
	})
	tgt, _ := open(t, p, m)
	path := []string{"Work"}
	f, err := tgt.Folder(t.Context(), "", path)
	if err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.folders["msgfolderroot"] = m.folders["msgfolderroot"][:5]
	m.mu.Unlock()
	_, err = tgt.Put(t.Context(), f, message("m"))
	if e := asError(t, err); e.Kind != migrate.NoFolder {
		t.Fatal(err)
	}
	if f, err = tgt.Folder(t.Context(), "", path); err != nil || m.posts != 2 {
		t.Errorf("got %v, %v after %d creations", f, err, m.posts)
	}
	if _, err := tgt.Put(t.Context(), f, message("m")); err != nil {
		t.Error(err)
	}
}

func TestFindAndList(t *testing.T) {
	m := german(t)
	m.messages = []string{
		`{"id":"1","parentFolderId":"f","internetMessageId":"<a'b@c>","receivedDateTime":"2019-03-04T10:11:12Z","sentDateTime":"2019-03-04T10:11:00Z",
		  "subject":"Gr\u00fc\u00dfe   an alle","from":{"emailAddress":{"name":"A","address":"Anna@Contoso.example"}},"isDraft":false,"isRead":true}`,
		`{"id":"2","parentFolderId":"g","receivedDateTime":"2019-03-04T10:11:12.900Z","isDraft":true,"isRead":false,"subject":null,"from":null}`,
		`{"id":"3","subject":"=?utf-8?q?caf=C3=A9?="}`,
	}
	received := time.Date(2019, 3, 4, 10, 11, 12, 0, time.UTC)
	want := []migrate.Found{
		{ID: "1", FolderID: "f", Read: true, Received: received, Fingerprint: migrate.Fingerprint{MessageID: "<a'b@c>",
			Date: received.Add(-12 * time.Second), From: "anna@contoso.example", Subject: "Grüße an alle", Received: received}},
		{ID: "2", FolderID: "g", Draft: true, Received: received, Fingerprint: migrate.Fingerprint{Received: received}},
		{ID: "3", Fingerprint: migrate.Fingerprint{Subject: "café"}},
	}
	tgt, _ := open(t, nil, m)
	var got []migrate.Found
	collect := func(f migrate.Found) error { got = append(got, f); return nil }
	check := func(err error) {
		t.Helper()
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("got %+v, %v", got, err)
		}
		got = nil
	}
	check(tgt.Find(t.Context(), migrate.Fingerprint{MessageID: "<a'b@c>", Received: received}, collect))
	check(tgt.Find(t.Context(), migrate.Fingerprint{Subject: "x", Received: received}, collect))
	check(tgt.List(t.Context(), migrate.TargetFolder{ID: "f"}, collect))
	filters := slices.DeleteFunc(m.filters, func(s string) bool { return s == "" })
	if want := []string{"internetMessageId eq '<a''b@c>'",
		"receivedDateTime ge 2019-03-04T10:11:12Z and receivedDateTime lt 2019-03-04T10:11:13Z"}; !slices.Equal(filters, want) {
		t.Errorf("filters %q", filters)
	}
	stop := errors.New("enough")
	if err := tgt.List(t.Context(), inbox, func(migrate.Found) error { return stop }); err != stop {
		t.Errorf("yield's error came back as %v", err)
	}
	err := tgt.Find(t.Context(), migrate.Fingerprint{Subject: "x"}, collect)
	if e := asError(t, err); e.Kind != migrate.Unexpected {
		t.Errorf("got %v", err)
	}
}

func TestGraphConcurrency(t *testing.T) {
	m := german(t)
	together := make(chan struct{}, 100)
	release := make(chan struct{})
	m.before = func(*http.Request) { together <- struct{}{}; <-release }
	tgt, _ := open(t, nil, m)
	var all sync.WaitGroup
	for range 12 {
		all.Go(func() {
			if err := tgt.List(t.Context(), inbox, func(migrate.Found) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	const limit = 4
	for range limit {
		<-together
	}
	select {
	case <-together:
		t.Error("one more request arrived")
	case <-time.After(200 * time.Millisecond):
	}
	close(release)
	all.Wait()
	if m.most.Load() != limit {
		t.Errorf("%d requests at once, want %d", m.most.Load(), limit)
	}
}

func TestCloseAndCancelEndGraphCalls(t *testing.T) {
	for _, how := range []string{"close", "cancel"} {
		t.Run(how, func(t *testing.T) {
			arrived := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				<-r.Context().Done()
			}))
			defer server.Close()
			tgt, _ := open(t, nil, nil, func(o *Options) { o.GraphURL = server.URL + "/v1.0" })
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go func() {
				<-arrived
				if how == "close" {
					tgt.Close()
				} else {
					cancel()
				}
			}()
			err := tgt.List(ctx, inbox, func(migrate.Found) error { return nil })
			if how == "cancel" && err != context.Canceled {
				t.Errorf("got %v", err)
			}
			if how == "close" && (!errors.Is(err, errClosed) || migrate.KindOf(err) != migrate.Unreachable) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	c := &credential{}
	for name, o := range map[string]Options{
		"no credential": {},
		"Graph URL":     {Graph: c, GraphURL: "graph"},
		"IMAP address":  {Graph: c, IMAPAddr: "outlook.example"},
	} {
		if _, err := New(o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	x, err := New(Options{Graph: c})
	if err != nil {
		t.Fatal(err)
	}
	if x.adapter.GetBaseUrl() != DefaultGraphURL {
		t.Errorf("base URL %s", x.adapter.GetBaseUrl())
	}
	_, err = x.Open(t.Context(), migrate.Mailbox{})
	if e := asError(t, err); e.Kind != migrate.NoMailbox {
		t.Errorf("unresolved mailbox: %v", err)
	}
}

// A token goes to no other host than Graph's, and never in clear text over a network.
func TestTokenStaysHome(t *testing.T) {
	for _, address := range []string{"http://graph.example/v1.0", "http://192.0.2.1/v1.0"} {
		c := &credential{}
		x, err := New(Options{Graph: c, GraphURL: address})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.Resolve(t.Context(), "anna@contoso.example"); err == nil || c.given != 0 {
			t.Errorf("%s: %d tokens given, %v", address, c.given, err)
		}
	}
}
