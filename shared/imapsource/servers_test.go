package imapsource

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/courier"
	"mailferry/infra/local/cyrus"
	"mailferry/infra/local/dovecot"
	mail "mailferry/infra/local/sample"
	"mailferry/shared/migrate"
)

// server is a real one.
type server interface {
	AddUser(ctx context.Context, login, password string) error
	Fill(ctx context.Context, login string, items []dovecot.Item) error
	TLSAddr() (string, int)
	PlainAddr() (string, int)
	CA() []byte
	EndSessions(ctx context.Context, login string) error
	Stop() error
}

// dovecotServer has the others' AddUser.
type dovecotServer struct{ *dovecot.Server }

func (s dovecotServer) AddUser(_ context.Context, login, password string) error {
	return s.Server.AddUser(login, password)
}

var servers = map[string]func(context.Context) (server, error){
	"dovecot": func(ctx context.Context) (server, error) {
		s, err := dovecot.Start(ctx, dovecot.Options{})
		return dovecotServer{s}, err
	},
	"cyrus":   func(ctx context.Context) (server, error) { return cyrus.Start(ctx) },
	"courier": func(ctx context.Context) (server, error) { return courier.Start(ctx) },
}

// eachServer runs a test against every real server, with a user "u".
func eachServer(t *testing.T, test func(t *testing.T, name string, s server)) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			test(t, name, startServer(t, start))
		})
	}
}

func endpointOf(s server, security migrate.Security) migrate.Endpoint {
	host, port := s.PlainAddr()
	if security == migrate.SecurityTLS {
		host, port = s.TLSAddr()
	}
	return migrate.Endpoint{Host: host, Port: port, Security: security, Auth: "auto", CA: string(s.CA())}
}

// sameMail is what every server is given: sample mail in every folder, and what is hard to carry.
func sameMail() []dovecot.Item {
	items := mail.Mailbox(11, "anna@example.com", 120)
	at := time.Date(2015, 7, 1, 12, 0, 0, 0, time.FixedZone("", 2*3600))
	for i, text := range []string{
		"Subject: 8 bit \xe4 in the header\r\n\r\nand \xff\xfe below\r\n",
		"no header at all\r\n",
		"Subject: no body\r\n\r\n",
		"Subject: looks like IMAP\r\n\r\na)b {5}\r\n* 1 EXPUNGE\r\na1 OK done\r\n)",
		"Subject: no line end at the end\r\n\r\nthe end",
		"Subject: one long line\r\n\r\n" + strings.Repeat("long", 50_000) + "\r\n",
	} {
		items = append(items, dovecot.Item{Folder: "INBOX", Message: []byte(text), Received: at.Add(time.Duration(i) * time.Hour)})
	}
	items = append(items, dovecot.Item{Folder: "INBOX", Message: []byte("Subject: deleted\r\n\r\n"), Received: at, Flags: []string{`\Deleted`, `\Seen`}})
	return items
}

// wanted describes a message as the source is to show it.
func wanted(item dovecot.Item) string {
	uses := map[string]migrate.SpecialUse{
		"INBOX": migrate.UseInbox, "Sent": migrate.UseSent, "Drafts": migrate.UseDrafts, "Trash": migrate.UseTrash,
		"Junk": migrate.UseJunk, "Archive": migrate.UseArchive,
	}
	slices.Sort(item.Flags)
	return fmt.Sprintf("%s %s %v %s %d %x", item.Folder, uses[item.Folder], item.Flags, item.Received.UTC().Format(time.RFC3339),
		len(item.Message), sha256.Sum256(item.Message))
}

