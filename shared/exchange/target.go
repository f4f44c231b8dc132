package exchange

import (
	"context"
	"errors"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"mailferry/shared/migrate"
)

// graphConcurrency is how many requests Graph takes at once per application and mailbox
// (https://learn.microsoft.com/graph/throttling-limits, Outlook service).
const graphConcurrency = 4

var errClosed = errors.New("the target was closed")

// target writes into one mailbox. It is safe for concurrent use.
type target struct {
	x       *Exchange
	mailbox migrate.TargetMailbox
	folders *folders
	pool    *pool
	gate    chan struct{} // holds an element per Graph request under way

	life context.Context // ends with Close
	end  context.CancelCauseFunc
}

var _ migrate.Target = (*target)(nil)

func newTarget(x *Exchange, mailbox migrate.TargetMailbox) *target {
	t := &target{x: x, mailbox: mailbox, folders: newFolders(), gate: make(chan struct{}, graphConcurrency)}
	t.life, t.end = context.WithCancelCause(context.Background())
	t.pool = newPool(x.options.Writers, t.connect)
	return t
}

// Writers is the number of IMAP connections.
func (t *target) Writers() int { return t.x.options.Writers }

// Close cuts every connection; calls under way and later ones end with an error.
func (t *target) Close() error {
	t.end(errClosed)
	t.pool.close()
	return nil
}

// graph runs one request, of which graphConcurrency run at once.
func (t *target) graph(ctx context.Context, op string, request func(context.Context, *users.UserItemRequestBuilder) error) error {
	live, stop := t.living(ctx)
	defer stop()
	select {
	case t.gate <- struct{}{}:
		defer func() { <-t.gate }()
	case <-live.Done():
		return t.fail(ctx, op, live.Err())
	}
	return t.fail(ctx, op, request(live, t.x.graph.Users().ByUserId(t.mailbox.UserID)))
}

// living returns a context that ends with ctx and with the target.
func (t *target) living(ctx context.Context) (context.Context, func()) {
	live, cancel := context.WithCancelCause(ctx)
	if t.life.Err() != nil {
		cancel(errClosed) // at once; AfterFunc takes a goroutine
	}
	stop := context.AfterFunc(t.life, func() { cancel(errClosed) })
	return live, func() { stop(); cancel(nil) }
}

// fail is the package's fail for calls that Close may have ended.
func (t *target) fail(ctx context.Context, op string, err error) error {
	if err != nil && ctx.Err() == nil && t.life.Err() != nil {
		return &migrate.Error{Op: op, Kind: migrate.Unreachable, Unknown: migrate.OutcomeUnknown(err), Err: errClosed}
	}
	return fail(ctx, op, err)
}
