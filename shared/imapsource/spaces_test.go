package imapsource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/courier"
	"mailferry/infra/local/cyrus"
	"mailferry/infra/local/deposit"
	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
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

// TestCourierUserRoot has one login hold the mailboxes of several, each below a folder of its own: what lies
// below it is the mailbox, with roles of its own, however the root is written.
func TestCourierUserRoot(t *testing.T) {
	ctx := context.WithoutCancel(t.Context())
	s, err := courier.Start(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	items := mailIn("INBOX", "Users/anna", "Users/anna/Sent", "Users/anna/a/b", "Users/annabel")
	if err := errors.Join(s.AddUser(ctx, "u", "pw"), s.Fill(ctx, "u", items)); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{"Users/anna", "Users.anna", "INBOX.Users.anna", "Inbox/Users/anna"} {
		wantSeen(t, endpointOf(s, migrate.SecurityNone), root, "INBOX=inbox: 1", "a=", "a>b=: 1", "Sent=sent: 1")
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

// TestOthersFoldersComeWhenAskedFor runs a migration with and without them: a folder that is listed and not
// opened holds nothing up.
func TestOthersFoldersComeWhenAskedFor(t *testing.T) {
	server, _ := sharingDovecot(t, dovecot.Layout{Shared: true})
	m := startMigration(t, endpoint(server, migrate.SecurityNone), nil)
	if c := m.passes(1); !strings.Contains(fmt.Sprint(c.Notes), "folders of other users stay behind (3)") {
		t.Errorf("%v", c.Notes)
	}
	m.want("(inbox): INBOX", "(sent): Sent", "team: Team")
	m = startMigration(t, endpoint(server, migrate.SecurityNone), func(e *migrate.Endpoint) { e.IncludeOtherUsers = true })
	c := m.until(func(c *migrate.Checkpoint) bool { return c.Failures > 0 }) // of three
	if c.Problem == nil || c.Problem.Kind != migrate.NoFolder || !strings.Contains(c.Problem.Text, "shared/bert/Shut") {
		t.Errorf("%+v", c.Problem)
	}
	m.want("(inbox): INBOX", "(sent): Sent", "shared/bert/team/deep: Team/Deep", "shared/bert/team: Team", "team: Team")
}
