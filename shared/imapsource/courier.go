package imapsource

import (
	"context"
	"fmt"
	"time"

	"mailferry/shared/migrate"
)

const (
	courierEpoch = 1_000_000_000  // of Courier's UIDVALIDITY, in Unix time (imap/imapscanclient.C, IMAP_EPOCH)
	lastingAge   = 24 * time.Hour // a UIDVALIDITY that is older is not the time of the EXAMINE, whatever the clocks say
)

// lasting finds out whether a folder's UIDs outlive the session. Courier keeps them in a file that EXAMINE
// does not write: until a mail program has opened the folder for writing, UIDVALIDITY is the time of each
// EXAMINE and UIDs are counted anew (courier-libs 2a13a23, imap/imapscanclient.C, do_imapscan_maildir2).
func (s *source) lasting(ctx context.Context, name string, validity uint32) error {
	if age := time.Since(time.Unix(courierEpoch+int64(validity), 0)); age.Abs() > lastingAge || s.lasts[name] == validity {
		return nil
	}
	second := time.NewTimer(1100 * time.Millisecond)
	defer second.Stop()
	select {
	case <-second.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	data, err := s.examine(name)
	if err != nil {
		return err
	}
	if data.UIDValidity != validity {
		return &migrate.Error{Kind: migrate.NoFolder, Err: fmt.Errorf("the server has another UIDVALIDITY each time, now %d and then %d", validity, data.UIDValidity),
			Advice: "Open the folder once with a mail program that signs in over IMAP, such as the owner's: from then on the server keeps what tells its messages apart."}
	}
	if s.lasts == nil {
		s.lasts = make(map[string]uint32)
	}
	s.lasts[name] = validity
	return nil
}
