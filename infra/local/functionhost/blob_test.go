package functionhost

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"mailferry/infra/local/faults"
)

// store is a storage account of the tests, with a container of this test's.
type store struct {
	*azblob.Client
	t          *testing.T
	connection string
	container  string
	http       *http.Client
}

func newStore(t *testing.T, connection string) *store {
	t.Helper()
	s := &store{t: t, connection: connection, container: containerName(t), http: &http.Client{Transport: &http.Transport{}}}
	client, err := azblob.NewClientFromConnectionString(connection, &azblob.ClientOptions{ClientOptions: azcore.ClientOptions{Transport: s.http}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.http.CloseIdleConnections)
	s.Client = client
	_, err = client.DeleteBlob(context.Background(), hostContainer, "locks/local/Host.Functions.tick.Listener", &azblob.DeleteBlobOptions{})
	if bloberror.HasCode(err, bloberror.LeaseIDMissing) { // left by a crash
		s.breakLease()
	}
	for _, name := range []string{foundBlobs, poisonBlobs} {
		if _, err := s.queue(name).client.ClearMessages(context.Background(), nil); err != nil && !isTakenOver(err) {
			t.Fatal(err)
		}
	}
	return s
}

// containerName is made of the test's.
func containerName(t *testing.T) string {
	_, name, _ := strings.Cut(t.Name(), "/")
	return strings.ToLower(strings.NewReplacer("_", "-", ",", "").Replace(name))
}

func (s *store) queue(name string) *storageQueue {
	s.t.Helper()
	q, err := settings{"AzureWebJobsStorage": s.connection}.queue("", name)
	if err != nil {
		s.t.Fatal(err)
	}
	return q
}

func (s *store) create() {
	s.t.Helper()
	if _, err := s.CreateContainer(context.Background(), s.container, nil); err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) put(name, content string) {
	s.t.Helper()
	_, err := s.UploadBuffer(context.Background(), s.container, name, []byte(content), &azblob.UploadBufferOptions{Metadata: map[string]*string{"by": ptr("me")}})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *store) list(prefix string) []string {
	s.t.Helper()
	var names []string
	pager := s.NewListBlobsFlatPager(hostContainer, &azblob.ListBlobsFlatOptions{Prefix: &prefix})
	for pager.More() {
		page, err := pager.NextPage(context.Background())
		if bloberror.HasCode(err, bloberror.ContainerNotFound) {
			return nil
		}
		if err != nil {
			s.t.Fatal(err)
		}
		for _, item := range page.Segment.BlobItems {
			names = append(names, *item.Name)
		}
	}
	return names
}

// poison waits for a message in the poison queue and takes it out.
func (s *store) poison() blobMessage {
	s.t.Helper()
	q := s.queue(poisonBlobs)
	var taken *queueMessage
	var err error
	within(s.t, "a poison message", func() bool {
		if taken, err = q.take(context.Background(), time.Minute); err != nil {
			s.t.Fatal(err)
		}
		return taken != nil
	})
	if err := q.remove(context.Background(), taken); err != nil {
		s.t.Fatal(err)
	}
	m, err := parseBlobMessage(taken.content)
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// app is an app with a blobTrigger on the container.
func (s *store) app() *app {
	a := newApp(s.t)
	a.settings["AzureWebJobsStorage"] = s.connection
	a.write("intake/function.json", `{"bindings":[{"type":"blobTrigger","direction":"in","name":"csv","path":"`+s.container+`/{endpoint}/{name}.csv","dataType":"binary","source":"EventGrid"}]}`)
	return a
}

// blobEvent is what the tests look at in an envelope.
type blobEvent struct {
	Data     map[string][]byte
	Metadata struct {
		Uri, Endpoint, Name string
		Metadata            map[string]string
		Properties          map[string]any
		BlobTrigger         any
	}
}

func decodeBlob(t *testing.T, e event) blobEvent {
	t.Helper()
	var b blobEvent
	if err := json.Unmarshal(e.Body, &b); err != nil {
		t.Fatalf("%s: %v", e.Body, err)
	}
	return b
}

const quick = 20 * time.Millisecond

func TestBlobTrigger(t *testing.T) {
	connection := storage(t)
	for name, test := range map[string]func(*testing.T, *store){
		"fires once for each version":              firesOnceForEachVersion,
		"fires not again after a restart":          firesNotAgainAfterARestart,
		"gives up after five tries":                givesUpAfterFiveTries,
		"fires again when the process died":        firesAgainWhenTheProcessDied,
		"fires again when the host stopped":        firesAgainWhenTheHostStopped,
		"waits for the container":                  waitsForTheContainer,
		"events are late, twice and out of order":  eventsAreLateTwiceAndOutOfOrder,
		"without Event Grid the ETag decides":      withoutEventGridTheETagDecides,
		"a blob that is gone is done with":         aBlobThatIsGoneIsDoneWith,
		"lost lock of a blob":                      lostLockOfABlob,
		"timer remembers":                          timerRemembers,
		"of a crashed instance comes again later":  blobOfACrashedInstanceComesAgainLater,
		"one of two hosts fires":                   oneOfTwoHostsFires,
		"a crashed host keeps the lease":           aCrashedHostKeepsTheLease,
		"a host that lost the lease fires no more": aHostThatLostTheLeaseFiresNoMore,
	} {
		t.Run(name, func(t *testing.T) { test(t, newStore(t, connection)) })
	}
}

func firesOnceForEachVersion(t *testing.T, s *store) {
	s.create()
	a := s.app()
	a.start(Options{BlobPoll: quick, Instances: 2})
	s.put("acme/endpoint.json", "{}")
	s.put("acme/pilot 1.csv", "a,b\n")
	b := decodeBlob(t, next(t, a.requests))
	if string(b.Data["csv"]) != "a,b\n" || b.Metadata.Endpoint != `"acme"` || b.Metadata.Name != `"pilot 1"` || b.Metadata.Metadata["By"]+b.Metadata.Metadata["by"] != "me" {
		t.Errorf("event %+v", b)
	}
	if !strings.HasSuffix(b.Metadata.Uri, s.container+`/acme/pilot%201.csv"`) {
		t.Errorf("uri %s", b.Metadata.Uri)
	}
	if b.Metadata.Properties["ContentLength"] != 4.0 || b.Metadata.BlobTrigger != nil {
		t.Errorf("properties %v", b.Metadata.Properties)
	}
	s.put("acme/pilot 1.csv", "a,b\n")
	next(t, a.requests)
	s.put("acme/last.csv", "")
	if b := decodeBlob(t, next(t, a.requests)); b.Metadata.Name != `"last"` {
		t.Errorf("a version fired twice: %+v", b)
	}
}

func firesNotAgainAfterARestart(t *testing.T, s *store) {
	s.create()
	a := s.app()
	h := a.start(Options{BlobPoll: quick, Terminate: time.Minute})
	s.put("acme/first.csv", "1")
	next(t, a.requests)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	a.start(Options{BlobPoll: quick})
	s.put("acme/second.csv", "2")
	if b := decodeBlob(t, next(t, a.requests)); b.Metadata.Name != `"second"` {
		t.Errorf("event %+v", b)
	}
}

func givesUpAfterFiveTries(t *testing.T, s *store) {
	s.create()
	a := s.app()
	a.handle(func(event) order { return order{Status: 500} })
	a.start(Options{BlobPoll: quick})
	s.put("acme/bad.csv", "1")
	for range 5 {
		next(t, a.requests)
	}
	m := s.poison()
	etag := m.ETag
	m.ETag = ""
	if want := (blobMessage{"BlobTrigger", "Host.Functions.intake", "BlockBlob", s.container, "acme/bad.csv", ""}); m != want || len(etag) < 3 || etag[0] != '"' {
		t.Errorf("poison message %+v with ETag %s, want %+v", m, etag, want)
	}
	a.handle(nil)
	s.put("acme/good.csv", "1")
	if b := decodeBlob(t, next(t, a.requests)); b.Metadata.Name != `"good"` {
		t.Errorf("event %+v", b)
	}
}

func firesAgainWhenTheProcessDied(t *testing.T, s *store) {
	s.create()
	a := s.app()
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	h := a.start(Options{BlobPoll: quick})
	s.put("acme/x.csv", "1")
	first := next(t, a.requests)
	a.handle(nil)
	if err := h.Kill(0); err != nil {
		t.Fatal(err)
	}
	if second := next(t, a.requests); second.Pid == first.Pid || string(second.Body) == "" {
		t.Errorf("event %+v", second)
	}
}

func firesAgainWhenTheHostStopped(t *testing.T, s *store) {
	s.create()
	a := s.app()
	release := make(chan struct{})
	defer close(release)
	a.handle(func(event) order { <-release; return success })
	h := a.start(Options{BlobPoll: quick})
	s.put("acme/x.csv", "1")
	next(t, a.requests)
	a.handle(nil)
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	a.start(Options{BlobPoll: quick})
	next(t, a.requests)
}

func waitsForTheContainer(t *testing.T, s *store) {
	a := s.app()
	a.start(Options{BlobPoll: quick})
	s.create()
	s.put("acme/x.csv", "1")
	next(t, a.requests)
}

func timerRemembers(t *testing.T, s *store) {
	a := newApp(t)
	a.settings["AzureWebJobsStorage"] = s.connection
	a.write("tick/function.json", `{"bindings":[{"type":"timerTrigger","direction":"in","name":"timer","schedule":"0 0 0 1 1 *"}]}`)
	h := a.start(Options{})
	const status = "timers/local/Host.Functions.tick/status"
	within(t, "a first status", func() bool { return slices.Contains(s.list("timers/"), status) })
	if err := h.Stop(context.Background()); err != nil {
		t.Fatal(err)
	}
	last := time.Date(2020, 1, 1, 0, 0, 0, 5, time.UTC)
	if err := putJSON(context.Background(), s.Client, status, scheduleStatus{Last: last, Next: last.AddDate(1, 0, 0), LastUpdated: last}); err != nil {
		t.Fatal(err)
	}
	a.start(Options{})
	info := decodeTimer(t, next(t, a.requests))
	if !info.IsPastDue || info.ScheduleStatus == nil || info.ScheduleStatus.Last != "2020-01-01T00:00:00+00:00" {
		t.Errorf("timer %+v", info)
	}
}

// Section 2.3: the ETag of an event decides nothing with Event Grid (see
// eventsAreLateTwiceAndOutOfOrder), and something without.
func withoutEventGridTheETagDecides(t *testing.T, s *store) {
	s.create()
	a := s.app()
	a.write("intake/function.json", `{"bindings":[{"type":"blobTrigger","direction":"in","name":"csv","path":"`+s.container+`/{endpoint}/{name}.csv","dataType":"binary"}]}`)
	plan := faults.New()
	late := plan.Add(faults.Rule{At: "host.blob-event", Do: faults.Delay, After: time.Minute, Times: 1})
	clock := newHandClock()
	a.start(Options{BlobPoll: quick, Faults: plan, clock: clock})
	s.put("acme/x.csv", "old")
	if err := plan.Wait(t.Context(), late, 1); err != nil {
		t.Fatal(err)
	}
	s.put("acme/x.csv", "new")
	if b := decodeBlob(t, next(t, a.requests)); string(b.Data["csv"]) != "new" {
		t.Errorf("event %+v", b)
	}
	// The first event goes into the queue after the second. When it is gone from
	// there, it has fired or not.
	clock.await(t, time.Minute)
	clock.pass(time.Minute)
	within(t, "the receipts of both", func() bool { return s.receipts() == 2 })
	s.emptied(foundBlobs)
	none(t, a.requests)
}

func aBlobThatIsGoneIsDoneWith(t *testing.T, s *store) {
	s.create()
	a := s.app()
	plan := faults.New()
	late := plan.Add(faults.Rule{At: "host.blob-event", Do: faults.Delay, After: time.Minute, Times: 1})
	clock := newHandClock()
	a.start(Options{BlobPoll: quick, Faults: plan, clock: clock})
	s.put("acme/x.csv", "1")
	if err := plan.Wait(t.Context(), late, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.DeleteBlob(context.Background(), s.container, "acme/x.csv", nil); err != nil {
		t.Fatal(err)
	}
	clock.await(t, time.Minute)
	clock.pass(time.Minute)
	within(t, "the receipt", func() bool { return s.receipts() == 1 })
	s.emptied(foundBlobs)
	s.emptied(poisonBlobs)
	none(t, a.requests)
}

// hiddenQueue notes when a message is hidden again.
type hiddenQueue struct {
	start  time.Time
	hidden []time.Duration
}

func (q *hiddenQueue) hide(context.Context, *queueMessage, time.Duration) error {
	q.hidden = append(q.hidden, time.Since(q.start))
	return nil
}

func (q *hiddenQueue) remove(context.Context, *queueMessage) error { return nil }

// Section 2.3: a found blob is hidden for ten minutes, and again at half of them.
func TestFoundBlobIsKeptHidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &hiddenQueue{start: time.Now()}
		m := &heldMessage{queue: q, visibility: 10 * time.Minute, found: newAnnouncement(), message: &queueMessage{}}
		stop := m.renew(&instance{life: t.Context(), log: slog.New(slog.DiscardHandler)})
		time.Sleep(11 * time.Minute) // by synctest's clock
		stop()
		time.Sleep(time.Hour)
		if want := []time.Duration{5 * time.Minute, 10 * time.Minute}; !slices.Equal(q.hidden, want) {
			t.Errorf("hidden again after %v, want %v", q.hidden, want)
		}
	})
}

// receipts is how many versions of the container's blobs have one.
func (s *store) receipts() int {
	n := 0
	for _, name := range s.list("blobreceipts/local/Host.Functions.intake/") {
		if strings.Contains(name, "/"+s.container+"/") {
			n++
		}
	}
	return n
}

// emptied waits until a queue is empty, of hidden messages too.
func (s *store) emptied(name string) {
	s.t.Helper()
	within(s.t, name+" is empty", func() bool {
		p, err := s.queue(name).client.GetProperties(context.Background(), nil)
		return isTakenOver(err) || err == nil && or(p.ApproximateMessagesCount, 1) == 0
	})
}
