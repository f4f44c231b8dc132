package migrate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// How many messages pre-flight reads the headers of.
const (
	sampleMailbox = 2000 // about, over all folders
	sampleMost    = 200  // of a folder
	sampleLeast   = 16   // of a folder, and those that its print is made of
	breaksLeft    = 3    // connections that may break over a folder before it is left alone
)

// lookInto counts a folder that comes, reads a sample of its headers and asks for the size of every
// message. A mailbox of total messages spreads its sample over the folders by their size.
func (m *mailboxRun) lookInto(f *LookedFolder, total int) error {
	f.Estimated, f.Unsized = !f.Sized && f.Messages > 0, f.Messages // until more is known
	f.Filtered = Portion{Estimated: m.endpoint.filters() && f.Messages > 0}
	uids, err := m.sample(f, min(max(sampleMailbox*f.Messages/max(total, 1), sampleLeast), sampleMost))
	if err != nil {
		return m.trouble(f, err)
	}
	if f.Sampled == f.Messages {
		return nil
	}
	err = m.measure(f, uids)
	f.Looked = !errors.Is(err, errBudget) // else the sample is enough
	return err
}

// trouble notes why a folder could not be looked into, or returns it.
func (m *mailboxRun) trouble(f *LookedFolder, err error) error {
	if m.ctx.Err() != nil {
		return err
	}
	switch Judge(err, 0).Action {
	case SkipFolder, SkipMessage:
		f.Trouble = err.Error()
		return nil
	case Reconnect:
		m.looking.news = true
		if f.Breaks++; f.Breaks == breaksLeft {
			f.Trouble, f.Looked = err.Error(), true
		}
	}
	return err
}

// sample reads headers that are spread evenly over a folder. It returns the UIDs of all messages.
func (m *mailboxRun) sample(f *LookedFolder, quota int) (UIDSet, error) {
	state, uids, _, err := m.source.Survey(m.ctx, f.Name, UIDSet{})
	if err != nil {
		return uids, err
	}
	f.Messages = max(uids.Len(), state.Messages)
	prints, keys := spread(uids, sampleLeast), make(map[UID]string)
	wanted := spread(uids, quota)
	wanted.Union(prints)
	days, seen := make(dateTally), &tally{endpoint: m.endpoint, headers: true}
	err = m.source.Headers(m.ctx, wanted, func(info MessageInfo, header []byte) error {
		received := m.endpoint.Received.Of(info.Received, header)
		seen.add(info, received)
		days.add(received, header)
		if prints.Contains(info.UID) {
			keys[info.UID] = ""
			if !m.endpoint.leaves(info, received) {
				keys[info.UID] = ReadFingerprint(header, received, m.Words).Key()
			}
		}
		return nil
	})
	if err != nil {
		return uids, err
	}
	f.Sampled, f.Days, f.Alike, f.Print = seen.messages, days.days(), "", ""
	if print := folderPrint(keys); print != "" && len(keys) == prints.Len() {
		f.Alike, f.Print = alike(state.UIDValidity, uids), print
	}
	f.take(seen)
	return uids, nil
}

// alike is what folders share that may be one.
func alike(validity uint32, uids UIDSet) string {
	return shortSum(validity, uids)
}

// folderPrint tells folders apart that are alike by some messages: their keys as the ledger has them, empty
// for one that is left out. Nothing is returned for too few.
func folderPrint(keys map[UID]string) string {
	known := 0
	for _, key := range keys {
		if key != "" {
			known++
		}
	}
	if known < minSame {
		return ""
	}
	return shortSum(keys) // maps print in the order of their keys
}

func shortSum(values ...any) string {
	sum := sha256.New()
	fmt.Fprintln(sum, values...)
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// spread returns n UIDs of a set, or all if there are fewer: the first, the last, and others evenly in
// between. Equal sets give equal samples.
func spread(uids UIDSet, n int) UIDSet {
	size := uids.Len()
	if n >= size || n < 2 {
		return uids.Clone()
	}
	var chosen UIDSet
	before, i := 0, 0 // UIDs of the ranges behind us; chosen so far
	for _, r := range uids.Ranges() {
		length := int(r.Last-r.First) + 1
		for ; i < n; i++ {
			rank := int(int64(i) * int64(size-1) / int64(n-1))
			if rank >= before+length {
				break
			}
			chosen.Add(r.First + UID(rank-before))
		}
		before += length
	}
	return chosen
}
