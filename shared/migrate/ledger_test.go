package migrate

import (
	"bytes"
	"context"
	"io"
	"slices"
	"testing"
)

// memory is a Store of append blobs, as far as a ledger needs one.
type memory struct {
	Store
	blobs map[string][]byte
}

func (s memory) Append(_ context.Context, name string, block []byte, at int64) (int64, error) {
	if int64(len(s.blobs[name])) != at {
		return 0, ErrConflict
	}
	s.blobs[name] = append(s.blobs[name], block...)
	return int64(len(s.blobs[name])), nil
}

func (s memory) Open(_ context.Context, name string, offset int64) (io.ReadCloser, error) {
	if s.blobs[name] == nil {
		return nil, ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(s.blobs[name][offset:])), nil
}

const ledgerOf = MailboxID("e/0123456789abcdef0123456789abcdef")

func record(uid UID, o Outcome) Record {
	return Record{Epoch: 1, UID: uid, Outcome: o, Key: "k", Flags: []Flag{Seen}}
}

func appended(t *testing.T, s Store, at LedgerMark, records ...Record) LedgerMark {
	t.Helper()
	mark, err := appendRecords(t.Context(), s, ledgerOf, "f", at, records)
	if err != nil {
		t.Fatal(err)
	}
	return mark
}

func uids(t *testing.T, read func(func(Record)) error) (list []UID) {
	t.Helper()
	if err := read(func(r Record) { list = append(list, r.UID) }); err != nil {
		t.Fatal(err)
	}
	return list
}

func TestLedger(t *testing.T) {
	s := memory{blobs: make(map[string][]byte)}
	first := appended(t, s, LedgerMark{}, record(1, Migrated), record(2, Skipped))
	second := appended(t, s, first, record(3, Migrated))
	if again := appended(t, s, first, record(3, Migrated)); again != second {
		t.Errorf("its own block, written twice, gives %+v, want %+v", again, second)
	}
	if _, err := appendRecords(t.Context(), s, ledgerOf, "f", first, []Record{record(4, Migrated)}); KindOf(err) != LostOwnership {
		t.Errorf("writing where someone else wrote: %v", err)
	}
	var mark LedgerMark
	tail := uids(t, func(yield func(Record)) (err error) {
		mark, err = readTail(t.Context(), s, ledgerOf, "f", first, yield)
		return err
	})
	if !slices.Equal(tail, []UID{3}) || mark != second {
		t.Errorf("tail %v up to %+v, want %+v", tail, mark, second)
	}
	last := appended(t, s, second, record(2, Migrated), record(9, Migrated)) // late, of a predecessor
	all := uids(t, func(yield func(Record)) error {
		return readLedger(t.Context(), s, ledgerOf, &FolderCursor{Key: "f", Ledger: last}, yield)
	})
	if !slices.Equal(all, []UID{1, 2, 3, 9}) {
		t.Errorf("all %v", all)
	}
}

// TestLedgerSegments goes on in another blob before the first has all its blocks.
func TestLedgerSegments(t *testing.T) {
	s := memory{blobs: make(map[string][]byte)}
	at := appended(t, s, LedgerMark{Generation: 2}, record(1, Migrated))
	at.Blocks = blocksPerSegment
	full := at
	at = appended(t, s, at, record(2, Migrated))
	if at.Segment != 1 || at.Blocks != 1 || len(s.blobs) != 2 {
		t.Errorf("%+v over %d blobs", at, len(s.blobs))
	}
	var mark LedgerMark
	tail := uids(t, func(yield func(Record)) (err error) {
		mark, err = readTail(t.Context(), s, ledgerOf, "f", full, yield)
		return err
	})
	if !slices.Equal(tail, []UID{2}) || mark != at {
		t.Errorf("tail %v up to %+v, want %+v", tail, mark, at)
	}
	all := uids(t, func(yield func(Record)) error {
		return readLedger(t.Context(), s, ledgerOf, &FolderCursor{Key: "f", Ledger: at}, yield)
	})
	if !slices.Equal(all, []UID{1, 2}) {
		t.Errorf("all %v", all)
	}
}

func FuzzLedger(f *testing.F) {
	f.Add([]byte("{\"u\":1,\"o\":\"migrated\"}\n{\"u\":2}\n"))
	f.Add([]byte("{\"u\":1}"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := memory{blobs: map[string][]byte{ledgerName(ledgerOf, "f", 0, 0): content}}
		mark, err := readTail(t.Context(), s, ledgerOf, "f", LedgerMark{}, func(Record) {})
		if err == nil && mark.Length != int64(len(content)) || err != nil && KindOf(err) != Corrupt {
			t.Errorf("%d of %d octets, %v", mark.Length, len(content), err)
		}
	})
}
