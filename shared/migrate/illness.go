package migrate

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// Illness is that a folder's server gave none of a window's messages, run after run. It may be the
// server that is ill, so nothing is recorded of them at first.
type Illness struct {
	Since time.Time `json:"since"` // the first time
	Runs  int       `json:"runs"`
	Epoch int64     `json:"epoch"` // the last of these runs
}

const (
	illRuns      = 3              // runs without a message, until the messages are to blame
	illFor       = time.Hour      // and the time over which they are spread
	provenIllFor = 24 * time.Hour // where messages that came before do not come any more either
)

// errNothingComes says that a folder is left for a later run because none of its messages comes.
var errNothingComes = errors.New("none of the messages that were asked for comes")

// suffer counts a run in which nothing came and returns why nothing is recorded yet; nil is that it is.
func (f *FolderCursor) suffer(w *window, epoch int64) error {
	if f.Ill == nil {
		f.Ill = &Illness{Since: time.Now().UTC()}
	}
	if f.Ill.Epoch != epoch {
		f.Ill.Runs, f.Ill.Epoch = f.Ill.Runs+1, epoch
	}
	patience := illFor
	if w.ill {
		patience = provenIllFor
	}
	if f.Ill.Runs >= illRuns && time.Since(f.Ill.Since) >= patience {
		f.Ill = nil // the next window has its own chances
		return nil
	}
	return &Error{Op: "read messages", Folder: f.Name, Kind: NoFolder,
		Advice: "Check the folder with a mail program at the source. It is tried again by itself; what does not come in the end is recorded with the server's words.",
		Err:    fmt.Errorf("%w; the server says: %s", errNothingComes, w.refusal)}
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
