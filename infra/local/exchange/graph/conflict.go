package graph

import (
	"net/http"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// changing keeps two changes of one message apart: while one is under way the
// other is refused, as is one that names an older state in If-Match
// (microsoftgraph/msgraph-sdk-dotnet issues 1195 and 1287, DavMail issue 491).
func (f *face) changing(h mailHandler) mailHandler {
	return func(w http.ResponseWriter, r *request) error {
		it, err := r.message()
		if err != nil {
			return err
		}
		if tag := strings.TrimSpace(r.Header.Get("If-Match")); tag != "" && tag != "*" && tag != etag(it) {
			return errConflict
		}
		done, err := f.change(r.mailbox, it.ID)
		if err != nil {
			return err
		}
		defer done()
		return h(w, r)
	}
}

// change claims an item for one writer.
func (f *face) change(m *store.Mailbox, id uint64) (done func(), err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.writing[m][id] {
		return nil, errConflict
	}
	if f.writing[m] == nil {
		f.writing[m] = map[uint64]bool{}
	}
	f.writing[m][id] = true
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.writing[m], id)
	}, nil
}
