package imapsource

import (
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailferry/shared/migrate"
)

// TestSurveyIsOneRoundTrip answers neither of the two commands before both have come.
func TestSurveyIsOneRoundTrip(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "EXAMINE") {
			return false
		}
		listTag, list, err := p.read()
		if err != nil || !strings.HasPrefix(list, "UID FETCH 1:") {
			t.Errorf("behind EXAMINE came %q, %v", list, err)
		}
		p.send("* 2 EXISTS\r\n* OK [UIDVALIDITY 9] -\r\n* OK [UIDNEXT 10] -\r\n%s OK [READ-ONLY] done\r\n", tag)
		p.send("* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 9)\r\n%s OK done\r\n", listTag)
		return true
	}))
	state, uids, _, err := s.Survey(t.Context(), "INBOX", migrate.UIDSet{})
	if err != nil || state != (migrate.FolderState{UIDValidity: 9, UIDNext: 10, Messages: 2}) || uids.String() != "4,9" {
		t.Errorf("%+v, %s, %v", state, uids, err)
	}
}

// TestSurveyDescribesAFewInTheSameRoundTrip sends a third command with the two, and takes what is complete.
func TestSurveyDescribesAFewInTheSameRoundTrip(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "EXAMINE") {
			return false
		}
		listTag, _, _ := p.read()
		fewTag, few, err := p.read()
		if err != nil || !strings.HasPrefix(few, "UID FETCH 4,9 (") || strings.Contains(few, "BODY") {
			t.Errorf("behind the list came %q, %v", few, err)
		}
		p.send("* 2 EXISTS\r\n* OK [UIDVALIDITY 9] -\r\n* OK [UIDNEXT 10] -\r\n%s OK [READ-ONLY] done\r\n", tag)
		p.send("* 1 FETCH (UID 4)\r\n* 2 FETCH (UID 9)\r\n%s OK done\r\n", listTag)
		p.send("* 2 FETCH (FLAGS (\\Seen))\r\n* 1 FETCH (UID 4 FLAGS () INTERNALDATE \"05-Feb-2018 09:00:00 +0000\" RFC822.SIZE 77)\r\n%s OK done\r\n", fewTag)
		return true
	}))
	_, uids, few, err := s.Survey(t.Context(), "INBOX", migrate.UIDsOf(4, 9))
	if err != nil || uids.String() != "4,9" || len(few) != 1 || few[0].UID != 4 || few[0].Size != 77 || few[0].Received.Unix() != 1517821200 {
		t.Errorf("%s, %+v, %v", uids, few, err)
	}
}

// TestSurveyOfARefusedFolder takes no message of the folder that was open before for one of a folder
// that the server does not open, even if the server goes on with the old one.
func TestSurveyOfARefusedFolder(t *testing.T) {
	s := opened(t, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, `EXAMINE "Gone"`), strings.HasPrefix(command, "EXAMINE Gone"):
			p.send("%s NO [NONEXISTENT] no such folder\r\n", tag)
		case strings.HasPrefix(command, "UID FETCH 1:"):
			p.send("* 1 FETCH (UID 4)\r\n%s OK done\r\n", tag)
		default:
			return false
		}
		return true
	})
	_, uids, _, err := s.Survey(t.Context(), "Gone", migrate.UIDSet{})
	wantKind(t, err, migrate.NoFolder)
	if !uids.Empty() {
		t.Errorf("it lists %s", uids)
	}
	if _, uids, _, err = s.Survey(t.Context(), "INBOX", migrate.UIDSet{}); err != nil || uids.String() != "4" {
		t.Errorf("the connection does not go on: %s, %v", uids, err)
	}
}

// TestSurveyOfAFolderThatIsNotListed leaves it to a later sync, as one that is not opened: the others go on.
func TestSurveyOfAFolderThatIsNotListed(t *testing.T) {
	for _, answer := range []string{"NO [SERVERBUG] the index is corrupted", "BAD something is wrong", "NO Server Unavailable. 15"} {
		s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
			if isFetch(command) {
				p.send("%s %s\r\n", tag, answer)
			}
			return isFetch(command)
		}))
		_, uids, _, err := s.Survey(t.Context(), "Broken", migrate.EveryUID())
		if wantKind(t, err, migrate.NoFolder); !uids.Empty() {
			t.Errorf("%s: it lists %s", answer, uids)
		}
	}
}

