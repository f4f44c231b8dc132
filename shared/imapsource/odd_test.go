package imapsource

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/courier"
	"mailferry/infra/local/cyrus"
	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
)

// place puts messages on a server's disk, which takes what no client could append.
func place(t *testing.T, s server, items []dovecot.Item) {
	t.Helper()
	var err error
	switch s := s.(type) {
	case dovecotServer:
		err = s.Fill(t.Context(), "u", items)
	case *cyrus.Server:
		err = s.Place(t.Context(), "u", items)
	case *courier.Server:
		if err = s.Place(t.Context(), "u", items); err == nil {
			err = s.Select(t.Context(), "u")
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// stored returns the files of the user's INBOX in the order of their messages.
func stored(t *testing.T, s server) []string {
	t.Helper()
	pattern := ""
	switch s := s.(type) {
	case dovecotServer:
		pattern = filepath.Join(s.MailDir("u"), "cur", "*")
	case *courier.Server:
		pattern = filepath.Join(s.MailDir("u"), "cur", "*")
	case *cyrus.Server:
		dir, err := s.Spool(t.Context(), "u")
		if err != nil {
			t.Fatal(err)
		}
		pattern = filepath.Join(dir, "*.")
	}
	files, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// inCRLF has a CR before every LF.
func inCRLF(text []byte) []byte {
	return bytes.ReplaceAll(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
}

func sinceEpoch(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

// oddTimes are files' times that no mail has.
var oddTimes = []time.Time{
	sinceEpoch(-3600), sinceEpoch(0), sinceEpoch(1),
	sinceEpoch(math.MaxInt32), sinceEpoch(math.MaxInt32 + 1),
	sinceEpoch(math.MaxUint32 - 1), sinceEpoch(math.MaxUint32 + 2),
	time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
}

// oddMail is mail that is none, or hardly.
func oddMail() (items []dovecot.Item) {
	at := time.Date(2015, 7, 1, 12, 0, 0, 0, time.UTC)
	long := strings.Repeat("long ", 14_000)
	for _, text := range []string{
		"", "\r\n", "x", "no header\r\n", "\r\nan empty header\r\n", "Subject: no body",
		"Subject: nul\r\n\r\na\x00b\x00\r\n", "Subject: nul\x00in the header\r\n\r\nx\r\n", "\x00\x00\x00",
		"Subject: bare LF\n\nlines\nof it\n", "Subject: bare CR\r\n\r\na\rb\r\rc\r\n", "Subject: bare CR\rX: in the header\r\n\r\nx\r\n",
		"Subject: \xe4\xff\r\nX-\xe4: y\r\n\r\n\xfe\r\n", "Subject: long\r\n\r\n" + long + "\r\n", "Subject: " + long + "\r\n\r\nx\r\n",
	} {
		items = append(items, dovecot.Item{Folder: "INBOX", Message: []byte(text), Received: at})
	}
	for _, received := range oddTimes {
		items = append(items, dovecot.Item{Folder: "INBOX", Message: fmt.Appendf(nil, "Subject: %d\r\n\r\nx\r\n", received.Unix()), Received: received})
	}
	return items
}

// asShown is what a server makes of what lies on its disk; false is nothing.
func asShown(name string, item dovecot.Item) (dovecot.Item, bool) {
	switch name {
	case "dovecot":
		item.Message = bytes.ReplaceAll(item.Message, []byte("\x00"), []byte("\x80")) // see TestDovecotShowsWhatIsNoMail
		item.Message = inCRLF(item.Message)
		item.Received = sinceEpoch(int64(uint32(item.Received.Unix())))
	case "cyrus":
		item.Received = sinceEpoch(int64(uint32(item.Received.Unix())))
		return item, len(item.Message) > 0
	case "courier":
		item.Message = inCRLF(item.Message)
		if item.Received.Unix() < 0 {
			item.Received = time.Time{} // it tells 1969; see readDate
		}
	}
	return item, true
}

// TestServersGiveOddMail puts what is no mail, and odd dates, on the disk of each server: the source gives
// whatever the server gives, octet by octet.
func TestServersGiveOddMail(t *testing.T) {
	eachServer(t, func(t *testing.T, name string, server server) {
		items := oddMail()
		place(t, server, items)
		var want []string
		for _, item := range items {
			if name == "cyrus" && item.Received.Unix() == 0 {
				continue // below
			}
			if item, comes := asShown(name, item); comes {
				want = append(want, wanted(item))
			}
		}
		got := shown(t, dial(t, endpointOf(server, migrate.SecurityTLS)))
		if name == "cyrus" { // reconstruct takes the present for 1970-01-01 00:00:00
			got = slices.DeleteFunc(got, func(line string) bool { return strings.Contains(line, fmt.Sprint(time.Now().UTC().Year())) })
			if len(got) != len(want) {
				t.Errorf("%d messages came, want %d and one of today", len(got), len(want))
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		for _, line := range difference(got, want) {
			t.Errorf("shown and not given: %s", line)
		}
		for _, line := range difference(want, got) {
			t.Errorf("given and not shown: %s", line)
		}
	})
}

// TestServersGiveALargeMessage has each server give a message of 150 MiB.
func TestServersGiveALargeMessage(t *testing.T) {
	part := bytes.Repeat([]byte("All work and no play makes Jack a dull boy, and so on for years.\r\n"), 1000)
	text := slices.Concat([]byte("Subject: large\r\n\r\n"), bytes.Repeat(part, 150<<20/len(part)+1))
	sum := sha256.Sum256(text)
	eachServer(t, func(t *testing.T, name string, server server) {
		place(t, server, []dovecot.Item{{Message: text, Received: time.Now()}})
		s := dial(t, endpointOf(server, migrate.SecurityNone))
		if _, err := s.Open(t.Context(), "INBOX"); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		err := s.Fetch(t.Context(), migrate.UIDsOf(1), func(_ migrate.MessageInfo, octets int64, body io.Reader) error {
			h := sha256.New()
			n, err := io.Copy(h, body)
			if n != octets || n != int64(len(text)) || !bytes.Equal(h.Sum(nil), sum[:]) {
				t.Errorf("%d octets of %d announced and %d given came", n, octets, len(text))
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		t.Logf("%d MiB in %s", len(text)>>20, time.Since(start).Round(time.Millisecond))
	})
}

// TestServersLoseFiles takes files from under each server: no other message suffers, and what does not
// come is reported.
func TestServersLoseFiles(t *testing.T) {
	text := func(i int) string { return fmt.Sprintf("Subject: %d\r\n\r\n%s", i, strings.Repeat("x\r\n", 20)) }
	var items []dovecot.Item
	for i := range 7 {
		items = append(items, dovecot.Item{Message: []byte(text(i + 1)), Received: time.Unix(1e9, 0)})
	}
	eachServer(t, func(t *testing.T, name string, server server) {
		place(t, server, items)
		s := dial(t, endpointOf(server, migrate.SecurityNone))
		if state, err := s.Open(t.Context(), "INBOX"); err != nil || state.Messages != 7 {
			t.Fatalf("%+v: %v", state, err)
		}
		files := stored(t, server)
		for _, err := range []error{os.Remove(files[1]), os.Chmod(files[3], 0), os.Truncate(files[5], 10)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		got, refused, err := sorted(t, s, migrate.UIDsOf(1, 2, 3, 4, 5, 6, 7))
		if err != nil {
			t.Fatal(err)
		}
		for _, uid := range []migrate.UID{1, 3, 5, 7} {
			if got[uid] != text(int(uid)) {
				t.Errorf("UID %d came as %q", uid, got[uid])
			}
		}
		words := map[string]string{
			"dovecot": "Internal error occurred", "cyrus": "OK without this message",
			"courier": "This message is no longer available on the server",
		}
		if why := fmt.Sprint(refused[4]); !strings.Contains(why, words[name]) || !strings.Contains(why, `"INBOX" (UID 4)`) {
			t.Errorf("of the file that cannot be opened it says: %s", why)
		}
		if text, came := got[2]; came {
			t.Errorf("the file that is gone came as %q", text)
		}
		if why, told := refused[2]; told != (name == "cyrus") { // whose index still has it
			t.Errorf("of the file that is gone it says: %v", why)
		}
		switch cut, came := got[6]; name {
		case "dovecot":
			if why := fmt.Sprint(refused[6]); !strings.Contains(why, "at octet 10 of") {
				t.Errorf("of the file that was cut it says: %s", why)
			}
		case "cyrus": // fills up with spaces
			if want := text(6)[:10] + strings.Repeat(" ", len(text(6))-10); cut != want {
				t.Errorf("the file that was cut came as %q", cut)
			}
		case "courier":
			if !came || cut != text(6)[:10] {
				t.Errorf("the file that was cut came as %q", cut)
			}
		}
	})
}

// TestDovecotWrongSizes has files whose names tell wrong sizes, which Dovecot believes. Every other message
// comes; those that do not are reported.
func TestDovecotWrongSizes(t *testing.T) {
	server := realServer(t, "u")
	text := "Subject: x\r\n\r\nabc\r\ndef\r\n"
	var items []dovecot.Item
	for range 10 {
		items = append(items, dovecot.Item{Message: []byte(text), Received: time.Unix(1e9, 0)})
	}
	if err := server.Fill(t.Context(), "u", items); err != nil {
		t.Fatal(err)
	}
	for i, sizes := range map[int]string{
		1: ",S=3", 2: ",S=300", 3: ",S=3,W=3", 4: ",S=300,W=300",
		5: ",W=300", // it finds out while it sends, and gives the file another name
		6: ",W=3",   // it does not find out
	} {
		file := stored(t, dovecotServer{server})[i]
		name, _, _ := strings.Cut(file, ",S=")
		if err := os.Rename(file, name+sizes+":2,"); err != nil {
			t.Fatal(err)
		}
	}
	s := dial(t, endpoint(server, migrate.SecurityNone))
	fetch := func() (got map[migrate.UID]string, refused, changed map[migrate.UID]error) {
		if _, err := s.Open(t.Context(), "INBOX"); err != nil {
			t.Fatal(err)
		}
		uids, err := s.UIDs(t.Context(), 1, ^migrate.UID(0))
		if err != nil {
			t.Fatal(err)
		}
		got, refused, changed = map[migrate.UID]string{}, map[migrate.UID]error{}, map[migrate.UID]error{}
		err = s.Fetch(t.Context(), uids, func(info migrate.MessageInfo, _ int64, body io.Reader) error {
			switch text, err := io.ReadAll(body); {
			case err == nil:
				got[info.UID] = string(text)
			case migrate.ReasonOf(err) == migrate.Changed:
				changed[info.UID] = err
			default:
				refused[info.UID] = err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got, refused, changed
	}
	got, refused, changed := fetch()
	for _, uid := range []migrate.UID{1, 8, 9, 10} {
		if got[uid] != text {
			t.Errorf("UID %d came as %q", uid, got[uid])
		}
	}
	if len(refused) != 4 || len(changed) != 1 || changed[6] == nil || got[7] != text[:3] {
		t.Errorf("refused %v, changed %v, cut %q", refused, changed, got[7])
	}
	for uid := migrate.UID(2); uid <= 5; uid++ {
		if migrate.KindOf(refused[uid]) != migrate.Unreadable || !strings.Contains(fmt.Sprint(refused[uid]), fmt.Sprintf("(UID %d)", uid)) {
			t.Errorf("UID %d is refused: %v", uid, refused[uid])
		}
	}
	got, _, changed = fetch()
	if _, old := got[6]; old || len(changed) != 0 || got[11] != text {
		t.Errorf("UID 6 did not come again as UID 11: %v, %v", got, changed)
	}
}

// TestManyUnreadableInARow has Dovecot end the connection at one message after the other, for whatever is
// asked but flags and dates.
func TestManyUnreadableInARow(t *testing.T) {
	server := realServer(t, "u")
	var items []dovecot.Item
	for i := range 80 {
		items = append(items, dovecot.Item{Message: fmt.Appendf(nil, "Subject: %d\r\n\r\nx\r\n", i), Received: time.Unix(1e9, 0)})
	}
	if err := server.Fill(t.Context(), "u", items); err != nil {
		t.Fatal(err)
	}
	bad := migrate.UIDSet{}
	bad.AddRange(21, 60)
	for i, file := range stored(t, dovecotServer{server}) {
		name, _, _ := strings.Cut(file, ",S=")
		if !bad.Contains(migrate.UID(i + 1)) {
			continue
		}
		if err := os.Rename(file, name+",S=3:2,"); err != nil {
			t.Fatal(err)
		}
	}
	s := dial(t, endpoint(server, migrate.SecurityNone))
	if _, err := s.Open(t.Context(), "INBOX"); err != nil {
		t.Fatal(err)
	}
	var all, described, came migrate.UIDSet
	all.AddRange(1, 80)
	err := s.Describe(t.Context(), all, func(info migrate.MessageInfo) error { described.Add(info.UID); return nil })
	if err != nil || described.Len() != 80 {
		t.Errorf("%s are described: %v", described, err)
	}
	got, refused, err := sorted(t, s, all)
	for uid := range got {
		came.Add(uid)
	}
	if err != nil || came.String() != "1:20,61:80" || len(refused) != 40 {
		t.Errorf("%s came, %d are refused: %v", came, len(refused), err)
	}
	for _, few := range []migrate.UIDSet{migrate.UIDsOf(1, 30), migrate.EveryUID()} {
		if _, uids, _, err := dial(t, endpoint(server, migrate.SecurityNone)).Survey(t.Context(), "INBOX", few); err != nil || uids.Len() != 80 {
			t.Errorf("the survey: %s: %v", uids, err)
		}
	}
	// Nothing comes of these, but the server is known to be well.
	if got, refused, err := sorted(t, s, migrate.UIDsOf(30, 31)); err != nil || len(got) != 0 || len(refused) != 2 {
		t.Errorf("%d came, %d are refused: %v", len(got), len(refused), err)
	}
}

// TestCourierWithoutLastingUIDs opens a folder that no mail program has ever opened, and then one that has
// been.
func TestCourierWithoutLastingUIDs(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	server, err := courier.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	if err := server.AddUser(ctx, "u", "pw"); err != nil {
		t.Fatal(err)
	}
	if err := server.Place(ctx, "u", []dovecot.Item{{Message: []byte("Subject: x\r\n\r\nx\r\n")}}); err != nil {
		t.Fatal(err)
	}
	s := dial(t, endpointOf(server, migrate.SecurityNone))
	_, _, _, err = s.Survey(ctx, "INBOX", migrate.UIDSet{})
	if wantKind(t, err, migrate.NoFolder); !strings.Contains(fmt.Sprint(err), "another UIDVALIDITY each time") {
		t.Error(err)
	}
	if err := server.Select(ctx, "u"); err != nil {
		t.Fatal(err)
	}
	if _, uids, _, err := s.Survey(ctx, "INBOX", migrate.UIDSet{}); err != nil || uids.Len() != 1 {
		t.Errorf("%s, %v", uids, err)
	}
}

// TestDovecotWrongSizesAllTheWay runs a migration of a mailbox that an anti-virus program has been through:
// what Dovecot gives arrives, also what it gives under another UID, and the rest has an outcome with its words.
func TestDovecotWrongSizesAllTheWay(t *testing.T) {
	server := realServer(t, "u")
	var items []dovecot.Item
	for i := range 40 {
		items = append(items, dovecot.Item{Message: fmt.Appendf(nil, "Message-ID: <%d@example.com>\r\nSubject: %02[1]d\r\n\r\nx\r\n", i), Received: time.Unix(1e9, 0)})
	}
	if err := server.Fill(t.Context(), "u", items); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i, file := range stored(t, dovecotServer{server}) {
		sizes := map[int]string{5: ",S=3,W=3", 11: ",S=3", 12: ",S=3", 13: ",S=300", 38: ",S=300,W=300"}[i]
		if i%10 == 7 {
			sizes = ",W=300"
		}
		if sizes == "" || i%10 == 7 {
			want = append(want, fmt.Sprintf("(inbox): %02d", i))
		}
		if sizes == "" {
			continue
		}
		name, _, _ := strings.Cut(file, ",S=")
		if err := os.Rename(file, name+sizes+":2,"); err != nil {
			t.Fatal(err)
		}
	}
	m := startMigration(t, endpoint(server, migrate.SecurityNone), nil)
	c := m.passes(2)
	m.want(want...)
	if n := c.Counts(); n.Failed != 5 || c.Problem != nil {
		t.Errorf("%+v, %+v", n, c.Problem)
	}
	for _, r := range m.world.Records(t, m.box.Mailbox.ID, c.Folders[0]) {
		if r.Outcome == migrate.NotMigrated && !strings.Contains(r.Reason, "Internal error occurred") && !strings.Contains(r.Reason, "at octet") {
			t.Errorf("%+v", r)
		}
	}
}
