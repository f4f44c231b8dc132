package imapsource

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/cyrus"
	"mailferry/infra/local/deposit"
	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

func mailIn(folders ...string) (items []dovecot.Item) {
	for _, folder := range folders {
		items = append(items, dovecot.Item{Folder: folder, Message: []byte("Message-ID: <" + folder + "@example.com>\r\nSubject: " + folder + "\r\n\r\n"), Received: time.Unix(1e9, 0)})
	}
	return items
}

// What u's mailbox, bert's and nobody's hold. Of bert's, u may read Team and Team's below, may see that Shut is
// there, and knows nothing of INBOX and Private.
var (
	mailOfU    = mailIn("INBOX", "Sent", "Team")
	mailOfBert = mailIn("INBOX", "Sent", "Team", "Team/Deep", "Shut", "Private")
)

// seen describes what u sees below a UserRoot as "path=role@space: messages".
func seen(t *testing.T, e migrate.Endpoint, root string) (lines []string) {
	t.Helper()
	s, err := Dialer{Password: password}.Dial(t.Context(), e, migrate.Mailbox{Login: "u", UserRoot: root})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	folders, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range folders {
		line := strings.Join(f.Path, ">") + "=" + string(f.Use)
		if f.Space != migrate.Own {
			line += "@" + string(f.Space)
		}
		if !f.Selectable {
			lines = append(lines, line)
			continue
		}
		state, err := s.Open(t.Context(), f.Name)
		if err != nil {
			wantKind(t, err, migrate.NoFolder)
			lines = append(lines, line+": closed")
			continue
		}
		lines = append(lines, line+": "+strconv.Itoa(state.Messages))
	}
	return lines
}