// TestSurveyOfAnEmptyFolder asks a server nothing that refuses to list nothing.
func TestSurveyOfAnEmptyFolder(t *testing.T) {
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		switch {
		case strings.HasPrefix(command, "EXAMINE"):
			p.send("* 0 EXISTS\r\n* OK [UIDVALIDITY 9] -\r\n* OK [UIDNEXT 10] -\r\n%s OK [READ-ONLY] done\r\n", tag)
		case isFetch(command):
			p.send("%s BAD no messages\r\n", tag)
		default:
			return false
		}
		return true
	}))
	for _, few := range []migrate.UIDSet{{}, migrate.EveryUID()} {
		state, uids, described, err := s.Survey(t.Context(), "Empty", few)
		if err != nil || state.UIDNext != 10 || !uids.Empty() || len(described) != 0 {
			t.Errorf("%+v, %s, %v, %v", state, uids, described, err)
		}
	}
}

// TestFolderThatEndsTheConnection is left to a later sync where the server opens INBOX all the same: as it is
// opened or as it is listed, by an end or by a standstill. The others go on.
func TestFolderThatEndsTheConnection(t *testing.T) {
	for _, c := range []struct {
		name       string
		listed     bool // it opens
		stands     bool
		inboxOpens bool
		want       migrate.Kind
	}{
		{"opened", false, false, true, migrate.NoFolder},
		{"listed", true, false, true, migrate.NoFolder},
		{"opened, and stands still", false, true, true, migrate.NoFolder},
		{"listed, and stands still", true, true, true, migrate.NoFolder},
		{"like any other", false, false, false, migrate.Unreachable},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var open sync.Map // its name by peer
				d := inMemory(t, hello, func(p *peer, tag, command string) bool {
					if name, ok := strings.CutPrefix(command, "EXAMINE "); ok {
						open.Store(p, strings.Trim(strings.Fields(name)[0], `"`))
					}
					name, _ := open.Load(p)
					bad := name == "Bad" && (isFetch(command) || !c.listed) || name == "INBOX" && !c.inboxOpens
					switch {
					case bad && c.stands:
						for standsStill(p) {
						}
						return true
					case bad:
						p.Close()
						return true
					case isFetch(command):
						p.send("* 1 FETCH (UID 4)\r\n%s OK done\r\n", tag)
						return true
					}
					return false
				})
				d.Stall = defaultStall
				s := dialBy(t, d, clearly)
				start := time.Now()
				_, uids, _, err := s.Survey(t.Context(), "Bad", migrate.UIDSet{})
				wantKind(t, err, c.want)
				if took := time.Since(start); !uids.Empty() || took > 3*time.Minute {
					t.Errorf("it lists %s after %s", uids, took)
				}
				if c.inboxOpens {
					if _, uids, _, err := s.Survey(t.Context(), "Good", migrate.UIDSet{}); err != nil || uids.String() != "4" {
						t.Errorf("the next folder: %s, %v", uids, err)
					}
				}
			})
		})
	}
}

// TestSurveyOfTheNewest asks for each message once, and takes answers that are mixed.
func TestSurveyOfTheNewest(t *testing.T) {
	const n, from = 1000, 301
	s := dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "EXAMINE") {
			return false
		}
		listTag, list, _ := p.read()
		newTag, newest, err := p.read()
		if err != nil || list != "UID FETCH 1:300 (UID)" || !strings.HasPrefix(newest, "UID FETCH 301:4294967295 (UID ") {
			t.Errorf("behind EXAMINE came %q and %q, %v", list, newest, err)
		}
		p.send("* %d EXISTS\r\n* OK [UIDVALIDITY 9] -\r\n* OK [UIDNEXT %d] -\r\n%s OK [READ-ONLY] done\r\n", n, n+1, tag)
		for uid := from; uid <= n; uid++ {
			p.send("* %d FETCH (UID %d %s)\r\n", uid, uid, meta)
		}
		for uid := 1; uid < from; uid++ {
			p.send("* %d FETCH (UID %d)\r\n", uid, uid)
		}
		p.send("%s OK done\r\n%s OK done\r\n", newTag, listTag)
		return true
	}))
	var few migrate.UIDSet
	few.AddRange(from, ^migrate.UID(0))
	_, uids, described, err := s.Survey(t.Context(), "INBOX", few)
	if err != nil || uids.Len() != n || len(described) != n-from+1 || described[0].UID != from {
		t.Errorf("%d UIDs, %d described, %v", uids.Len(), len(described), err)
	}
}

