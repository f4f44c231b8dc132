package graph

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"mailferry/infra/local/exchange/store"
)

// folderProperties are the properties of a mailFolder
// (https://learn.microsoft.com/graph/api/resources/mailfolder); wellKnownName is
// one of beta only.
var folderProperties = []string{"id", "displayName", "parentFolderId", "childFolderCount", "unreadItemCount",
	"totalItemCount", "isHidden", "sizeInBytes", "singleValueExtendedProperties", "multiValueExtendedProperties",
	"childFolders", "messages", "messageRules"}

// shown tells whether Graph lists a folder: not those that IMAP made, whose
// class is IPF.Imap, and hidden ones only on demand.
func shown(f store.Folder, hidden bool) bool {
	return f.Class == store.ClassNote && !f.Hidden && (hidden || !f.Concealed)
}

// parent returns the folder that the path names, the root if it names none.
func (r *request) parent() (store.Folder, error) {
	if id := r.PathValue("folder"); id != "" {
		return findFolder(r.mailbox, id)
	}
	return r.mailbox.Folder(store.RootID)
}

func (r *request) checkFolderSelect() error {
	return r.query.checkSelect("mailFolder", func(name string) bool {
		return slices.ContainsFunc(folderProperties, func(p string) bool { return strings.EqualFold(p, name) })
	})
}

// listFolders lists one level, ten folders a page
// (https://learn.microsoft.com/graph/api/user-list-mailfolders).
func (f *face) listFolders(w http.ResponseWriter, r *request) error {
	if err := r.checkFolderSelect(); err != nil {
		return err
	}
	parent, err := r.parent()
	if err != nil {
		return err
	}
	size, err := f.pageSize(r)
	if err != nil {
		return err
	}
	if r.query.orderBy != "" && r.query.orderBy != "displayname" {
		return badRequest("Could not sort by '%s'.", r.query.orderBy)
	}
	all := r.mailbox.Folders()
	found, err := r.children(all, parent.ID)
	if err != nil {
		return err
	}
	from, to := r.query.page(size, len(found))
	var value []any
	for _, c := range found[from:to] {
		value = append(value, r.folderJSON(c, all))
	}
	r.query.writePage(w, r.Request, value, to-from, len(found))
	return nil
}

// children lists the folders in one that are shown and match the filter.
func (r *request) children(all []store.Folder, parent uint64) ([]store.Folder, error) {
	var found []store.Folder
	for _, c := range all {
		if c.Parent != parent || !shown(c, r.query.hidden) {
			continue
		}
		if r.query.filter != nil {
			ok, err := matches(r.query.filter, r.folderObject(c))
			if err != nil {
				return nil, err
			}
			if !ok {
				continue
			}
		}
		found = append(found, c)
	}
	slices.SortStableFunc(found, func(a, b store.Folder) int {
		order := cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name))
		if r.query.desc {
			return -order
		}
		return order
	})
	return found, nil
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
		case "isHidden":
			return c.Concealed, nil
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
		if other.Parent == c.ID && shown(other, false) {
			children++
		}
	}
	out := map[string]any{}
	for name, v := range map[string]any{
		"displayName": c.Name, "parentFolderId": folderID(r.mailbox, cmp.Or(c.Parent, store.RootID)),
		"childFolderCount": children, "unreadItemCount": c.Unread, "totalItemCount": c.Total,
		"isHidden": c.Concealed,
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
	if err := r.checkFolderSelect(); err != nil {
		return err
	}
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
