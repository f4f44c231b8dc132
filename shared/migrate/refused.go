package migrate

// maxRefusals is how often a folder that cannot be opened, or made at the target, holds the mailbox up.
const maxRefusals = 3

// refuse remembers how the last sync of the folder ended. A folder that failed too often is left to
// the next syncs, and the others go on: somebody else's folder whose owner took the access back would
// keep the mailbox from ever being synced. Verification counts it.
func (f *FolderCursor) refuse(err error) error {
	if err == nil {
		f.Refusals, f.Refusal = 0, ""
		return nil
	}
	f.Refusals, f.Refusal = f.Refusals+1, err.Error()
	if f.Refusals < maxRefusals {
		return err
	}
	return nil
}

func (f *FolderCursor) givenUp() bool { return f.Refusals >= maxRefusals }
