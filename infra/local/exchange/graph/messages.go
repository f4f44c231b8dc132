package graph

import (
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"mailferry/infra/local/exchange/rebuild"
	"mailferry/infra/local/exchange/store"
)

func (f *face) listMessages(w http.ResponseWriter, r *request) error {
	size, err := f.pageSize(r)
	if err != nil {
		return err
	}
	if err := r.checkSelect(); err != nil {
		return err
	}
	items, err := r.find()
	if err != nil {
		return err
	}
	from, to := r.query.page(size, len(items))
	var value []any
	for _, it := range items[from:to] {
		v, err := r.messageJSON(it)
		if err != nil {
			return err
		}
		value = append(value, v)
	}
	r.query.writePage(w, r.Request, value, to-from, len(items))
	return nil
}

// pageSize is 10, or $top up to 1000
// (https://learn.microsoft.com/graph/api/user-list-messages).
func (f *face) pageSize(r *request) (int, error) {
	size, err := r.query.pageSize(10, 1000)
	if most := f.o.Limits.PageSize; most > 0 {
		size = min(size, most)
	}
	return size, err
}

func (r *request) checkSelect() error {
	return r.query.checkSelect("message", func(name string) bool {
		return slices.ContainsFunc(messageProperties, func(p string) bool { return strings.EqualFold(p, name) })
	})
}

func (f *face) countMessages(w http.ResponseWriter, r *request) error {
	items, err := r.find()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain")
	_, err = io.WriteString(w, strconv.Itoa(len(items)))
	return err
}

// message returns the message that the path names; under a folder it has to be
// in it.
func (r *request) message() (*store.Item, error) {
	it, err := findMessage(r.mailbox, r.PathValue("id"))
	if err != nil || r.PathValue("folder") == "" {
		return it, err
	}
	c, err := r.parent()
	if err == nil && c.ID != it.Folder {
		err = errItemNotFound
	}
	return it, err
}

func (f *face) getMessage(w http.ResponseWriter, r *request) error {
	if err := r.checkSelect(); err != nil {
		return err
	}
	it, err := r.message()
	if err != nil {
		return err
	}
	return f.writeMessage(w, r, http.StatusOK, it)
}

func (f *face) writeMessage(w http.ResponseWriter, r *request, status int, it *store.Item) error {
	out, err := r.messageJSON(it)
	if err != nil {
		return err
	}
	out["@odata.context"] = baseURL(r.Request) + "/$metadata#users('" + r.mailbox.User().ID + "')/messages/$entity"
	writeJSON(w, status, out)
	return nil
}

// getMIME shows the message as MIME, rebuilt as in IMAP; not under a folder
// (microsoft-graph-docs-contrib issue 776).
func (f *face) getMIME(w http.ResponseWriter, r *request) error {
	if r.PathValue("folder") != "" {
		return errNotSupported
	}
	it, err := r.message()
	if err != nil {
		return err
	}
	m, err := rebuild.New(r.mailbox.Store().Open(it.Body), it.Body.HeaderSize, it.Body.SHA256)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/plain")
	if _, err = w.Write(m.Header()); err == nil {
		err = m.WriteText(w)
	}
	return err
}

func (f *face) deleteMessage(w http.ResponseWriter, r *request) error {
	it, err := r.message()
	if err != nil {
		return err
	}
	if err := r.mailbox.Delete(it.ID); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (f *face) moveMessage(w http.ResponseWriter, r *request) error {
	return f.placeMessage(w, r, r.mailbox.Move)
}

func (f *face) copyMessage(w http.ResponseWriter, r *request) error {
	return f.placeMessage(w, r, r.mailbox.Copy)
}

func (f *face) placeMessage(w http.ResponseWriter, r *request, place func(id, folder uint64) (*store.Item, error)) error {
	it, err := r.message()
	if err != nil {
		return err
	}
	to, err := r.destination()
	if err != nil {
		return err
	}
	if it, err = place(it.ID, to.ID); err != nil {
		return err
	}
	return f.writeCreated(w, r, it)
}

// destination reads the folder that a move or copy goes to.
func (r *request) destination() (store.Folder, error) {
	var body struct {
		DestinationID string `json:"destinationId"`
	}
	if err := r.decodeAction(&body, "move"); err != nil {
		return store.Folder{}, err
	}
	return findFolder(r.mailbox, body.DestinationID)
}
