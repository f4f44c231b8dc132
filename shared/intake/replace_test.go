package intake

import (
	"errors"
	"slices"
	"testing"

	"mailferry/shared/migrate"
)

// TestLoginIsCorrected drops a CSV again with another login for the same target. What the first brought stays,
// and so does what another batch says.
func TestLoginIsCorrected(t *testing.T) {
	for name, c := range map[string]struct {
		batch string
		also  func(*migrate.Checkpoint)
		gone  bool
	}{
		"failed": {"spring", nothing, true},
		"held by pre-flight": {"spring", func(c *migrate.Checkpoint) {
			c.State, c.Preflight = migrate.Queued, &migrate.Preflight{At: c.Since}
		}, true},
		"failed otherwise":         {"spring", func(c *migrate.Checkpoint) { c.Problem.Kind = migrate.Died }, false},
		"of another batch":         {"again", nothing, false},
		"was in, and brought mail": {"spring", func(c *migrate.Checkpoint) { c.Folders = []*migrate.FolderCursor{{Name: "INBOX"}} }, false},
		"tried just now":           {"spring", func(c *migrate.Checkpoint) { c.State, c.Phase = migrate.Syncing, migrate.Running }, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			f.put(t, "zimbra/spring.csv", header+"anna@contoso.example,ana,a\nbob@contoso.example,bob,b\n")
			if _, err := f.Accept(t.Context(), "zimbra", "spring"); err != nil {
				t.Fatal(err)
			}
			wrong, bob := migrate.NewMailboxID("zimbra", "ana", "guid-anna"), migrate.NewMailboxID("zimbra", "bob", "guid-bob")
			f.fail(t, wrong, migrate.SignIn, c.also)
			f.fail(t, bob, migrate.SignIn, nothing) // his row is not in the next CSV
			if _, err := f.Store.Put(t.Context(), migrate.PreflightName(wrong), []byte("{}"), nil, migrate.Condition{}); err != nil {
				t.Fatal(err)
			}
			f.put(t, "zimbra/"+c.batch+".csv", header+"alias@contoso.example,anna,a\n")
			r, err := f.Accept(t.Context(), "zimbra", c.batch)
			if err != nil || r.New != 1 || (r.Replaced == 1) != c.gone {
				t.Fatalf("%+v, %v", r, err)
			}
			_, _, err = migrate.LoadCheckpoint(t.Context(), f.Store, wrong)
			if errors.Is(err, migrate.ErrNotFound) != c.gone {
				t.Errorf("the mailbox with the wrong login: %v", err)
			}
			for _, blob := range []string{"credentials/" + string(wrong) + ".age", migrate.PreflightName(wrong)} {
				if _, there := f.state(t)[blob]; there == c.gone {
					t.Errorf("%s is there: %t", blob, there)
				}
			}
			for _, id := range []migrate.MailboxID{bob, migrate.NewMailboxID("zimbra", "anna", "guid-anna")} {
				if _, _, err := migrate.LoadCheckpoint(t.Context(), f.Store, id); err != nil {
					t.Errorf("another mailbox: %v", err)
				}
			}
		})
	}
}

// TestReplacedByItself keeps a mailbox whose row comes again, however the address is written.
func TestReplacedByItself(t *testing.T) {
	f := setup(t)
	for range 2 {
		f.put(t, "zimbra/spring.csv", header+"alias@contoso.example,anna,a\n")
		r, err := f.Accept(t.Context(), "zimbra", "spring")
		if err != nil || r.Accepted != 1 || r.Replaced != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
		f.fail(t, migrate.NewMailboxID("zimbra", "anna", "guid-anna"), migrate.SignIn, nothing)
	}
	var ids []migrate.MailboxID
	err := migrate.Summaries(t.Context(), f.Store, "zimbra", func(s migrate.Summary) error {
		ids = append(ids, s.ID)
		return nil
	})
	if want := []migrate.MailboxID{migrate.NewMailboxID("zimbra", "anna", "guid-anna")}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("%v, %v", ids, err)
	}
}
