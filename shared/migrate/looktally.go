package migrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Extent is how much there is in a folder, in the folders of a mailbox, or in the mailboxes of a batch.
type Extent struct {
	Messages  int   `json:"messages"`
	Octets    int64 `json:"octets"`
	Estimated bool  `json:"estimated,omitempty"` // Octets is by samples, or not known in full
	Unsized   int   `json:"unsized,omitempty"`   // messages whose size is not known
	TooLarge  int   `json:"tooLarge,omitempty"`  // messages that come and are larger than LargestMessage, as far as known

	Filtered Portion `json:"filtered,omitzero"` // of these messages: what the endpoint's filters leave out
}

// Portion is some of the messages of an Extent.
type Portion struct {
	Messages  int   `json:"messages"`
	Octets    int64 `json:"octets"`
	Estimated bool  `json:"estimated,omitempty"` // both are by samples, or not known in full
}

// plus adds another extent.
func (e *Extent) plus(o Extent) {
	e.Messages, e.Octets, e.Estimated = e.Messages+o.Messages, e.Octets+o.Octets, e.Estimated || o.Estimated
	e.Unsized, e.TooLarge = e.Unsized+o.Unsized, e.TooLarge+o.TooLarge
	f := &e.Filtered
	f.Messages, f.Octets, f.Estimated = f.Messages+o.Filtered.Messages, f.Octets+o.Filtered.Octets, f.Estimated || o.Filtered.Estimated
}

// text is for a blob's metadata.
func (e Extent) text() string {
	f := e.Filtered
	return fmt.Sprint(e.Messages, e.Octets, e.Estimated, e.Unsized, e.TooLarge, f.Messages, f.Octets, f.Estimated)
}

// parseExtent reads the words that text wrote. Those that an older program did not write are zero.
func parseExtent(words []string) (e Extent) {
	f := &e.Filtered
	_, _ = fmt.Sscanln(strings.Join(words, " "), &e.Messages, &e.Octets, &e.Estimated, &e.Unsized, &e.TooLarge, &f.Messages, &f.Octets, &f.Estimated)
	return e
}

// LargeMessage is a message that is larger than the target takes.
type LargeMessage struct {
	UID      UID       `json:"uid"`
	Octets   int64     `json:"octets"`            // RFC822.SIZE
	Received time.Time `json:"received,omitzero"` // INTERNALDATE
}

// maxLarge is how many of them are named of a folder: the largest.
const maxLarge = 100

func compareLarge(a, b LargeMessage) int {
	return cmp.Or(cmp.Compare(b.Octets, a.Octets), cmp.Compare(a.UID, b.UID))
}

// tally sums up messages of a folder.
type tally struct {
	endpoint Endpoint
	headers  bool // dates that stand there are known
	undated  int
	filtered Portion
	messages int
	octets   int64
	sizeless int // of messages, those of which the server tells no size
	tooLarge int
	large    []LargeMessage
}

// maxSize is what a message or a folder can have: a larger number means nothing, and sums would overflow.
const maxSize = 1 << 50

// add counts a message.
func (t *tally) add(i MessageInfo, received time.Time) {
	if i.Size > maxSize {
		i.Size = 0
	}
	t.messages, t.octets = t.messages+1, t.octets+i.Size
	if i.Size == 0 {
		t.sizeless++
	}
	if received.IsZero() {
		t.undated++
	}
	if t.endpoint.leaves(i, received) {
		t.filtered.Messages, t.filtered.Octets = t.filtered.Messages+1, t.filtered.Octets+i.Size
	} else if i.Size > LargestMessage {
		t.tooLarge++
		if t.large = append(t.large, LargeMessage{i.UID, i.Size, i.Received}); len(t.large) >= 2*maxLarge {
			t.keepLargest()
		}
	}
}

func (t *tally) keepLargest() {
	slices.SortFunc(t.large, compareLarge)
	t.large = t.large[:min(len(t.large), maxLarge)]
}

// take concludes from messages that were chosen evenly, or all, to those of the folder.
func (f *LookedFolder) take(t *tally) {
	t.keepLargest()
	f.TooLarge, f.Large = t.tooLarge, t.large
	sized := t.messages - t.sizeless
	if f.Unsized = max(0, f.Messages-sized); f.Unsized == 0 {
		f.Octets, f.Estimated = t.octets, false
	} else if sized > 0 && !f.Sized {
		f.Octets, f.Estimated = int64(float64(t.octets)/float64(sized)*float64(f.Messages)), true
	}
	f.takeFiltered(t)
}

// takeFiltered does so for what is left out. A filter by date may ask for one that only a header tells: then
// what is known from the sample's stays.
func (f *LookedFolder) takeFiltered(t *tally) {
	if t.headers || t.undated == 0 || !t.endpoint.filtersDates() {
		share := float64(f.Messages) / float64(max(t.messages, 1))
		f.Filtered = Portion{
			Messages: int(math.Round(float64(t.filtered.Messages) * share)), Octets: int64(float64(t.filtered.Octets) * share),
			Estimated: t.endpoint.filters() && f.Unsized > 0,
		}
	}
	if f.Filtered.Octets = min(f.Filtered.Octets, f.Octets); f.Filtered.Messages == f.Messages {
		f.Filtered.Octets = f.Octets
	}
}
