package store

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// operations of the journal; put operations carry the whole new state.
const (
	opUser         = "user"
	opFolder       = "folder"
	opDeleteFolder = "deleteFolder"
	opItem         = "item"
	opDeparture    = "departure"
	opName         = "name"
)

// record is one line of the journal.
type record struct {
	Op      string  `json:"op"`
	Mailbox int     `json:"m"`
	User    *User   `json:"user,omitempty"`
	Folder  *Folder `json:"folder,omitempty"`
	Item    *Item   `json:"item,omitempty"`
	ID      uint64  `json:"id,omitempty"` // of what is deleted

	Departure *Departure `json:"departure,omitempty"`
	Name      string     `json:"name,omitempty"` // of a property
}

// journal appends records to a file, one JSON object a line and one write
// each, so that a killed process loses at most the line it was writing.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

// openJournal replays the journal at path and leaves it open for appending. A
// last line without its end was being written when the process died: it is cut
// off, as nobody was told that it had been done.
func openJournal(path string, replay func(record) error) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, err
	}
	end, err := replayAll(f, replay)
	if err == nil {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Seek(end, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &journal{file: f}, nil
}

// replayAll returns the offset after the last whole line.
func replayAll(r io.Reader, replay func(record) error) (int64, error) {
	br := bufio.NewReaderSize(r, 1<<20)
	var end int64
	for {
		line, err := br.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return 0, err
		}
		var rec record
		if err := json.Unmarshal(line, &rec); err != nil {
			return 0, fmt.Errorf("decode record at %d: %w", end, err)
		}
		if err := replay(rec); err != nil {
			return 0, fmt.Errorf("replay record at %d: %w", end, err)
		}
		end += int64(len(line))
	}
}

func (j *journal) write(r record) error {
	var b bytes.Buffer
	if err := json.NewEncoder(&b).Encode(r); err != nil {
		return fmt.Errorf("encode record: %w", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write journal: %w", err)
	}
	return nil
}

func (j *journal) close() error { return j.file.Close() }
