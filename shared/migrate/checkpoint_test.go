package migrate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"mailferry/shared/migrate"
	"mailferry/shared/migrate/migratetest"
)

var testID = migrate.NewMailboxID("old-server", "ann", "GUID")

func fullCheckpoint() *migrate.Checkpoint {
	at := time.Date(2026, 11, 23, 6, 0, 0, 123456789, time.UTC)
	return &migrate.Checkpoint{
		Version: 1, Mailbox: migrate.Mailbox{ID: testID, Batch: strings.Repeat("b", 100), Login: "ann"},
		State: migrate.CompletedWithWarnings, Phase: migrate.Running, Seq: 1 << 62, Epoch: 9, Due: at, Since: at,
		Problem: &migrate.Problem{Kind: migrate.LostOwnership, Text: "ä \n", At: at},
		Folders: []*migrate.FolderCursor{{
			Name: "Grüße", Path: []string{"Grüße"}, Key: "k", UIDValidity: 1<<32 - 1, Total: 1 << 40, Done: migrate.UIDsOf(1, 2, 9),
			Counts: migrate.Counts{Migrated: 1 << 40, Found: 2, Skipped: 3, Failed: 4, Octets: 1 << 50}, Stumbles: map[migrate.UID]int{7: 3},
			Verified: true, Missing: migrate.UIDsOf(2),
		}},
		Intent:   &migrate.Intent{Folder: "k", UIDs: migrate.UIDsOf(3)},
		Doubtful: []*migrate.Intent{{Folder: "k", UIDs: migrate.UIDsOf(4), Anywhere: true, After: at}},
		Active:   migrate.Duration(90 * time.Second), Verified: &migrate.Verification{At: at, Source: 3}, Verifying: &migrate.Verification{At: at, Moved: 1},
	}
}

// TestCheckpointRoundTrip reads back what was written, in full and from the listing. The store holds
// the metadata to its limits.
func TestCheckpointRoundTrip(t *testing.T) {
	s, c := migratetest.NewStore(nil), fullCheckpoint()
	tag, err := migrate.SaveCheckpoint(t.Context(), s, c, migrate.Condition{Absent: true})
	if err != nil {
		t.Fatal(err)
	}
	got, gotTag, err := migrate.LoadCheckpoint(t.Context(), s, testID)
	if err != nil || gotTag != tag || !reflect.DeepEqual(got, c) {
		t.Errorf("read %+v as %s, %v; wrote %+v as %s", got, gotTag, err, c, tag)
	}
	var sums []migrate.Summary
	err = migrate.Summaries(t.Context(), s, "old-server", func(x migrate.Summary) error { sums = append(sums, x); return nil })
	n := c.Folders[0].Counts
	want := migrate.Summary{ID: testID, Tag: tag, Batch: c.Mailbox.Batch, State: c.State, Phase: c.Phase, Seq: c.Seq, Due: c.Due, Since: c.Since,
		Kind: migrate.LostOwnership, Messages: n.Messages(), Total: 1 << 40, Octets: n.Octets, Counts: n}
	if err != nil || len(sums) != 1 || !reflect.DeepEqual(sums[0], want) {
		t.Errorf("listed %+v, %v\nwant %+v", sums, err, want)
	}
}

// TestCheckpointVersions leaves alone what a newer program wrote, and what is none.
func TestCheckpointVersions(t *testing.T) {
	valid, err := json.Marshal(fullCheckpoint())
	if err != nil {
		t.Fatal(err)
	}
	other := migrate.NewMailboxID("old-server", "bob", "GUID")
	for content, kind := range map[string]migrate.Kind{
		strings.Replace(string(valid), `"v":1`, `"v":2`, 1):                       migrate.Newer,
		`{"v":99,"mailbox":7}`:                                                    migrate.Newer,
		strings.Replace(string(valid), `"v":1`, `"v":0`, 1):                       migrate.Corrupt,
		string(valid[:len(valid)-2]):                                              migrate.Corrupt,
		strings.ReplaceAll(string(valid), string(testID), string(other)):          migrate.Corrupt,
		strings.ReplaceAll(string(valid), string(testID), "old-server/../secret"): migrate.Corrupt,
		"": migrate.Corrupt, "null": migrate.Corrupt, "[]": migrate.Corrupt,
	} {
		s := migratetest.NewStore(nil)
		tag, err := s.Put(t.Context(), migrate.CheckpointName(testID), []byte(content), nil, migrate.Condition{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := migrate.LoadCheckpoint(t.Context(), s, testID); migrate.KindOf(err) != kind {
			t.Errorf("%.40q: %v, want %s", content, err, kind)
		}
		r := newRunner(s)
		if err := r.Run(t.Context(), t.Context(), migrate.WakeUp{Version: 1, Mailbox: testID, Seq: 1 << 62}); err != nil {
			t.Errorf("%.40q: run: %v", content, err)
		}
		if _, now, _ := s.Get(t.Context(), migrate.CheckpointName(testID)); now != tag {
			t.Errorf("%.40q was written over", content)
		}
	}
	if _, _, err := migrate.LoadCheckpoint(t.Context(), migratetest.NewStore(nil), testID); !errors.Is(err, migrate.ErrNotFound) {
		t.Errorf("none: %v", err)
	}
}

func FuzzCheckpoint(f *testing.F) {
	valid, err := json.Marshal(fullCheckpoint())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(valid)
	f.Add([]byte(`{"v":1,"mailbox":{"id":"` + string(testID) + `"},"folders":[null],"doubtful":[null]}`))
	f.Add([]byte(`{"v":2}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		s := migratetest.NewStore(nil)
		if _, err := s.Put(t.Context(), migrate.CheckpointName(testID), content, nil, migrate.Condition{}); err != nil {
			t.Fatal(err)
		}
		c, tag, err := migrate.LoadCheckpoint(t.Context(), s, testID)
		if err != nil {
			if k := migrate.KindOf(err); k != migrate.Corrupt && k != migrate.Newer {
				t.Errorf("%v is %s", err, k)
			}
			return
		}
		_, _ = c.Counts(), c.Total()
		for _, text := range []string{string(c.State), string(c.Phase), c.Mailbox.Batch} {
			if len(text) > 100 || strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-0123456789") != "" {
				return // intake lets no such name through
			}
		}
		if c.Problem != nil {
			c.Problem.Kind = migrate.Corrupt
		}
		if c.Due.Year() > 9999 || c.Since.Year() > 9999 {
			return
		}
		if _, err := migrate.SaveCheckpoint(t.Context(), s, c, migrate.Condition{Match: tag}); err != nil {
			t.Errorf("write again: %v", err)
		}
	})
}

func TestParseWakeUp(t *testing.T) {
	good := fmt.Sprintf(`{"v":1,"mailbox":%q,"seq":3,"attempt":2}`, testID)
	w, err := migrate.ParseWakeUp([]byte(good))
	if err != nil || w.MessageID() != string(testID)+"/3/2" {
		t.Errorf("%+v, %v", w, err)
	}
	for body, kind := range map[string]migrate.Kind{
		"": migrate.Corrupt, "{}": migrate.Corrupt, `{"v":2}`: migrate.Newer,
		strings.Replace(good, `"seq":3`, `"seq":0`, 1):                 migrate.Corrupt,
		strings.Replace(good, string(testID), "old-server/../../x", 1): migrate.Corrupt,
	} {
		if _, err := migrate.ParseWakeUp([]byte(body)); migrate.KindOf(err) != kind {
			t.Errorf("%q: %v, want %s", body, err, kind)
		}
	}
}
