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
	state, uids, err := s.Survey(t.Context(), "INBOX")
	if err != nil || state != (migrate.FolderState{UIDValidity: 9, UIDNext: 10, Messages: 2}) || uids.String() != "4,9" {
		t.Errorf("%+v, %s, %v", state, uids, err)
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
	_, uids, err := s.Survey(t.Context(), "Gone")
	wantKind(t, err, migrate.NoFolder)
	if !uids.Empty() {
		t.Errorf("it lists %s", uids)
	}
	if _, uids, err = s.Survey(t.Context(), "INBOX"); err != nil || uids.String() != "4" {
		t.Errorf("the connection does not go on: %s, %v", uids, err)
	}
}
