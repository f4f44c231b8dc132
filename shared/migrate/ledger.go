package migrate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

// Outcome is what became of a source message.
type Outcome string

// The outcomes. Every message at the source has exactly one in the end.
const (
	Migrated     Outcome = "migrated"
	AlreadyThere Outcome = "found"   // looked up at the target after an unknown outcome, and there
	Skipped      Outcome = "skipped" // on purpose, with a reason
	NotMigrated  Outcome = "failed"  // could not be brought over, with a reason
	// LeftOut is by the endpoint's filter, with a reason. It counts as skipped, and any later record of
	// the message, after the filter changed, takes its place.
	LeftOut Outcome = "left-out"
)

// Record is one line of a ledger.
type Record struct {
	Epoch       int64   `json:"e"`
	UID         UID     `json:"u"`
	Outcome     Outcome `json:"o"`
	Reason      string  `json:"r,omitempty"`
	Key         string  `json:"k,omitempty"` // Fingerprint.Key; empty when another folder's record stands for the target's copy
	Octets      int64   `json:"n,omitempty"`
	Flags       []Flag  `json:"g,omitempty"` // the source's, as given to the target
	TargetValid uint32  `json:"tv,omitempty"`
	TargetUID   UID     `json:"tu,omitempty"`
}

// arrived reports whether the target has the message by our doing or finding.
func (r Record) arrived() bool { return r.Outcome == Migrated || r.Outcome == AlreadyThere }

// LedgerMark is how far a folder's ledger is known. A ledger is a row of append blobs, because one
// takes at most 50,000 blocks.
type LedgerMark struct {
	Generation int   `json:"generation,omitempty"` // a new one begins when UIDVALIDITY changes
	Segment    int   `json:"segment,omitempty"`
	Blocks     int   `json:"blocks,omitempty"`
	Length     int64 `json:"length,omitempty"`
}

const blocksPerSegment = 40_000

func folderKey(name string) string {
	h := sha256.Sum256([]byte(name))
	return hex.EncodeToString(h[:8])
}

// LedgerPrefix begins the name of each ledger blob of a mailbox.
func LedgerPrefix(id MailboxID) string { return "ledgers/" + string(id) + "/" }

func ledgerName(id MailboxID, folder string, generation, segment int) string {
	return fmt.Sprintf("%s%s/%04d-%04d.jsonl", LedgerPrefix(id), folder, generation, segment)
}

// appendRecords writes one block behind the mark and returns the new mark. When someone else has
// written there it fails with LostOwnership; when our own block stands there already (the answer of
// a first try got lost) it succeeds.
func appendRecords(ctx context.Context, s Store, id MailboxID, folder string, at LedgerMark, records []Record) (LedgerMark, error) {
	var block bytes.Buffer
	enc := json.NewEncoder(&block)
	for _, r := range records {
		if err := enc.Encode(r); err != nil {
			return at, fmt.Errorf("encode ledger record: %w", err)
		}
	}
	if at.Blocks >= blocksPerSegment {
		at = LedgerMark{Generation: at.Generation, Segment: at.Segment + 1}
	}
	name := ledgerName(id, folder, at.Generation, at.Segment)
	length, err := s.Append(ctx, name, block.Bytes(), at.Length)
	if errors.Is(err, ErrConflict) && tailIs(ctx, s, name, at.Length, block.Bytes()) {
		length, err = at.Length+int64(block.Len()), nil
	}
	if errors.Is(err, ErrConflict) {
		return at, &Error{Op: "append to ledger", Mailbox: string(id), Kind: LostOwnership, Err: err}
	}
	if err != nil {
		return at, fmt.Errorf("append to ledger: %w", err)
	}
	at.Blocks, at.Length = at.Blocks+1, length
	return at, nil
}

func tailIs(ctx context.Context, s Store, name string, offset int64, want []byte) bool {
	r, err := s.Open(ctx, name, offset)
	if err != nil {
		return false
	}
	defer r.Close()
	got, err := io.ReadAll(io.LimitReader(r, int64(len(want))+1))
	return err == nil && bytes.Equal(got, want)
}

// readTail yields the records behind the mark and returns the mark behind them. Blocks counts as one
// for all of them, which is never more than there are.
func readTail(ctx context.Context, s Store, id MailboxID, folder string, at LedgerMark, yield func(Record)) (LedgerMark, error) {
	for {
		n, err := readSegment(ctx, s, ledgerName(id, folder, at.Generation, at.Segment), at.Length, yield)
		if err != nil {
			return at, err
		}
		if n > 0 {
			at.Blocks, at.Length = at.Blocks+1, at.Length+n
		}
		if at.Blocks < blocksPerSegment {
			return at, nil
		}
		at = LedgerMark{Generation: at.Generation, Segment: at.Segment + 1}
	}
}

// readLedger yields every record of a folder's current generation up to the mark's segment. Of a
// UID that has several, because a predecessor's append came late, it yields the first; of one that was
// freed all, which may be about several messages. One that was left out comes last and only if it is
// that still.
func readLedger(ctx context.Context, s Store, id MailboxID, f *FolderCursor, yield func(Record)) error {
	seen := make(map[UID]uint64)    // a bit for each UID
	left := make(map[string]UIDSet) // by reason
	first := func(r Record) {
		if r.Outcome == LeftOut {
			uids := left[r.Reason]
			uids.Add(r.UID)
			left[r.Reason] = uids
			return
		}
		word, bit := r.UID/64, uint64(1)<<(r.UID%64)
		if seen[word]&bit == 0 || f.Freed.Contains(r.UID) {
			seen[word] |= bit
			yield(r)
		}
	}
	for segment := range f.Ledger.Segment + 1 {
		if _, err := readSegment(ctx, s, ledgerName(id, f.Key, f.Ledger.Generation, segment), 0, first); err != nil {
			return err
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(left)) {
		for uid := range left[reason].Descending {
			if seen[uid/64]&(1<<(uid%64)) == 0 {
				seen[uid/64] |= 1 << (uid % 64)
				yield(Record{UID: uid, Outcome: LeftOut, Reason: reason})
			}
		}
	}
	return nil
}

// readSegment yields the records of one blob from offset on and returns the octets read.
func readSegment(ctx context.Context, s Store, name string, offset int64, yield func(Record)) (int64, error) {
	body, err := s.Open(ctx, name, offset)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read ledger: %w", err)
	}
	defer body.Close()
	lines, n := bufio.NewReaderSize(body, 64<<10), int64(0)
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF && len(line) == 0 {
			return n, nil
		}
		if err != nil && err != io.EOF {
			return n, fmt.Errorf("read ledger: %w", err)
		}
		var r Record
		if jsonErr := json.Unmarshal(line, &r); jsonErr != nil || err == io.EOF {
			return n, &Error{Op: "read ledger", Kind: Corrupt, Err: fmt.Errorf("bad line at %d: %w", offset+n, errors.Join(jsonErr, err))}
		}
		n += int64(len(line))
		yield(r)
	}
}
