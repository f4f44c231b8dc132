package graph

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// shown tells whether Graph shows a folder: not those that IMAP made, whose
// class is IPF.Imap.
func shown(f store.Folder) bool { return f.Class == store.ClassNote && !f.Hidden }

// parent returns the folder that the path names, the root if it names none.
func (r *request) parent() (store.Folder, error) {
	if id := r.PathValue("folder"); id != "" {
		return findFolder(r.mailbox, id)
	}
	return r.mailbox.Folder(store.RootID)
}

func (f *face) listFolders(w http.ResponseWriter, r *request) error {
	parent, err := r.parent()
	if err != nil {
		return err
	}
	size, err := r.query.pageSize(10, 1000)
	if err != nil {
		return err
	}
	all := r.mailbox.Folders()
	var found []store.Folder
	for _, c := range all {
		if c.Parent != parent.ID || !shown(c) {
			continue
		}
		if r.query.filter != nil {
			ok, err := matches(r.query.filter, r.folderObject(c))
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
		}
		found = append(found, c)
	}
	slices.SortFunc(found, func(a, b store.Folder) int {
		return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
	})
	from, to := r.query.page(size, len(found))
	var value []any
	for _, c := range found[from:to] {
		value = append(value, r.folderJSON(c, all))
	}
	r.query.writePage(w, r.Request, value, to-from, len(found))
	return nil
}

func (r *request) folderObject(c store.Folder) object {
	return func(name string) (any, error) {
		switch name {
		case "displayName":
			return c.Name, nil
		case "id":
			return folderID(r.mailbox, c.ID), nil
		case "parentFolderId":
			return folderID(r.mailbox, c.Parent), nil
		case "totalItemCount":
			return float64(c.Total), nil
		case "unreadItemCount":
			return float64(c.Unread), nil
		case "singleValueExtendedProperties":
			return []any{propertyObject(propFolderClass, c.Class)}, nil
		}
		return nil, errNoProperty
	}
}

// folderJSON shows a folder; all are the folders of the mailbox.
func (r *request) folderJSON(c store.Folder, all []store.Folder) map[string]any {
	children := 0
	for _, other := range all {
		if other.Parent == c.ID && shown(other) {
			children++
		}
	}
	out := map[string]any{}
	for name, v := range map[string]any{
		"displayName": c.Name, "parentFolderId": folderID(r.mailbox, cmp.Or(c.Parent, store.RootID)),
		"childFolderCount": children, "unreadItemCount": c.Unread, "totalItemCount": c.Total,
		"isHidden": false,
	} {
		if r.query.has(name, true) {
			out[name] = v
		}
	}
	if r.query.has("sizeInBytes", false) {
		out["sizeInBytes"] = c.Bytes
	}
	out["id"] = folderID(r.mailbox, c.ID)
	if slices.Contains(r.query.expand, propFolderClass) {
		out["singleValueExtendedProperties"] = []any{property{propFolderClass, c.Class}}
	}
	return out
}

func (f *face) getFolder(w http.ResponseWriter, r *request) error {
	c, err := r.parent()
	if err != nil {
		return err
	}
	return f.writeFolder(w, r, http.StatusOK, c)
}

func (f *face) writeFolder(w http.ResponseWriter, r *request, status int, c store.Folder) error {
	out := r.folderJSON(c, r.mailbox.Folders())
	out["@odata.context"] = baseURL(r.Request) + "/$metadata#users('" + r.mailbox.User().ID + "')/mailFolders/$entity"
	writeJSON(w, status, out)
	return nil
}

// decode reads a JSON body.
func (r *request) decode(into any) error {
	err := json.NewDecoder(r.Body).Decode(into)
	var tooBig *http.MaxBytesError
	if err == nil || errors.As(err, &tooBig) {
		return err
	}
	return fmt.Errorf("%w: %w", errBody, err)
}

func (r *request) folderName() (string, error) {
	var body struct {
		DisplayName string `json:"displayName"`
	}
	if err := r.decode(&body); err != nil {
		return "", err
	}
	if strings.TrimSpace(body.DisplayName) == "" || len([]rune(body.DisplayName)) > 255 {
		return "", &refusal{400, "ErrorInvalidRequest", "The folder's displayName is empty or too long."}
	}
	return body.DisplayName, nil
}

func (f *face) createFolder(w http.ResponseWriter, r *request) error {
	parent, err := r.parent()
	if err != nil {
		return err
	}
	name, err := r.folderName()
	if err != nil {
		return err
	}
	c, err := r.mailbox.CreateFolder(parent.ID, name, store.ClassNote)
	if err != nil {
		return err
	}
	return f.writeFolder(w, r, http.StatusCreated, c)
}

func (f *face) renameFolder(w http.ResponseWriter, r *request) error {
	c, err := r.parent()
	if err != nil {
		return err
	}
	name, err := r.folderName()
	if err != nil {
		return err
	}
	if c, err = r.mailbox.RenameFolder(c.ID, c.Parent, name); err != nil {
		return err
	}
	return f.writeFolder(w, r, http.StatusOK, c)
}

// deleteFolder moves a folder to Deleted Items, or removes it if it is there
// already or a folder of the name is.
func (f *face) deleteFolder(w http.ResponseWriter, r *request) error {
	c, err := r.parent()
	if err != nil {
		return err
	}
	if c.Parent == store.DeletedItemsID {
		err = r.mailbox.DeleteFolder(c.ID)
	} else if _, err = r.mailbox.RenameFolder(c.ID, store.DeletedItemsID, c.Name); errors.Is(err, store.ErrFolderExists) {
		err = r.mailbox.DeleteFolder(c.ID)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
