package graph

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"mailferry/infra/local/exchange/store"
)

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
