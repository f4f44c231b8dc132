package migrate

import "errors"

// maxRefusals is how often a folder that cannot be opened or listed, or made at the target, holds the mailbox up.
const maxRefusals = 3

// refuse remembers how the last sync of the folder ended. A folder that failed too often is left to
// the next syncs, and the others go on: somebody else's folder whose owner took the access back would
// keep the mailbox from ever being synced. Verification counts it.
func (f *FolderCursor) refuse(err error) error {
	if err == nil {
		f.Refusals, f.Refusal = 0, ""
		return nil
	}
	if errors.Is(err, errNothingComes) {
		return err // has a count of its own
	}
	f.Refusals, f.Refusal = f.Refusals+1, err.Error()
	if f.Refusals < maxRefusals {
		return err
	}
	return nil
}

// unknown gives an outcome to messages that may have been written and cannot be looked up, because the
// folder is not opened any more.
func (f *FolderCursor) unknown(intent *Intent, epoch int64) (records []Record) {
	for u := range intent.UIDs.Minus(f.Done).Descending {
		records = append(records, Record{Epoch: epoch, UID: u, Outcome: NotMigrated,
			Reason: "it may have been written, and the source server does not open its folder to look it up"})
	}
	return records
}

// givenUp reports whether the mailbox goes on without the folder.
func (f *FolderCursor) givenUp() bool { return f.Refusals >= maxRefusals }
