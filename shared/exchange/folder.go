package exchange

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/models"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"mailferry/shared/migrate"
)

// rootFolder is the well-known name of the folder that holds a mailbox's mail folders.
const rootFolder = "msgfolderroot"

// wellKnown names the folders that exist in each mailbox, whatever its language
// (https://learn.microsoft.com/graph/api/resources/mailfolder).
var wellKnown = map[migrate.SpecialUse]string{
	migrate.UseInbox:   "inbox",
	migrate.UseSent:    "sentitems",
	migrate.UseTrash:   "deleteditems",
	migrate.UseDrafts:  "drafts",
	migrate.UseJunk:    "junkemail",
	migrate.UseArchive: "archive",
}

// folders remembers what is known of a mailbox's folders. Whoever holds lock owns the maps.
type folders struct {
	lock     chan struct{}
	known    map[string]migrate.TargetFolder            // by well-known name
	children map[string]map[string]migrate.TargetFolder // by parent id, then by nameKey; Path is not set
}

func newFolders() *folders {
	f := &folders{lock: make(chan struct{}, 1)}
	f.forget()
	return f
}

func (f *folders) forget() {
	f.known = make(map[string]migrate.TargetFolder)
	f.children = make(map[string]map[string]migrate.TargetFolder)
}

// Folder finds or creates a folder. With a use that Exchange knows the first element of path, the
// source's name for that role, is not looked at, and the rest is walked below the well-known folder.
// Else the whole path is walked from the top.
func (t *target) Folder(ctx context.Context, use migrate.SpecialUse, path []string) (migrate.TargetFolder, error) {
	const op = "find folder"
	select {
	case t.folders.lock <- struct{}{}:
		defer func() { <-t.folders.lock }()
	case <-ctx.Done():
		return migrate.TargetFolder{}, context.Cause(ctx)
	}
	at, rest, err := t.start(ctx, use, path)
	if err != nil {
		return migrate.TargetFolder{}, err
	}
	for _, name := range rest {
		if at, err = t.child(ctx, at, folderName(name, len(at.Path) == 0)); err != nil {
			return migrate.TargetFolder{}, err
		}
	}
	if len(at.Path) == 0 {
		return migrate.TargetFolder{}, &migrate.Error{Op: op, Kind: migrate.NoFolder, Err: errors.New("the path is empty")}
	}
	return at, nil
}

// start returns where to begin and the names to walk from there. A top folder that is called INBOX
// is the inbox: IMAP has no other of that name (RFC 9051 section 5.1).
func (t *target) start(ctx context.Context, use migrate.SpecialUse, path []string) (migrate.TargetFolder, []string, error) {
	name := wellKnown[use]
	if name == "" && len(path) > 0 && strings.EqualFold(folderName(path[0], true), "INBOX") {
		name = wellKnown[migrate.UseInbox]
	}
	root := migrate.TargetFolder{ID: rootFolder}
	if name == "" {
		return root, path, nil
	}
	top, err := t.wellKnown(ctx, name)
	if migrate.KindOf(err) == migrate.NoFolder && len(path) > 0 {
		return root, path, nil // no such role here: an archive folder is made on first use
	}
	return top, path[min(1, len(path)):], err
}

func (t *target) wellKnown(ctx context.Context, name string) (migrate.TargetFolder, error) {
	if f, ok := t.folders.known[name]; ok {
		return f, nil
	}
	var got models.MailFolderable
	err := t.graph(ctx, "find folder "+name, func(ctx context.Context, user *users.UserItemRequestBuilder) (err error) {
		got, err = user.MailFolders().ByMailFolderId(name).Get(ctx,
			&users.ItemMailFoldersMailFolderItemRequestBuilderGetRequestConfiguration{
				QueryParameters: &users.ItemMailFoldersMailFolderItemRequestBuilderGetQueryParameters{Select: []string{"id", "displayName"}},
			})
		return err
	})
	if err != nil {
		return migrate.TargetFolder{}, err
	}
	f := migrate.TargetFolder{ID: deref(got.GetId()), Path: []string{deref(got.GetDisplayName())}}
	if name == wellKnown[migrate.UseInbox] {
		f.Path[0] = "INBOX" // its name in IMAP in every language
	}
	t.folders.known[name] = f
	return f, nil
}

// child finds or creates one folder below parent. A name that is taken by a folder that is not for
// mail, such as the calendar in the mailbox's language, gets a suffix. So does one that Graph does not
// list, because an IMAP client made it or it is hidden: users would not see mail in it.
func (t *target) child(ctx context.Context, parent migrate.TargetFolder, name string) (migrate.TargetFolder, error) {
	f, err := t.sibling(ctx, parent.ID, name)
	if errors.Is(err, errHidden) {
		f, err = t.sibling(ctx, parent.ID, cutTo(name, maxFolderName-len(notForMail))+notForMail)
	}
	if err != nil {
		return migrate.TargetFolder{}, err
	}
	f.Path = append(append([]string(nil), parent.Path...), f.Path...)
	return f, nil
}

// notForMail is put behind a name that a folder has that does not take mail.
const notForMail = " (mail)"

