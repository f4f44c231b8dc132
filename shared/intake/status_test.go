package intake

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"mailferry/shared/migrate"
)

// The status of a batch tells what became of its CSV, also when nothing of it was accepted.
func TestBatchStatus(t *testing.T) {
	f := setup(t)
	if _, err := BatchStatus(t.Context(), f.Store, "zimbra", "spring"); !errors.Is(err, migrate.ErrNotFound) {
		t.Errorf("before there is a CSV: %v", err)
	}
	for _, c := range []struct {
		batch, csv                          string
		state                               string
		mailboxes, accepted, problems, more int
	}{
		{"spring", "Email,Login\nanna@contoso.example,anna\n", Empty, 0, 0, 1, 0},
		{"spring", header + strings.Repeat("nobody\n", 130), Empty, 0, 0, 100, 30},
		{"spring", header + "anna@contoso.example,anna,a\nbob,bob,b\n", "Created", 1, 1, 1, 0},
		{"again", header + "anna@contoso.example,anna,a\n", Empty, 0, 1, 0, 0}, // it stays in the batch that named it first
	} {
		f.put(t, "zimbra/"+c.batch+".csv", c.csv)
		if _, err := f.Accept(t.Context(), "zimbra", c.batch); err != nil {
			t.Fatal(err)
		}
		s, err := BatchStatus(t.Context(), f.Store, "zimbra", c.batch)
		if err != nil {
			t.Fatal(err)
		}
		if r := s.Intake; s.State != c.state || s.Mailboxes != c.mailboxes || r == nil || r.Accepted != c.accepted || len(r.Problems) != c.problems || r.More != c.more {
			t.Errorf("%s: %+v, %+v", c.batch, s.BatchStatus, r)
		}
		content, err := json.Marshal(s)
		if err != nil || !strings.Contains(string(content), `"batch":"`+c.batch+`","state":`) || !strings.Contains(string(content), `"intake":{`) {
			t.Errorf("%s, %v", content, err)
		}
	}
}
