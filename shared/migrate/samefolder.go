package migrate

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
)

// SameFolder is a folder that several mailboxes show, and that comes into each of them: a mountpoint
// in the user's own tree, as Zimbra has, looks like a folder of the user's.
type SameFolder struct {
	Messages int      `json:"messages"`
	Shown    []string `json:"shown"`          // "address: path", in order
	More     int      `json:"more,omitempty"` // mailboxes that show it, too
}

const (
	// minSame is how many messages make a folder worth a comparison: small ones are alike by chance.
	minSame  = 5
	maxShown = 50   // mailboxes that a SameFolder names
	maxAlike = 1000 // folders that are pointed out
)

// sight is a folder of a mailbox, each by its place in a list.
type sight struct{ mailbox, folder int32 }

// sameFinder finds folders of several mailboxes that are one, by UIDVALIDITY, UIDs and some messages: as
// pre-flight saw them, or as checkpoint and ledger have them. It keeps some octets of each folder.
type sameFinder struct {
	seed  maphash.Seed
	first map[uint64]sight
	alike map[uint64][]sight // with the first
}

func newSameFinder() *sameFinder {
	return &sameFinder{seed: maphash.MakeSeed(), first: make(map[uint64]sight), alike: make(map[uint64][]sight)}
}

// see takes note of a mailbox's folders. Report may be nil.
func (s *sameFinder) see(mailbox int, c *Checkpoint, report *PreflightReport) {
	for i, key := range printsOf(c, report) {
		if key == "" {
			continue
		}
		at, sum := sight{int32(mailbox), int32(i)}, maphash.String(s.seed, key)
		if first, seen := s.first[sum]; !seen {
			s.first[sum] = at
		} else if len(s.alike[sum]) == 0 {
			s.alike[sum] = []sight{first, at}
		} else {
			s.alike[sum] = append(s.alike[sum], at)
		}
	}
}

// printsOf tells with which others the folders of a report, or else of a checkpoint, may be one; nothing
// stands for one that is not compared.
func printsOf(c *Checkpoint, report *PreflightReport) (prints []string) {
	if report != nil {
		for _, f := range report.Folders {
			prints = append(prints, f.Alike)
		}
		return prints
	}
	for _, f := range c.Folders {
		print := ""
		if f.Done.Len() >= minSame && !f.Gone && !f.View && f.Use == "" {
			print = alike(f.UIDValidity, f.Done)
		}
		prints = append(prints, print)
	}
	return prints
}

// folders reads the mailboxes with folders that are alike once more and returns those that are one.
func (s *sameFinder) folders(ctx context.Context, store Store, ids []MailboxID) ([]SameFolder, error) {
	wanted := make(map[int32][]int32) // folders by mailbox
	for _, sights := range s.alike {
		for _, x := range sights {
			wanted[x.mailbox] = append(wanted[x.mailbox], x.folder)
		}
	}
	mailboxes := make([]int32, 0, len(wanted))
	for mailbox := range wanted {
		mailboxes = append(mailboxes, mailbox)
	}
	var mu sync.Mutex
	same := make(map[string]*SameFolder)
	err := atOnce(ctx, len(mailboxes), func(ctx context.Context, i int) error {
		c, report, err := loadLooked(ctx, store, ids[mailboxes[i]])
		if err != nil {
			return err
		}
		for _, folder := range wanted[mailboxes[i]] {
			print, text, n, err := exactPrint(ctx, store, c, report, int(folder))
			if err != nil {
				return err
			}
			mu.Lock()
			if same[print] == nil {
				same[print] = &SameFolder{Messages: n}
			}
			same[print].Shown = append(same[print].Shown, text)
			mu.Unlock()
		}
		return nil
	})
	var found []SameFolder
	for print, x := range same {
		if len(x.Shown) < 2 || print == "" {
			continue
		}
		slices.Sort(x.Shown)
		if n := len(x.Shown); n > maxShown {
			x.Shown, x.More = slices.Clone(x.Shown[:maxShown]), n-maxShown
		}
		found = append(found, *x)
	}
	slices.SortFunc(found, func(a, b SameFolder) int { return strings.Compare(a.Shown[0], b.Shown[0]) })
	return found[:min(len(found), maxAlike)], err
}

// exactPrint tells a folder from all others, with its messages. One that changed meanwhile has none.
func exactPrint(ctx context.Context, s Store, c *Checkpoint, report *PreflightReport, i int) (print, text string, messages int, err error) {
	prints := printsOf(c, report)
	if i >= len(prints) || prints[i] == "" {
		return "", "", 0, nil
	}
	address := c.Mailbox.Target.Address + ": "
	if report != nil {
		f := report.Folders[i]
		return prints[i] + f.Print, address + f.Path, f.Messages, nil
	}
	f := c.Folders[i]
	print, err = ledgerPrint(ctx, s, c.Mailbox.ID, f)
	if print != "" {
		print = prints[i] + print
	}
	return print, address + joinPath(f.Path), f.Done.Len(), err
}

// ledgerPrint tells a folder from those that are alike by the messages that pre-flight would take.
func ledgerPrint(ctx context.Context, s Store, id MailboxID, f *FolderCursor) (string, error) {
	sample, keys := spread(f.Done, sampleLeast), make(map[UID]string)
	err := readLedger(ctx, s, id, f, func(r Record) {
		if sample.Contains(r.UID) {
			keys[r.UID] = r.Key
		}
	})
	return folderPrint(keys), err
}

// blobsAtOnce is how many mailboxes of a batch are read at once.
const blobsAtOnce = 16

// atOnce calls do for 0 to n-1, several at a time, and returns the first error, which ends the others.
func atOnce(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(n, blobsAtOnce) {
		workers.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	workers.Wait()
	return context.Cause(ctx)
}