// errHidden is a name that exists and is not listed, or is one of Outlook's own.
var errHidden = errors.New("Exchange says that the folder exists but does not list it")

// sibling finds or creates a folder of that name.
func (t *target) sibling(ctx context.Context, parent, name string) (migrate.TargetFolder, error) {
	children, err := t.list(ctx, parent)
	if err != nil {
		return migrate.TargetFolder{}, err
	}
	f, ok := children[nameKey(name)]
	if !ok {
		return t.create(ctx, parent, name)
	}
	if parent == rootFolder {
		own, err := t.isOutlooks(ctx, f.ID)
		if own && err == nil {
			err = errHidden
		}
		return f, err
	}
	return f, nil
}

// outlooks are folders of Outlook's that Graph lists among the others: what lies in the outbox may be
// sent, and Outlook clears the others by itself (https://learn.microsoft.com/graph/api/resources/mailfolder).
var outlooks = []string{"outbox", "conversationhistory", "syncissues"}

// isOutlooks reports whether a folder at the top is one of those, whatever it is called in the
// mailbox's language. They are asked for once.
func (t *target) isOutlooks(ctx context.Context, id string) (bool, error) {
	for _, name := range outlooks {
		f, err := t.wellKnown(ctx, name)
		if migrate.KindOf(err) == migrate.NoFolder {
			t.folders.known[name] = migrate.TargetFolder{} // this mailbox has none
			continue
		}
		if err != nil || f.ID == id {
			return true, err
		}
	}
	return false, nil
}

// list reads a folder's children once.
func (t *target) list(ctx context.Context, parent string) (map[string]migrate.TargetFolder, error) {
	if children, ok := t.folders.children[parent]; ok {
		return children, nil
	}
	children := make(map[string]migrate.TargetFolder)
	for next := ""; ; {
		var page models.MailFolderCollectionResponseable
		err := t.graph(ctx, "list folders", func(ctx context.Context, user *users.UserItemRequestBuilder) (err error) {
			page, err = childPage(ctx, user.MailFolders().ByMailFolderId(parent).ChildFolders(), next)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, f := range page.GetValue() {
			name := deref(f.GetDisplayName())
			children[nameKey(name)] = migrate.TargetFolder{ID: deref(f.GetId()), Path: []string{name}}
		}
		if next = deref(page.GetOdataNextLink()); next == "" {
			t.folders.children[parent] = children
			return children, nil
		}
	}
}

// childPage reads the first page or the one a nextLink names. Graph's own page size here is 10.
func childPage(ctx context.Context, builder *users.ItemMailFoldersItemChildFoldersRequestBuilder, next string) (models.MailFolderCollectionResponseable, error) {
	if next != "" {
		return builder.WithUrl(next).Get(ctx, nil)
	}
	top := int32(100)
	return builder.Get(ctx, &users.ItemMailFoldersItemChildFoldersRequestBuilderGetRequestConfiguration{
		QueryParameters: &users.ItemMailFoldersItemChildFoldersRequestBuilderGetQueryParameters{
			Select: []string{"id", "displayName"}, Top: &top,
		},
	})
}

// create makes a folder through Graph, whose class is IPF.Note then; one made through IMAP is
// IPF.Imap and hidden by Outlook. If someone else made it meanwhile, that one is taken.
func (t *target) create(ctx context.Context, parent, name string) (migrate.TargetFolder, error) {
	const op = "create folder"
	var made models.MailFolderable
	exists := false
	err := t.graph(ctx, op, func(ctx context.Context, user *users.UserItemRequestBuilder) (err error) {
		body := models.NewMailFolder()
		body.SetDisplayName(&name)
		made, err = user.MailFolders().ByMailFolderId(parent).ChildFolders().Post(ctx, body, nil)
		var answer *graphError
		if errors.As(err, &answer) && (answer.Status == http.StatusConflict || answer.Code == "ErrorFolderExists") {
			exists, err = true, nil
		}
		return err
	})
	if err != nil {
		return migrate.TargetFolder{}, err
	}
	if exists {
		return t.relist(ctx, parent, name)
	}
	f := migrate.TargetFolder{ID: deref(made.GetId()), Path: []string{deref(made.GetDisplayName())}}
	t.folders.children[parent][nameKey(name)] = f
	t.folders.children[f.ID] = make(map[string]migrate.TargetFolder)
	return f, nil
}

func (t *target) relist(ctx context.Context, parent, name string) (migrate.TargetFolder, error) {
	delete(t.folders.children, parent)
	children, err := t.list(ctx, parent)
	if err != nil {
		return migrate.TargetFolder{}, err
	}
	f, ok := children[nameKey(name)]
	if !ok {
		return migrate.TargetFolder{}, &migrate.Error{Op: "create folder", Folder: name, Kind: migrate.NoFolder,
			Advice: hiddenAdvice, Err: errHidden}
	}
	return f, nil
}

// forgetFolders makes the next Folder ask again, because one was gone.
func (t *target) forgetFolders(ctx context.Context) {
	select {
	case t.folders.lock <- struct{}{}:
		t.folders.forget()
		<-t.folders.lock
	case <-ctx.Done():
	}
}
