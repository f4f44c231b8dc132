package graph

import (
	"testing"
	"time"
)

// TestWindow shows a sliding window: what was counted leaves it one by one, and the wait is as long as
// it takes until there is room.
func TestWindow(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w := window{length: 100 * time.Second}
	for i := range 4 {
		w.add(start.Add(time.Duration(i)*10*time.Second), 5)
	}
	for _, tt := range []struct {
		after time.Duration
		limit int64
		want  time.Duration
	}{
		{30 * time.Second, 21, 0}, {30 * time.Second, 20, 70 * time.Second}, {30 * time.Second, 15, 80 * time.Second},
		{30 * time.Second, 1, 100 * time.Second}, {99 * time.Second, 20, time.Second}, {100 * time.Second, 20, 0},
		{100 * time.Second, 11, 10 * time.Second}, {100 * time.Second, -1, 0}, {130 * time.Second, 1, 0},
	} {
		if got := w.wait(start.Add(tt.after), tt.limit); got != tt.want {
			t.Errorf("after %v with limit %d: got %v, want %v", tt.after, tt.limit, got, tt.want)
		}
	}
	w = window{length: 100 * time.Second}
	for i := range 10_000 {
		w.add(start.Add(time.Duration(i)*time.Millisecond), 1)
	}
	if len(w.parts) > 100 || w.sum != 10_000 {
		t.Errorf("got %d parts with %d", len(w.parts), w.sum)
	}
}
