package graph

import (
	"cmp"
	"errors"
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

// folderBody is a folder as clients write it; what is read-only is ignored.
type folderBody struct {
	DisplayName *string    `json:"displayName"`
	IsHidden    *bool      `json:"isHidden"`
	Properties  []property `json:"singleValueExtendedProperties"`

	ID               any `json:"id"`
	ParentFolderID   any `json:"parentFolderId"`
	ChildFolderCount any `json:"childFolderCount"`
	UnreadItemCount  any `json:"unreadItemCount"`
	TotalItemCount   any `json:"totalItemCount"`
}

// maxFolderName is the length of PidTagDisplayName of a folder.
const maxFolderName = 255

// readFolder reads and checks a folder.
func (f *face) readFolder(r *request) (b folderBody, class string, err error) {
	if err := r.decode(&b, "mailFolder"); err != nil {
		return b, "", err
	}
	if b.DisplayName != nil && (strings.TrimSpace(*b.DisplayName) == "" || len([]rune(*b.DisplayName)) > maxFolderName) {
		return b, "", refuse(400, "ErrorInvalidRequest", "The folder's displayName is empty or too long.")
	}
	if err := f.normalize(r, b.Properties, nil); err != nil {
		return b, "", err
	}
	for _, p := range b.Properties {
		if p.ID != propFolderClass {
			return b, "", errNotPlayed
		}
		class = p.Value
	}
	return b, class, nil
}

// createFolder makes a folder. Its class is IPF.Note unless the body says
// otherwise, and only now can it be hidden
// (https://learn.microsoft.com/graph/api/user-post-mailfolders).
func (f *face) createFolder(w http.ResponseWriter, r *request) error {
	parent, err := r.parent()
	if err != nil {
		return err
	}
	b, class, err := f.readFolder(r)
	if err != nil {
		return err
	}
	if b.DisplayName == nil {
		return refuse(400, "ErrorInvalidRequest", "The folder has no displayName.")
	}
	if err := f.checkTree(r.mailbox, parent); err != nil {
		return err
	}
	c, err := r.mailbox.CreateFolder(parent.ID, *b.DisplayName, cmp.Or(class, store.ClassNote))
	if err == nil && b.IsHidden != nil && *b.IsHidden {
		c, err = r.mailbox.ChangeFolder(c.ID, c.Class, true)
	}
	if err != nil {
		return err
	}
	return f.writeFolder(w, r, http.StatusCreated, c)
}

// checkTree keeps the tree within the limits. Which code Exchange answers with
// is not documented.
func (f *face) checkTree(m *store.Mailbox, parent store.Folder) error {
	if most := f.o.Limits.FolderDepth; most > 0 && m.Depth(parent.ID) >= most {
		return refuse(400, "ErrorInvalidRequest", "The folder hierarchy is too deep.")
	}
	if most := f.o.Limits.Subfolders; most > 0 && parent.Children >= most {
		return refuse(400, "ErrorInvalidRequest", "The folder has too many subfolders.")
	}
	return nil
}

// updateFolder renames a folder, or sets its class.
func (f *face) updateFolder(w http.ResponseWriter, r *request) error {
	c, err := r.parent()
	if err != nil {
		return err
	}
	b, class, err := f.readFolder(r)
	if err != nil {
		return err
	}
	if class != "" {
		if c, err = r.mailbox.ChangeFolder(c.ID, class, c.Concealed); err != nil {
			return err
		}
	}
	if b.DisplayName != nil {
		if c, err = r.mailbox.RenameFolder(c.ID, c.Parent, *b.DisplayName); err != nil {
			return err
		}
	}
	return f.writeFolder(w, r, http.StatusOK, c)
}

// moveFolder keeps the folder's id
// (https://learn.microsoft.com/graph/outlook-immutable-id).
func (f *face) moveFolder(w http.ResponseWriter, r *request) error {
	c, err := r.parent()
	if err != nil {
		return err
	}
	to, err := r.destination()
	if err == nil {
		err = f.checkTree(r.mailbox, to)
	}
	if err == nil {
		c, err = r.mailbox.RenameFolder(c.ID, to.ID, c.Name)
	}
	if errors.Is(err, store.ErrReadOnly) {
		return refuse(400, "ErrorMoveDistinguishedFolder", "Distinguished folders cannot be moved.")
	}
	if err != nil {
		return err
	}
	return f.writeFolder(w, r, http.StatusCreated, c)
}

// copyFolder copies a folder with all in it.
func (f *face) copyFolder(w http.ResponseWriter, r *request) error {
	c, err := r.parent()
	if err != nil {
		return err
	}
	to, err := r.destination()
	if err == nil {
		err = f.checkTree(r.mailbox, to)
	}
	if err != nil {
		return err
	}
	made, err := copyTree(r.mailbox, r.mailbox.Folders(), c, to.ID)
	if err != nil {
		return err
	}
	return f.writeFolder(w, r, http.StatusCreated, made)
}

// copyTree copies c as it stood when all was listed, so that a copy into itself
// ends.
func copyTree(m *store.Mailbox, all []store.Folder, c store.Folder, parent uint64) (store.Folder, error) {
	made, err := m.CreateFolder(parent, c.Name, c.Class)
	if err != nil {
		return made, err
	}
	for _, it := range slices.Clone(m.NewestFirst(c.ID)) {
		if _, err := m.Copy(it.ID, made.ID); err != nil {
			return made, err
		}
	}
	for _, child := range all {
		if child.Parent == c.ID {
			if _, err := copyTree(m, all, child, made.ID); err != nil {
				return made, err
			}
		}
	}
	return made, nil
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
