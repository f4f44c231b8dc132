package servicebus

import (
	"fmt"
	"time"

	"github.com/Azure/go-amqp"
)

// maxHistory is how many message ids a queue remembers. The service names no
// limit; this one bounds the memory of this process.
const maxHistory = 1 << 18

// history remembers message ids for as long as duplicates are looked for. It
// outlives the messages: completing or cancelling one doesn't free its id
// (https://learn.microsoft.com/azure/service-bus-messaging/duplicate-detection).
type history struct {
	window time.Duration // 0: off
	limit  int           // of ids
	until  map[string]time.Time
	order  []string // the keys of until, oldest first
}

// isDuplicate says whether the message's id was seen within the window, and
// remembers it.
func (h *history) isDuplicate(now time.Time, content *amqp.Message) bool {
	if h.window == 0 || content.Properties == nil || content.Properties.MessageID == nil {
		return false
	}
	id := fmt.Sprintf("%T:%v", content.Properties.MessageID, content.Properties.MessageID)
	if _, seen := h.until[id]; seen {
		return true
	}
	h.until[id] = now.Add(h.window)
	h.order = append(h.order, id)
	return false
}

func (h *history) forget(now time.Time) {
	for len(h.order) > 0 && !h.until[h.order[0]].After(now) {
		delete(h.until, h.order[0])
		h.order = h.order[1:]
	}
}
