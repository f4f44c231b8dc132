package imapsource

import (
	"slices"
	"strings"
	"testing"
	"time"

	"mailferry/infra/local/dovecot"
	"mailferry/shared/migrate"
)

// laidOut starts a Dovecot whose mailboxes look like that.
func laidOut(t *testing.T, layout dovecot.Layout) *dovecot.Server {
	t.Helper()
	s, err := dovecot.Start(t.Context(), dovecot.Options{Layout: layout})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := s.AddUser("u", "pw"); err != nil {
		t.Fatal(err)
	}
	return s
}

// read writes each folder as "path=role!@space: subjects".
func read(t *testing.T, s migrate.Source) string {
	t.Helper()
	folders, err := s.Folders(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, f := range folders {
		text := strings.Join(f.Path, ">") + "=" + string(f.Use)
		if !f.Selectable {
			text += "!"
		}
		if f.Space != migrate.Own {
			text += "@" + string(f.Space)
		}
		if f.Selectable {
			if _, err := s.Open(t.Context(), f.Name); err != nil {
				t.Fatal(err)
			}
			var subjects []string
			err := s.Headers(t.Context(), migrate.UIDsOf(1, 2, 3, 4, 5), func(_ migrate.MessageInfo, header []byte) error {
				subject, _, _ := strings.Cut(strings.TrimPrefix(string(header), "Subject: "), "\r\n")
				subjects = append(subjects, subject)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(subjects)
			text += ": " + strings.Join(subjects, " ")
		}
		lines = append(lines, strings.TrimRight(text, " "))
	}
	return strings.Join(lines, "\n")
}

// The same mailbox looks the same, whatever separator and prefix a server has.
func TestDovecotLayouts(t *testing.T) {
	day := time.Date(2020, 1, 2, 3, 4, 5, 0, time.UTC)
	items := []dovecot.Item{
		{Folder: "INBOX", Message: []byte("Subject: in\r\n\r\n"), Received: day, Flags: []string{`\Flagged`}},
		{Folder: "Sent", Message: []byte("Subject: sent\r\n\r\n"), Received: day},
		{Folder: "Sent Messages", Message: []byte("Subject: too\r\n\r\n"), Received: day},
		{Folder: "Büro & Söhne/R&D/日本", Message: []byte("Subject: deep\r\n\r\n"), Received: day},
		{Folder: "Koš", Message: []byte("Subject: gone\r\n\r\n"), Received: day},
	}
	own := []string{"INBOX=inbox: in", "Büro & Söhne=!", "Büro & Söhne>R&D=!", "Büro & Söhne>R&D>日本=: deep", "Koš=trash: gone", "Sent=sent: sent", "Sent Messages=sent: too"}
	public := []string{"Public=!@shared", "Public>Team=@shared:"}
	views := []string{"virtual=!", "virtual>All=all: deep gone in sent too", "virtual>Flagged=flagged: in", "virtual>Recent=virtual:"}
	for name, c := range map[string]struct {
		layout dovecot.Layout
		want   []string
	}{
		"slash":                    {dovecot.Layout{}, own},
		"dot":                      {dovecot.Layout{Separator: "."}, own},
		"prefix":                   {dovecot.Layout{Separator: ".", Prefix: "INBOX."}, own},
		"prefix and slash":         {dovecot.Layout{Prefix: "INBOX/"}, own},
		"odd separator":            {dovecot.Layout{Separator: "^", Prefix: "Mail^", Plain: true}, slices.Insert(slices.Clone(own), 5, "Mail=virtual: in")},
		"public":                   {dovecot.Layout{Separator: ".", Prefix: "INBOX.", Public: true}, slices.Insert(slices.Clone(own), 5, public...)},
		"virtual":                  {dovecot.Layout{Virtual: true}, append(slices.Clone(own), views...)},
		"virtual below the prefix": {dovecot.Layout{Separator: ".", Prefix: "INBOX.", Virtual: true}, append(slices.Clone(own), views...)},
	} {
		t.Run(name, func(t *testing.T) {
			server := laidOut(t, c.layout)
			if err := server.Fill(t.Context(), "u", items); err != nil {
				t.Fatal(err)
			}
			if c.layout.Public {
				if err := server.MakePublic("Team"); err != nil {
					t.Fatal(err)
				}
			}
			got, want := read(t, dial(t, endpoint(server, migrate.SecurityTLS))), strings.Join(c.want, "\n")
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}
