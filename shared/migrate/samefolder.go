package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// SameFolder is a folder that several mailboxes show, and that comes into each of them: a mountpoint
// in the user's own tree, as Zimbra has, looks like a folder of the user's.
type SameFolder struct {
	Messages int      `json:"messages"`
	Shown    []string `json:"shown"` // "address: path", in order
}

// minSame is how many messages make a folder worth a comparison: small ones are alike by chance.
const minSame = 5

// SameFolders finds folders of several mailboxes that have the same UIDVALIDITY, the same UIDs and the
// same messages, as the ledgers tell. It looks at what has been brought, and so finds nothing before.
func SameFolders(ctx context.Context, s Store, mailboxes []*Checkpoint) ([]SameFolder, error) {
	type shown struct {
		mailbox *Checkpoint
		folder  *FolderCursor
	}
	alike := make(map[string][]shown)
	for _, c := range mailboxes {
		for _, f := range c.Folders {
			if f.Done.Len() >= minSame && !f.Gone && !f.View && f.Use == "" {
				key := fmt.Sprint(f.UIDValidity, " ", f.Done)
				alike[key] = append(alike[key], shown{c, f})
			}
		}
	}
	var found []SameFolder
	for _, list := range alike {
		byMessages := make(map[string]*SameFolder)
		for _, x := range list {
			if len(list) < 2 {
				break
			}
			print, err := ledgerPrint(ctx, s, x.mailbox.Mailbox.ID, x.folder)
			if err != nil {
				return nil, err
			}
			if byMessages[print] == nil {
				byMessages[print] = &SameFolder{Messages: x.folder.Done.Len()}
			}
			same := byMessages[print]
			same.Shown = append(same.Shown, x.mailbox.Mailbox.Target.Address+": "+joinPath(x.folder.Path))
		}
		for _, same := range byMessages {
			if slices.Sort(same.Shown); len(same.Shown) > 1 {
				found = append(found, *same)
			}
		}
	}
	slices.SortFunc(found, func(a, b SameFolder) int { return strings.Compare(a.Shown[0], b.Shown[0]) })
	return found, nil
}

// ledgerPrint tells the messages of a folder by those with the lowest UIDs.
func ledgerPrint(ctx context.Context, s Store, id MailboxID, f *FolderCursor) (string, error) {
	const sample = 16
	lowest := make(map[UID]string)
	err := readLedger(ctx, s, id, f, func(r Record) {
		lowest[r.UID] = r.Key
		if len(lowest) > sample {
			top := UID(0)
			for u := range lowest {
				top = max(top, u)
			}
			delete(lowest, top)
		}
	})
	return fmt.Sprint(lowest), err // maps print in the order of their keys
}