// TestSurveyNewIsOneRoundTrip answers nothing before all has been asked.
func TestSurveyNewIsOneRoundTrip(t *testing.T) {
	s := surveyNew(t, func(p *peer, i int, examine, list string) {
		p.send("* %d EXISTS\r\n* OK [UIDVALIDITY %d] -\r\n* OK [UIDNEXT 10] -\r\n%s OK [READ-ONLY] done\r\n", i, 9+i, examine)
		for uid := 1; uid <= i; uid++ {
			p.send("* %d FETCH (UID %d %s)\r\n", uid, uid, meta)
		}
		p.send("%s OK done\r\n", list)
	})
	found, err := s.SurveyNew(t.Context(), []string{"A", "B", "C"})
	if err != nil || len(found) != 3 {
		t.Fatalf("%+v, %v", found, err)
	}
	for i, f := range found {
		if f.State.UIDValidity != uint32(9+i) || f.State.Messages != i || f.UIDs.Len() != i || len(f.Described) != i {
			t.Errorf("folder %d: %+v", i, f)
		}
	}
}

// surveyNew is a source whose server reads the commands for A, B and C before it answers for each.
func surveyNew(t *testing.T, answer func(p *peer, i int, examine, list string)) migrate.Source {
	t.Helper()
	return dial(t, scripted(t, hello, func(p *peer, tag, command string) bool {
		if !strings.HasPrefix(command, "EXAMINE") {
			return false
		}
		tags := []string{tag}
		for range 5 {
			tag, _, err := p.read()
			if err != nil {
				t.Error(err)
			}
			tags = append(tags, tag)
		}
		for i := range 3 {
			answer(p, i, tags[2*i], tags[2*i+1])
		}
		return true
	}))
}

// TestSurveyNewEndsBeforeADoubt takes nothing that may be about another folder, or that is not all.
func TestSurveyNewEndsBeforeADoubt(t *testing.T) {
	ok := next + "%s OK [READ-ONLY] done\r\n"
	both := "* 1 FETCH (UID 4 " + meta + ")\r\n* 2 FETCH (UID 9 " + meta + ")\r\n"
	for name, c := range map[string]struct {
		second string // what the server says of B
		want   int    // folders found
	}{
		"all is said":                         {ok + both + "%s OK done\r\n", 3},
		"news of a flag behind":               {ok + both + "* 1 FETCH (UID 4 FLAGS ())\r\n%s OK done\r\n", 2},
		"news of another message's flag":      {ok + both + "* 3 FETCH (UID 5 FLAGS ())\r\n%s OK done\r\n", 1},
		"news of a flag before":               {ok + "* 1 FETCH (UID 4 FLAGS ())\r\n" + both + "%s OK done\r\n", 1},
		"a message is left out":               {ok + "* 1 FETCH (UID 4 " + meta + ")\r\n%s OK done\r\n", 1},
		"refused":                             {"%s NO no such folder\r\n%s BAD no folder is open\r\n", 1},
		"refused, and the one before goes on": {"%s NO no such folder\r\n" + both + "%s OK done\r\n", 1},
		"no UIDVALIDITY":                      {strings.Replace(ok, "UIDVALIDITY 9", "X", 1) + both + "%s OK done\r\n", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := surveyNew(t, func(p *peer, i int, examine, list string) {
				if i == 1 {
					p.send(c.second, examine, list)
					return
				}
				p.send(ok+both+"%s OK done\r\n", examine, list)
			})
			found, err := s.SurveyNew(t.Context(), []string{"A", "B", "C"})
			if err != nil || len(found) != c.want {
				t.Fatalf("%d folders, %v", len(found), err)
			}
			for _, f := range found {
				if f.UIDs.String() != "4,9" || len(f.Described) != 2 || f.Described[0].UID != 4 || f.Described[1].UID != 9 {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}
