package store

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// picture describes everything a store holds, hidden folders included.
func picture(t *testing.T, s *Store) string {
	t.Helper()
	var all []any
	for _, m := range s.Mailboxes() {
		all = append(all, m.User(), m.Messages(), m.Folders(), m.NewestFirst(RecoverableID), m.nextItem, m.nextFolder)
		for _, f := range m.folders {
			all = append(all, map[uint64]any{f.ID: []any{f.UIDNext, f.bytes, f.unread, f.listUIDs()}})
		}
	}
	all = append(all, s.Departures())
	var lines []string
	for _, v := range all {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, string(b))
	}
	slices.Sort(lines) // maps are in no order
	return strings.Join(lines, "\n")
}

// fill does a bit of everything and returns after each change how long the
// journal was and what the store looked like.
func fill(t *testing.T, dir string) (ends []int64, pictures []string) {
	s := open(t, dir)
	note := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(dir, "journal"))
		if err != nil {
			t.Fatal(err)
		}
		ends, pictures = append(ends, info.Size()), append(pictures, picture(t, s))
	}
	note(s.AddUser(User{UserPrincipalName: "a@x.test", Licensed: true}))
	m, _ := s.Mailbox("a@x.test")
	add := func(folder uint64, text string, flags Flags) *Item {
		b, err := s.Receive(strings.NewReader(text), int64(len(text)))
		if err != nil {
			t.Fatal(err)
		}
		it, err := m.Add(folder, NewItem{Body: b, Flags: flags})
		note(err)
		return it
	}
	one := add(InboxID, "Message-ID: <1>\r\nSubject: Grüße\r\n\r\n", Seen)
	two := add(InboxID, "Message-ID: <2>\r\n\r\n", 0)
	f, err := m.CreateFolder(RootID, "A", ClassIMAP)
	note(err)
	_, err = m.Update(two.ID, func(it *Item) { it.Flags |= Flagged; it.Properties = map[string]string{"String 0x1": "x\n"} })
	note(err)
	_, err = m.Move(one.ID, f.ID)
	note(err)
	_, err = m.Copy(two.ID, f.ID)
	note(err)
	_, err = m.RenameFolder(f.ID, ArchiveID, "B")
	note(err)
	note(m.Delete(two.ID))
	note(s.Depart(m, Mail, "b@y.test"))
	note(m.FillQuota(1000))
	note(m.DeleteFolder(f.ID))
	add(InboxID, "Message-ID: <3>\r\n\r\n", MDNSent)
	return ends, pictures
}

// cuts lists where a kill may cut a journal: at the ends of its records and in
// each of them behind its first octet, in the middle and before its last one.
func cuts(journal []byte) []int {
	all := []int{0}
	for at := 0; at < len(journal); {
		end := at + bytes.IndexByte(journal[at:], '\n') + 1
		all = append(all, at+1, (at+end)/2, end-1, end)
		at = end
	}
	return all
}

// TestKilledAnywhere cuts the journal as a kill does and opens it: all that was
// told to be done is there, and nothing half.
func TestKilledAnywhere(t *testing.T) {
	from := t.TempDir()
	ends, pictures := fill(t, from)
	journal, err := os.ReadFile(filepath.Join(from, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	bodies, err := os.ReadFile(filepath.Join(from, "bodies"))
	if err != nil {
		t.Fatal(err)
	}
	if ends[len(ends)-1] != int64(len(journal)) {
		t.Fatalf("journal has %d octets, want %d", len(journal), ends[len(ends)-1])
	}
	dir := t.TempDir()
	reopen := func(cut int) string {
		t.Helper()
		for name, text := range map[string][]byte{"journal": journal[:cut], "bodies": bodies} {
			if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s, err := Open(Options{Dir: dir})
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		defer s.Close()
		return picture(t, s)
	}
	done := -1
	for _, cut := range cuts(journal) {
		if done+1 < len(ends) && int64(cut) == ends[done+1] {
			done++
		}
		got := reopen(cut)
		if done >= 0 && int64(cut) == ends[done] && got != pictures[done] {
			t.Fatalf("cut after change %d: got\n%s\nwant\n%s", done, got, pictures[done])
		}
		if after := journalEnd(t, dir); after != int64(bytes.LastIndexByte(journal[:cut], '\n')+1) {
			t.Fatalf("cut at %d: %d octets of the journal were kept", cut, after)
		}
	}
}

func journalEnd(t *testing.T, dir string) int64 {
	info, err := os.Stat(filepath.Join(dir, "journal"))
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestWritesAfterTheCut shows that a store cut in the middle of a record goes on
// without a scar, and keeps the sums of what was appended.
func TestWritesAfterTheCut(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir)
	path := filepath.Join(dir, "journal")
	if err := os.Truncate(path, journalEnd(t, dir)-5); err != nil {
		t.Fatal(err)
	}
	s, err := Open(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	m, _ := s.Mailbox("a@x.test")
	b, err := s.Receive(strings.NewReader("Message-ID: <4>\r\n\r\n"), 19)
	if err != nil {
		t.Fatal(err)
	}
	it, err := m.Add(InboxID, NewItem{Body: b})
	if err != nil || it.UID != 3 {
		t.Fatalf("got %+v, %v, want UID 3 again, as nobody was told of it", it, err)
	}
	want := picture(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir)
	if got := picture(t, s); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	m, _ = s.Mailbox("a@x.test")
	if got := m.Messages()[0].SHA256; got != b.SHA256 || len(got) != 64 {
		t.Errorf("got SHA-256 %q, want %q", got, b.SHA256)
	}
}
