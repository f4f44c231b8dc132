package imapsource

import (
	"strings"
	"testing"

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