// shown describes a whole mailbox as the source shows it.
func shown(t *testing.T, s migrate.Source) (out []string) {
	t.Helper()
	folders, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		if !f.Selectable {
			continue
		}
		state, err := s.Open(t.Context(), f.Name)
		if err != nil {
			t.Fatal(err)
		}
		uids, err := s.UIDs(t.Context(), 1, ^migrate.UID(0))
		if err != nil || uids.Len() != state.Messages || state.UIDValidity == 0 || !uids.Empty() && state.UIDNext <= uids.Max() {
			t.Fatalf("%s: %+v, UIDs %s, %v", f.Name, state, uids, err)
		}
		err = s.Fetch(t.Context(), uids, func(info migrate.MessageInfo, octets int64, body io.Reader) error {
			h := sha256.New()
			n, err := io.Copy(h, body)
			if n != octets || info.Size != octets {
				t.Errorf("%s, UID %d: %d octets announced, %d read, size %d", f.Name, info.UID, octets, n, info.Size)
			}
			slices.Sort(info.Flags)
			out = append(out, fmt.Sprintf("%s %s %v %s %d %x", strings.Join(f.Path, "/"), f.Use, info.Flags,
				info.Received.UTC().Format(time.RFC3339), n, h.Sum(nil)))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestServersSideBySide gives three servers the same mail: the source shows the same folders,
// messages, dates, flags and octets of each, over every kind of connection.
func TestServersSideBySide(t *testing.T) {
	eachServer(t, func(t *testing.T, name string, server server) {
		items := slices.DeleteFunc(sameMail(), func(item dovecot.Item) bool {
			// "NO Message contains invalid header"
			return name == "cyrus" && bytes.HasPrefix(item.Message, []byte("no header"))
		})
		var want []string
		for _, item := range items {
			if name == "courier" && !bytes.HasSuffix(item.Message, []byte("\n")) {
				item.Message = append(slices.Clip(item.Message), "\r\n"...) // it ends every message with a line end
			}
			want = append(want, wanted(item))
		}
		slices.Sort(want)
		if err := server.Fill(t.Context(), "u", items); err != nil {
			t.Fatal(err)
		}
		for _, security := range []migrate.Security{migrate.SecurityTLS, migrate.SecuritySTARTTLS, migrate.SecurityNone} {
			got := shown(t, dial(t, endpointOf(server, security)))
			slices.Sort(got)
			for _, line := range difference(got, want) {
				t.Errorf("%s: shown and not given: %s", security, line)
			}
			for _, line := range difference(want, got) {
				t.Errorf("%s: given and not shown: %s", security, line)
			}
		}
	})
}

// difference returns what a has more than b; both are sorted.
func difference(a, b []string) (more []string) {
	for _, line := range a {
		for len(b) > 0 && b[0] < line {
			b = b[1:]
		}
		if len(b) > 0 && b[0] == line {
			b = b[1:]
			continue
		}
		more = append(more, line)
	}
	return more
}

// TestServersDescribeAlike has every server say the same of a message whenever it is asked: as the folder
// is surveyed, over another connection, and with its octets. By that, UIDs given anew are found out.
func TestServersDescribeAlike(t *testing.T) {
	eachServer(t, func(t *testing.T, name string, server server) {
		var items []dovecot.Item
		for i := range 9 {
			items = append(items, dovecot.Item{Folder: "INBOX", Received: time.Date(2015, 7, 1, i, 0, 0, 0, time.UTC),
				Message: fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("x", i))})
		}
		if err := server.Fill(t.Context(), "u", items); err != nil {
			t.Fatal(err)
		}
		told := make(map[string]int)
		tell := func(info migrate.MessageInfo) {
			told[fmt.Sprint(info.UID, " ", info.Size, " ", info.Received.Unix())]++
		}
		few := migrate.UIDsOf(3, 8, 9)
		for range 2 {
			s := dial(t, endpointOf(server, migrate.SecurityTLS))
			_, uids, described, err := s.Survey(t.Context(), "INBOX", few)
			if err != nil || uids.Len() != 9 || len(described) != 3 {
				t.Fatalf("%s, %+v, %v", uids, described, err)
			}
			for _, info := range described {
				tell(info)
			}
			err = s.Fetch(t.Context(), few, func(info migrate.MessageInfo, _ int64, body io.Reader) error {
				tell(info)
				_, err := io.Copy(io.Discard, body)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for what, times := range told {
			if times != 4 {
				t.Errorf("%q is said %d times", what, times)
			}
		}
	})
}

// TestServersTakeCommandsTogether asks real servers in as few round trips as there are: of all folders at
// once they say what they say of each, and a folder is opened together with the FETCH for it.
func TestServersTakeCommandsTogether(t *testing.T) {
	eachServer(t, func(t *testing.T, name string, server server) {
		var items []dovecot.Item
		for i := range 40 {
			items = append(items, dovecot.Item{Folder: []string{"INBOX", "A", "B", "C"}[i%4], Received: time.Date(2015, 7, 1, i, 0, 0, 0, time.UTC),
				Message: fmt.Appendf(nil, "Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("x", i))})
		}
		if err := server.Fill(t.Context(), "u", items); err != nil {
			t.Fatal(err)
		}
		s := dial(t, endpointOf(server, migrate.SecurityTLS))
		folders, err := s.Folders(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, f := range folders {
			if f.Selectable {
				names = append(names, f.Name)
			}
		}
		found, err := s.SurveyNew(t.Context(), names)
		if want := len(names); err != nil || len(found) != want && name != "courier" { // which tells no UIDNEXT
			t.Fatalf("%d of %d folders, %v", len(found), want, err)
		}
		states := make([]migrate.FolderState, len(names))
		for i, folder := range names {
			state, uids, described, err := s.Survey(t.Context(), folder, migrate.EveryUID())
			if err != nil {
				t.Fatal(err)
			}
			if states[i] = state; i < len(found) && !reflect.DeepEqual(found[i], migrate.Surveyed{State: state, UIDs: uids, Described: described}) {
				t.Errorf("%s: %+v, want %+v %s %+v", folder, found[i], state, uids, described)
			}
		}
		for i, folder := range names {
			s.Aim(folder, states[i].UIDValidity, nil)
			n := 0
			err := s.Fetch(t.Context(), migrate.EveryUID(), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
				n++
				_, err := io.Copy(io.Discard, body)
				return err
			})
			if err != nil || n != states[i].Messages {
				t.Errorf("%s: %d messages came, %v, want %d", folder, n, err, states[i].Messages)
			}
		}
	})
}

// TestServersGoOnInsideAMessage cuts the connection within a large message of each server.
func TestServersGoOnInsideAMessage(t *testing.T) {
	item := mail.Large(3 << 20)
	eachServer(t, func(t *testing.T, name string, server server) {
		if err := server.Fill(t.Context(), "u", []dovecot.Item{item}); err != nil {
			t.Fatal(err)
		}
		e := endpointOf(server, migrate.SecurityNone)
		e.Port = cutting(t, e.Port, 1<<20)
		s := dial(t, e)
		if _, err := s.Open(t.Context(), "INBOX"); err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		err := s.Fetch(t.Context(), migrate.UIDsOf(1), func(_ migrate.MessageInfo, _ int64, body io.Reader) error {
			_, err := io.Copy(&got, body)
			return err
		})
		if err != nil || !bytes.Equal(got.Bytes(), item.Message) {
			t.Errorf("%d octets of %d came: %v", got.Len(), len(item.Message), err)
		}
		if s.(*source).noPartial {
			t.Error("the server's parts were not trusted")
		}
	})
}
