package servicebus

import "container/heap"

// heapOf is a priority queue of T, the least first.
type heapOf[T any] struct {
	items []T
	less  func(a, b T) bool
}

func (h *heapOf[T]) Len() int           { return len(h.items) }
func (h *heapOf[T]) Less(i, j int) bool { return h.less(h.items[i], h.items[j]) }
func (h *heapOf[T]) Swap(i, j int)      { h.items[i], h.items[j] = h.items[j], h.items[i] }
func (h *heapOf[T]) Push(x any)         { h.items = append(h.items, x.(T)) }

func (h *heapOf[T]) Pop() any {
	last := len(h.items) - 1
	item := h.items[last]
	var zero T
	h.items[last] = zero
	h.items = h.items[:last]
	return item
}

func (h *heapOf[T]) add(item T) { heap.Push(h, item) }

func (h *heapOf[T]) removeFirst() T { return heap.Pop(h).(T) }

// keep removes every item that keep refuses.
func (h *heapOf[T]) keep(keep func(T) bool) {
	kept := h.items[:0]
	for _, item := range h.items {
		if keep(item) {
			kept = append(kept, item)
		}
	}
	clear(h.items[len(kept):])
	h.items = kept
	heap.Init(h)
}
