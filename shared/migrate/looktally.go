package migrate

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// Extent is how much there is in a folder, in the folders of a mailbox, or in the mailboxes of a batch.
type Extent struct {
	Messages  int   `json:"messages"`
	Octets    int64 `json:"octets"`
	Estimated bool  `json:"estimated,omitempty"` // Octets is by samples, or not known in full
	Unsized   int   `json:"unsized,omitempty"`   // messages whose size is not known
	TooLarge  int   `json:"tooLarge,omitempty"`  // messages larger than LargestMessage, as far as known
}

// plus adds another extent.
func (e *Extent) plus(o Extent) {
	e.Messages, e.Octets, e.Estimated = e.Messages+o.Messages, e.Octets+o.Octets, e.Estimated || o.Estimated
	e.Unsized, e.TooLarge = e.Unsized+o.Unsized, e.TooLarge+o.TooLarge
}

// text is for a blob's metadata.
func (e Extent) text() string {
	return fmt.Sprint(e.Messages, " ", e.Octets, " ", e.Estimated, " ", e.Unsized, " ", e.TooLarge)
}

// parseExtent reads the words that text wrote. Those that an older program did not write are zero.
func parseExtent(words []string) (e Extent) {
	number := func(i int) int64 {
		if i >= len(words) {
			return 0
		}
		n, _ := strconv.ParseInt(words[i], 10, 64)
		return n
	}
	e.Messages, e.Octets, e.Estimated = int(number(0)), number(1), len(words) > 2 && words[2] == "true"
	e.Unsized, e.TooLarge = int(number(3)), int(number(4))
	return e
}

// LargeMessage is a message that is larger than the target takes.
type LargeMessage struct {
	UID      UID       `json:"uid"`
	Octets   int64     `json:"octets"` // RFC822.SIZE
	Received time.Time `json:"received,omitzero"`
}

// maxLarge is how many of them are named of a folder: the largest.
const maxLarge = 100

func compareLarge(a, b LargeMessage) int {
	return cmp.Or(cmp.Compare(b.Octets, a.Octets), cmp.Compare(a.UID, b.UID))
}

// tally sums up messages of a folder.
type tally struct {
	messages int
	octets   int64
	sizeless int // of messages, those of which the server tells no size
	tooLarge int
	large    []LargeMessage
}

// add counts a message.
func (t *tally) add(i MessageInfo, received time.Time) {
	t.messages, t.octets = t.messages+1, t.octets+i.Size
	if i.Size == 0 {
		t.sizeless++
	}
	if i.Size > LargestMessage {
		t.tooLarge++
		if t.large = append(t.large, LargeMessage{i.UID, i.Size, received}); len(t.large) >= 2*maxLarge {
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
}
