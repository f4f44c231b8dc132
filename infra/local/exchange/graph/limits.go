package graph

import (
	"cmp"
	"sync"
	"time"
)

// Limits are the service's limits. A zero takes the documented number, a negative one takes the limit
// away.
type Limits struct {
	// Concurrent requests, Requests per RequestWindow, and UploadBytes per UploadWindow of POST, PATCH
	// and PUT, are counted per application and mailbox: 4; 10,000 in 10 minutes; 150 MB in 5 minutes
	// (https://learn.microsoft.com/graph/throttling-limits, Outlook service).
	Concurrent    int
	Requests      int64
	RequestWindow time.Duration
	UploadBytes   int64
	UploadWindow  time.Duration

	// PageSize is the most that one page holds, whatever $top says: the service may give less than was
	// asked for (https://learn.microsoft.com/graph/paging). Default: what was asked for.
	PageSize int
	// NamedProperties that one mailbox may have. Default 16,384; beyond it Exchange answers
	// ErrorQuotaExceeded "Cannot get ID from name." (microsoft-graph-docs-contrib issue 3504).
	NamedProperties int
	// FolderDepth and Subfolders bound the tree: 300 levels, 10,000 folders in one
	// (Exchange Online limits, "Mailbox folder limits").
	FolderDepth, Subfolders int
	// UploadSession is how long an upload session lives. Default 1 hour, which nobody documents.
	UploadSession time.Duration
	// MessageSize in bytes is the limit of mailboxes that set none (MaxReceiveSize).
	MessageSize int64
	// LostMIME is the size of MIME beyond which a POST is answered with 200 and nothing is made, as
	// was seen above 2,240 kB (microsoft-graph-docs-contrib issue 3079). Default: none is lost.
	LostMIME int
}

func (l Limits) withDefaults() Limits {
	l.Concurrent = cmp.Or(l.Concurrent, 4)
	l.Requests = cmp.Or(l.Requests, 10_000)
	l.RequestWindow = cmp.Or(l.RequestWindow, 10*time.Minute)
	l.UploadBytes = cmp.Or(l.UploadBytes, 150_000_000)
	l.UploadWindow = cmp.Or(l.UploadWindow, 5*time.Minute)
	l.NamedProperties = cmp.Or(l.NamedProperties, 16_384)
	l.FolderDepth = cmp.Or(l.FolderDepth, 300)
	l.Subfolders = cmp.Or(l.Subfolders, 10_000)
	l.UploadSession = cmp.Or(l.UploadSession, time.Hour)
	l.MessageSize = cmp.Or(l.MessageSize, 36<<20)
	return l
}

// window counts amounts over a sliding time. Amounts of one hundredth of it are kept together.
type window struct {
	length time.Duration
	parts  []part // oldest first
	sum    int64
}

type part struct {
	from   time.Time
	amount int64
}

func (w *window) add(now time.Time, amount int64) {
	w.drop(now)
	w.sum += amount
	if last := len(w.parts) - 1; last >= 0 && now.Sub(w.parts[last].from) < w.length/100 {
		w.parts[last].amount += amount
		return
	}
	w.parts = append(w.parts, part{now, amount})
}

func (w *window) drop(now time.Time) {
	for len(w.parts) > 0 && now.Sub(w.parts[0].from) >= w.length {
		w.sum -= w.parts[0].amount
		w.parts = w.parts[1:]
	}
}

// wait returns how long it takes until less than limit is counted, or 0 if it is so now.
func (w *window) wait(now time.Time, limit int64) time.Duration {
	w.drop(now)
	sum := w.sum
	for _, p := range w.parts {
		if limit < 0 || sum < limit {
			break
		}
		if sum -= p.amount; sum < limit {
			return p.from.Add(w.length).Sub(now)
		}
	}
	return 0
}

// usage is what one application uses of one mailbox.
type usage struct {
	running  int
	requests window
	uploads  window
}

type consumer struct{ app, mailbox string }

// gate keeps requests within the limits.
type gate struct {
	limits Limits
	now    func() time.Time

	mu    sync.Mutex
	usage map[consumer]*usage
}

// enter lets a request in, or says why not. What was let in has to leave.
func (g *gate) enter(c consumer) (leave func(uploaded int64), err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u := g.usage[c]
	if u == nil {
		u = &usage{requests: window{length: g.limits.RequestWindow}, uploads: window{length: g.limits.UploadWindow}}
		g.usage[c] = u
	}
	if g.limits.Concurrent >= 0 && u.running >= g.limits.Concurrent {
		return nil, errConcurrency
	}
	now := g.now()
	if d := u.requests.wait(now, g.limits.Requests); d > 0 {
		return nil, throttled("RequestBudget", d)
	}
	if d := u.uploads.wait(now, g.limits.UploadBytes); d > 0 {
		return nil, throttled("UploadBudget", d)
	}
	u.running++
	u.requests.add(now, 1)
	return func(uploaded int64) {
		g.mu.Lock()
		defer g.mu.Unlock()
		u.running--
		if uploaded > 0 {
			u.uploads.add(g.now(), uploaded)
		}
	}, nil
}