func wantSeen(t *testing.T, e migrate.Endpoint, root string, want ...string) {
	t.Helper()
	if got := seen(t, e, root); !slices.Equal(got, want) {
		t.Errorf("below %q u sees\n%s\nwant\n%s", root, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// others are the lines of a namespace for bert's folders.
func others(prefix string) []string {
	lines := []string{"=@other-users", ">bert=@other-users", ">bert>Shut=@other-users: closed", ">bert>Team=@other-users: 1", ">bert>Team>Deep=@other-users: 1"}
	for i, line := range lines {
		lines[i] = prefix + line
	}
	return lines
}

var belowBert = []string{"Shut=: closed", "Team=: 1", "Team>Deep=: 1"}

// TestCyrusSpaces has u see folders of bert's and of nobody's, under every way of naming them.
func TestCyrusSpaces(t *testing.T) {
	own := []string{"INBOX=inbox: 1", "Sent=sent: 1", "Team=: 1"}
	for names, want := range map[cyrus.Names]struct {
		listed []string
		roots  []string // of bert's folders
	}{
		{}:                          {slices.Concat(own[:1], others("Other Users"), own[1:2], []string{"Shared Folders=@shared", "Shared Folders>Board=@shared: 0"}, own[2:]), []string{"Other Users/bert"}},
		{Dots: true}:                {slices.Concat(own[:1], others("Other Users"), own[1:2], []string{"Shared Folders=@shared", "Shared Folders>Board=@shared: 0"}, own[2:]), []string{"Other Users.bert", "Other Users/bert"}},
		{Classic: true}:             {slices.Concat(own[:1], []string{"Board=@shared: 0"}, own[1:], others("user")), []string{"user/bert"}},
		{Dots: true, Classic: true}: {slices.Concat(own[:1], []string{"Board=@shared: 0"}, own[1:], others("user")), []string{"user.bert", "user/bert"}},
	} {
		t.Run(fmt.Sprintf("%+v", names), func(t *testing.T) {
			s, err := cyrus.StartWith(t.Context(), names)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Stop() })
			for login, items := range map[string][]dovecot.Item{"u": mailOfU, "bert": mailOfBert} {
				if err := s.AddUser(t.Context(), login, "pw"); err != nil {
					t.Fatal(err)
				}
				if err := s.Fill(t.Context(), login, items); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.MakeShared(t.Context(), "Board"); err != nil { // anybody may read it: defaultacl
				t.Fatal(err)
			}
			for folder, rights := range map[string]string{"Team": "lrs", "Team/Deep": "lr", "Shut": "l"} {
				if err := s.Grant(t.Context(), s.Folder("bert", folder), "u", rights); err != nil {
					t.Fatal(err)
				}
			}
			e := endpointOf(s, migrate.SecurityNone)
			wantSeen(t, e, "", want.listed...)
			e.IncludeOtherUsers, e.IncludeShared = true, true
			wantSeen(t, e, "", want.listed...)
			for _, root := range want.roots {
				wantSeen(t, e, root, belowBert...)
			}
			if err := s.Grant(t.Context(), s.Folder("bert", ""), "u", "lr"); err != nil {
				t.Fatal(err)
			}
			wantSeen(t, e, want.roots[0], slices.Concat([]string{"INBOX=inbox: 1"}, belowBert)...)
		})
	}
}

// sharingDovecot has bert give u rights to some of his folders.
func sharingDovecot(t *testing.T, layout dovecot.Layout) (server *dovecot.Server, bert deposit.Account) {
	t.Helper()
	server = laidOut(t, layout)
	if err := server.AddUser("bert", "pw"); err != nil {
		t.Fatal(err)
	}
	for login, items := range map[string][]dovecot.Item{"u": mailOfU, "bert": mailOfBert} {
		if err := server.Fill(t.Context(), login, items); err != nil {
			t.Fatal(err)
		}
	}
	host, port := server.PlainAddr()
	bert = deposit.Account{Addr: net.JoinHostPort(host, strconv.Itoa(port)), Login: "bert", Password: "pw"}
	for folder, rights := range map[string]string{"Team": "lrs", "Team/Deep": "lr", "Shut": "l"} {
		name := layout.Prefix + strings.ReplaceAll(folder, "/", cmp.Or(layout.Separator, "/"))
		if err := deposit.Grant(t.Context(), bert, name, "u", rights); err != nil {
			t.Fatal(err)
		}
	}
	return server, bert
}

// TestDovecotSpaces is TestCyrusSpaces with the namespace that Dovecot's documentation has.
func TestDovecotSpaces(t *testing.T) {
	own := []string{"INBOX=inbox: 1", "Sent=sent: 1", "Team=: 1"}
	for name, layout := range map[string]dovecot.Layout{
		"slash": {Shared: true}, "dot and prefix": {Shared: true, Separator: ".", Prefix: "INBOX."},
	} {
		t.Run(name, func(t *testing.T) {
			server, bert := sharingDovecot(t, layout)
			e := endpoint(server, migrate.SecurityNone)
			listed := slices.Concat(own[:2], others("shared"), own[2:])
			wantSeen(t, e, "", listed...)
			e.IncludeOtherUsers = true
			wantSeen(t, e, "", listed...)
			wantSeen(t, e, "shared/bert", belowBert...)
			if err := deposit.Grant(t.Context(), bert, "INBOX", "u", "lr"); err != nil {
				t.Fatal(err)
			}
			wantSeen(t, e, "shared/bert", slices.Concat([]string{"INBOX=inbox: 1"}, belowBert)...)
		})
	}
}

// TestUserRootThatIsNotThere is an error, and no empty mailbox.
func TestUserRootThatIsNotThere(t *testing.T) {
	server := laidOut(t, dovecot.Layout{Prefix: "INBOX/"})
	if err := server.Fill(t.Context(), "u", mailOfU); err != nil {
		t.Fatal(err)
	}
	s, err := Dialer{Password: password}.Dial(t.Context(), endpoint(server, migrate.SecurityNone), migrate.Mailbox{Login: "u", UserRoot: "user/bert"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Folders(t.Context())
	if wantKind(t, err, migrate.Configuration); migrate.ReasonOf(err) != migrate.NoRoot || !strings.Contains(err.Error(), `"user/bert"; the server lists ["INBOX"]`) {
		t.Error(err)
	}
}

// brought runs a migration from a server's mailbox u and says what is at the target, folder by folder.
func brought(t *testing.T, server *dovecot.Server, change func(*migrate.Endpoint)) (c *migrate.Checkpoint, contents []string) {
	t.Helper()
	w := migratetest.NewWorld()
	w.Slots, w.TickEvery = 1, 50*time.Millisecond
	w.Endpoint = change
	b := w.AddMailbox(t, "u")
	at := endpoint(server, migrate.SecurityNone)
	b.Dial = func(ctx context.Context, e migrate.Endpoint, m migrate.Mailbox) (migrate.Source, error) {
		e.Host, e.Port, e.Security, e.Auth = at.Host, at.Port, at.Security, at.Auth
		return Dialer{Password: password}.Dial(ctx, e, m)
	}
	done := func() bool {
		c = w.Checkpoint(t, b.Mailbox.ID)
		return c.Phase == migrate.Waiting && (c.State.Final() || c.State == migrate.Synced || c.Failures > 0)
	}
	w.Run(t, time.Minute, done)
	for _, m := range b.Target.Messages() {
		contents = append(contents, m.FolderID+": "+m.Subject())
	}
	slices.Sort(contents)
	return c, contents
}

// TestOthersFoldersComeWhenAskedFor runs a migration with and without them: a folder that is listed and not
// opened holds nothing up.
func TestOthersFoldersComeWhenAskedFor(t *testing.T) {
	server, _ := sharingDovecot(t, dovecot.Layout{Shared: true})
	c, got := brought(t, server, nil)
	own := []string{"(inbox): INBOX", "(sent): Sent", "team: Team"}
	if c.State != migrate.Synced || !slices.Equal(got, own) || !strings.Contains(fmt.Sprint(c.Notes), "folders of other users stay behind (3)") {
		t.Errorf("%s: %q, %v", c.State, got, c.Notes)
	}
	c, got = brought(t, server, func(e *migrate.Endpoint) { e.IncludeOtherUsers = true })
	all := slices.Concat(own, []string{"shared/bert/team/deep: Team/Deep", "shared/bert/team: Team"})
	slices.Sort(all)
	if !slices.Equal(got, all) || c.Problem == nil || c.Problem.Kind != migrate.NoFolder || !strings.Contains(c.Problem.Text, "shared/bert/Shut") {
		t.Errorf("%s: %q, %+v", c.State, got, c.Problem)
	}
}
