package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// amendTries is how often a blob is written against other instances.
const amendTries = 5

// amend reads a small blob that all instances share and writes it back if to changes it, against the
// writes of others: to may be called several times. One that does not exist or cannot be read is begun as
// fresh, and a newer program's is left alone. what names it in errors.
func amend[T any](ctx context.Context, s Store, name, what string, fresh T, to func(*T) bool) error {
	for range amendTries {
		content, tag, err := s.Get(ctx, name)
		condition := Condition{Match: tag}
		if errors.Is(err, ErrNotFound) {
			condition, err = Condition{Absent: true}, nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", what, err)
		}
		now, newer := readAmended(content, fresh)
		if newer || !to(&now) {
			return nil
		}
		content, err = json.Marshal(now)
		if err == nil {
			_, err = s.Put(ctx, name, content, nil, condition)
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return fmt.Errorf("write %s: %w", what, err)
		}
	}
	return &Error{Op: "write " + what, Kind: Throttled, RetryAfter: time.Second, Err: errors.New("others keep changing it")}
}

// amendVersion is the format of the blobs of amend that this program writes.
const amendVersion = 1

// readAmended gives fresh for what cannot be read or is a newer program's.
func readAmended[T any](content []byte, fresh T) (now T, newer bool) {
	var head struct {
		Version int `json:"v"`
	}
	now = fresh
	if content == nil || json.Unmarshal(content, &head) != nil || json.Unmarshal(content, &now) != nil {
		return fresh, false
	}
	if head.Version > amendVersion {
		return fresh, true
	}
	return now, false
}
