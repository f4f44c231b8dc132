package migrate

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// Illness is that none of a window's messages came, run after run. It may be the server that is ill, or the
// line, so nothing is recorded of them at first.
type Illness struct {
	Since time.Time `json:"since"` // the first time
	Runs  int       `json:"runs"`
	Epoch int64     `json:"epoch"` // the last of these runs
}

const (
	illRuns      = 3              // runs without a message, until the messages are to blame
	illFor       = time.Hour      // and the time over which they are spread
	provenIllFor = 24 * time.Hour // where messages that came before do not come any more either
	slowFor      = 24 * time.Hour // where the line is too slow: at night it may not be
)

// errNothingComes says that a folder is left for a later run because none of its messages comes.
var errNothingComes = errors.New("none of the messages that were asked for comes")

// hopes counts a run in which nothing came and reports whether it may come yet.
func hopes(ill **Illness, patience time.Duration, epoch int64) bool {
	if *ill == nil {
		*ill = &Illness{Since: time.Now().UTC()}
	}
	i := *ill
	if i.Epoch != epoch {
		i.Runs, i.Epoch = i.Runs+1, epoch
	}
	if i.Runs >= illRuns && time.Since(i.Since) >= patience {
		*ill = nil // the next window has its own chances
		return false
	}
	return true
}

// suffer counts a run in which nothing came and returns why nothing is recorded yet; nil is that it is.
func (f *FolderCursor) suffer(w *window, epoch int64) error {
	patience := illFor
	if w.ill {
		patience = provenIllFor
	}
	if !hopes(&f.Ill, patience, epoch) {
		return nil
	}
	return &Error{Op: "read messages", Folder: f.Name, Kind: NoFolder,
		Advice: "Check the folder with a mail program at the source. It is tried again by itself; what does not come in the end is recorded with the server's words.",
		Err:    fmt.Errorf("%w; the server says: %s", errNothingComes, w.refusal)}
}

// crawl counts a run that ended, as told by ended, while it read its first message: each one after it would end
// so, too. Zero is that it was not for that.
func (f *FolderCursor) crawl(uid UID, epoch int64, ended error) ([]Record, error) {
	switch {
	case uid == 0:
		return nil, ended
	case !hopes(&f.Slow, slowFor, epoch):
		return []Record{{Epoch: epoch, UID: uid, Outcome: NotMigrated, Reason: "a whole run was too short to read it, again and again for a day"}}, ended
	}
	return nil, &Error{Op: "read messages", Folder: f.Name, UID: uid, Kind: NoFolder,
		Advice: "Set RUN_BUDGET higher, and functionTimeout in host.json above twice that, or give the endpoint fewer slots, so that fewer mailboxes share its line. The message is tried again by itself.",
		Err:    fmt.Errorf("%w: a whole run was too short to read this one", errNothingComes)}
}

// tooSlow returns the message of the window whose octets were on their way for most of the run; 0 is none.
func (r *reader) tooSlow(w *window) UID {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.waits || time.Since(w.since) < r.run.Limits.Budget/2 { // for a place in the spool, or the run was busy with something else
		return 0
	}
	return w.reading
}

// illLast puts folders of which nothing came the last time behind the others.
func illLast(folders []*FolderCursor) []*FolderCursor {
	well := func(f *FolderCursor) bool { return f.Ill == nil && f.Slow == nil }
	ill := slices.DeleteFunc(slices.Clone(folders), well)
	return append(slices.DeleteFunc(slices.Clone(folders), func(f *FolderCursor) bool { return !well(f) }), ill...)
}

// gave reports whether a message of the window came, or nothing at all of the folder.
func (r *reader) gave(w *window) (came, nothing bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return w.came, w.over && w.nothing
}

// blameless finds out whether the server still gives a message of the folder that came before, if nothing
// of a window came. Then it is the messages that are to blame.
func (h *hand) blameless(w *window) (err error) {
	h.mu.Lock()
	probes := w.shelf.came
	if past := w.shelf.past; past != nil {
		probes.Union(past.anchored().And(w.shelf.listing.existing))
	}
	probes = probes.Minus(w.uids).Newest(maxAnchors)
	h.mu.Unlock()
	came := false
	for uid := range probes.Descending {
		err = h.source.Fetch(h.ctx, UIDsOf(uid), func(_ MessageInfo, _ int64, body io.Reader) error {
			_, err := io.Copy(io.Discard, body)
			came = err == nil
			if KindOf(err) == Unreadable {
				err = nil
			}
			return at(err, uid)
		})
		if uidOf(err) == uid { // it ends the connection: it does not come either
			err = nil
			break
		}
		if err != nil || came {
			break
		}
	}
	h.change(func() { w.nothing, w.ill = !came, !probes.Empty() && !came })
	return err
}

// headerless finds out whether the server still gives the header of a message of the open folder that
// came before, if none of those came that are in doubt; otherwise it is waited for as for messages.
func (m *mailboxRun) headerless(f *FolderCursor) error {
	came := false
	err := m.source.Headers(m.ctx, f.anchored(), func(MessageInfo, []byte) error { came = true; return nil })
	if err != nil || came {
		return err
	}
	return f.suffer(&window{ill: len(f.Anchors) > 0, refusal: "nothing of their headers"}, m.cp.Epoch)
}
